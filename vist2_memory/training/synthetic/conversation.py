"""Lays facts out over a conversation of a given length, with talk and prose between them."""

from __future__ import annotations

import random
from collections.abc import Callable

from vist2_memory.training.synthetic import frames, smalltalk, stories
from vist2_memory.training.synthetic.cast import Cast
from vist2_memory.training.synthetic.dialogue import Conversation, Split
from vist2_memory.training.synthetic.facts import Fact, ask_fact, ask_unknown, choose_facts
from vist2_memory.training.synthetic.grammar import Subject, render, sentence
from vist2_memory.training.synthetic.values import Draw

Filler = Callable[[random.Random], str]
UNKNOWN_SHARE = 0.15


def generate(
    rng: random.Random,
    *,
    characters: int,
    split: Split,
    facts: int | None = None,
    filler: Filler | None = None,
    plain: float = 0.0,
) -> Conversation:
    """A conversation of about `characters` characters, and a question on each of its facts.

    `facts` is their number (by default one in 200 to 350 characters, at times denser or sparser);
    `filler` returns a passage of outside prose for part of the filling; `plain` is the share of
    facts that are told in their standard wording, an easy beginning for training. The same
    state of `rng` gives the same conversation. Raises ValueError for fewer than 200 characters, for
    a negative number of facts, and for another split.
    """
    if characters < 200:
        raise ValueError(f"characters is {characters}, must be 200 or more")
    if facts is not None and facts < 0:
        raise ValueError(f"facts is {facts}, must be 0 or more")
    if split not in ("train", "heldout"):
        raise ValueError(f"split is {split!r}, must be 'train' or 'heldout'")
    if facts is None:
        every = rng.uniform(200, 350) if rng.random() < 0.8 else rng.uniform(150, 700)
        facts = max(1, round(characters / every))
    draw = Draw(rng, split)
    cast = Cast(draw)
    chosen = choose_facts(rng, draw, cast, facts)
    messages = _Writer(rng, split, cast, characters, filler, plain).write(chosen)
    questions = [ask_fact(rng, cast, split, fact) for fact in chosen]
    unknown = UNKNOWN_SHARE * max(1, facts)
    for _ in range(int(unknown) + (rng.random() < unknown % 1)):
        question = ask_unknown(rng, cast, split, chosen)
        if question is not None:
            questions.append(question)
    rng.shuffle(questions)
    return Conversation(tuple(messages), tuple(questions))


class _Writer:
    """Writes the messages; a telling is due when the text has grown to its position."""

    def __init__(
        self,
        rng: random.Random,
        split: Split,
        cast: Cast,
        characters: int,
        filler: Filler | None,
        plain: float,
    ) -> None:
        self.rng = rng
        self.split: Split = split
        self.cast = cast
        self.characters = characters
        self.filler = filler
        self.plain = plain
        self.messages: list[tuple[str, str]] = []
        self.length = 0
        self.introduced: set[Subject] = set()
        self.prose = rng.uniform(0.1, 0.7)
        self.topic = smalltalk.any_topic(rng)

    def write(self, facts: list[Fact]) -> list[tuple[str, str]]:
        rng = self.rng
        tellings: list[tuple[float, Fact, int]] = []
        for fact in facts:
            places = sorted(rng.uniform(0, 0.98 * self.characters - 180) for _ in fact.values)
            tellings += [(place, fact, version) for version, place in enumerate(places)]
        tellings.sort(key=lambda telling: telling[0])
        index = 0
        while index < len(tellings):
            due = tellings[index][0]
            while self.length + 60 < due:
                self._fill(int(due) - self.length)
            group = [tellings[index]]
            index += 1
            if not group[0][1].attribute.by_assistant:
                while (
                    index < len(tellings)
                    and len(group) < 3
                    and tellings[index][0] <= self.length + 130
                    and not tellings[index][1].attribute.by_assistant
                ):
                    group.append(tellings[index])
                    index += 1
            self._tell([(fact, version) for _, fact, version in group])
        while self.length < self.characters * 0.97 - 20:
            self._fill(self.characters - self.length)
        return self.messages

    def _say(self, role: str, content: str) -> None:
        self.messages.append((role, content))
        self.length += len(content)

    # -- facts ------------------------------------------------------------------------------------

    def _mention(self, subject: Subject) -> str:
        if subject in self.introduced:
            return self.rng.choice(self.cast.forms(subject))
        self.introduced.add(subject)
        return subject.phrase

    def _tell(self, group: list[tuple[Fact, int]]) -> None:
        fact, version = group[0]
        if fact.attribute.by_assistant:
            self._told_by_assistant(fact, version)
        elif len(group) == 1 and version == 0 and self.messages and self.rng.random() < 0.14:
            self._told_when_asked(fact)
        else:
            self._told_by_user(group)

    def _statement(self, fact: Fact, version: int, phrase: str) -> str:
        rng, attribute, held = self.rng, fact.attribute, self.split == "heldout"
        templates = attribute.say_held if held else attribute.say
        if version and not held and attribute.change and rng.random() < 0.4:
            templates = attribute.change
        if self.plain and rng.random() < self.plain:
            templates = attribute.answer
        speaker = "assistant" if attribute.by_assistant else "user"
        clause = render(rng.choice(templates), phrase, speaker, fact.values[version])  # type: ignore[arg-type]
        table = frames.TELL if attribute.by_assistant else frames.STATE
        frame = rng.choice((frames.CHANGE if version else table)[self.split])
        fact.said = sentence(clause) if "{S}" in frame else clause
        text = frame.replace("{old}", fact.values[version - 1])
        return text.replace("{S}", sentence(clause)).replace("{s}", clause)

    def _told_by_user(self, group: list[tuple[Fact, int]]) -> None:
        rng = self.rng
        parts = []
        ample = self.characters - self.length > 350
        if ample and rng.random() < 0.35:
            parts.append(smalltalk.user_lines(rng, self.topic, 1))
        for fact, version in group:
            parts.append(self._statement(fact, version, self._mention(fact.subject)))
            fact.turns.append(len(self.messages))
        if ample and rng.random() < 0.25:
            parts.append(smalltalk.user_lines(rng, self.topic, 1))
        self._say("user", " ".join(parts))
        fact, version = group[-1]
        draw = rng.random() if ample else 0.5
        if draw < 0.12:
            phrase = rng.choice(self.cast.forms(fact.subject))
            clause = render(fact.attribute.answer[0], phrase, "assistant", fact.values[version])
            frame = rng.choice(frames.ECHO)
            reply = frame.replace("{S}", sentence(clause)).replace("{s}", clause)
        elif draw < 0.75:
            reply = rng.choice(frames.ACK)
        else:
            reply = smalltalk.assistant_lines(rng, self.topic, 1)
        self._say("assistant", reply)

    def _told_when_asked(self, fact: Fact) -> None:
        rng, attribute = self.rng, fact.attribute
        ask = (attribute.ask_held if self.split == "heldout" else attribute.ask)[0]
        question = sentence(render(ask, self._mention(fact.subject), "assistant", flip=True)) + "?"
        role, last = self.messages.pop()
        self.length -= len(last)
        self._say(role, f"{last} {question}")
        reply = rng.choice(frames.SHORT[self.split]).replace("{v}", fact.values[0])
        fact.said = sentence(reply)
        fact.turns.append(len(self.messages))
        self._say("user", fact.said)
        self._say("assistant", rng.choice(frames.ACK))

    def _told_by_assistant(self, fact: Fact, version: int) -> None:
        rng = self.rng
        phrase = self._mention(fact.subject)
        if version:
            request = f"is there any news about {phrase}"
        else:
            request = render(rng.choice(fact.attribute.request), phrase, "user")
        if phrase == "me":
            request = request.replace("about me", "for me")
        last = request.rsplit(". ", 1)[-1]
        mark = "." if last.startswith(("please", "I ")) else "?"
        opening = ""
        ample = self.characters - self.length > 350
        if ample and rng.random() < 0.3:
            opening = smalltalk.user_lines(rng, self.topic, 1) + " "
        self._say("user", f"{opening}{sentence(request)}{mark}")
        parts = [self._statement(fact, version, rng.choice(self.cast.forms(fact.subject)))]
        if ample and rng.random() < 0.25:
            parts.append(smalltalk.assistant_lines(rng, self.topic, 1))
        fact.turns.append(len(self.messages))
        self._say("assistant", " ".join(parts))

    # -- filling ----------------------------------------------------------------------------------

    def _fill(self, room: int) -> None:
        """One exchange of at most about `room` characters."""
        rng = self.rng
        if room > 200 and rng.random() < self.prose:
            if self.filler is not None and rng.random() < 0.75:
                self._passage(clip(self.filler(rng), room - 60))
            else:
                self._passage(clip(stories.story(rng, rng.randint(1, 8)), room - 60))
            return
        if rng.random() < 0.4:
            self.topic = smalltalk.any_topic(rng)
        count = 1 if room < 150 else rng.randint(1, 3)
        self._say("user", smalltalk.user_lines(rng, self.topic, count))
        count = 0 if room < 110 else rng.randint(0, 1) if room < 220 else rng.randint(0, 2)
        self._say("assistant", smalltalk.assistant_lines(rng, self.topic, count))

    def _passage(self, text: str) -> None:
        rng = self.rng
        if rng.random() < 0.5:
            self._say("user", stories.wish_for_story(rng))
            self._say("assistant", text)
        else:
            opening = f"{stories.reading_aloud(rng)} " if rng.random() < 0.7 else ""
            self._say("user", f"{opening}{text}")
            self._say("assistant", stories.thanks(rng))


def clip(text: str, room: int) -> str:
    """The text up to its last whole sentence (or word) within `room` characters."""
    if len(text) <= room:
        return text
    cut = text[:room]
    for mark in (". ", "! ", "? ", ".\n"):
        if mark in cut:
            return cut[: cut.rindex(mark) + 1]
    return cut.rsplit(" ", 1)[0]
