"""Quotes in answers: only words that stand in what the model reads, whatever it would say."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from torch import Tensor

from tests.support.checkpoints import save_small, small_config
from tests.support.grammars import small_vocabulary, steer
from tests.support.tokenizers import small_tokenizer
from vist2_memory.engine.catalog import find_model
from vist2_memory.engine.options import EngineOptions
from vist2_memory.engine.quotes import MOST_CHARACTERS, MOST_WORDS, Quotable, Quoting
from vist2_memory.engine.steering import Course
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.model.config import Vist2Config
from vist2_memory.text.transcript import CALL, END, MARKS, write
from vist2_memory.training.synthetic.quoting import QUOTES
from vist2_memory.types import Chunk, Context, Finished, GenerationParams, Tool

USER, ASSISTANT, TOOL = MARKS["user"], MARKS["assistant"], MARKS["tool"]
OPENS, CLOSES = 'You said: "', '."'
MESSAGES = ("My niece Ulla pays 4045 euros. It's all in a letter.",
            "The train leaves at 9:40, Ulla said.")  # fmt: skip
SAID = write([("user", MESSAGES[0]), ("assistant", MESSAGES[1])])
Flags = npt.NDArray[np.bool_]


def quoting(text: str = SAID, within: Course | None = None, *, ahead: bool = False) -> Quoting:
    quotable = Quotable((), text)
    return Quoting(small_vocabulary(), [(OPENS, CLOSES)], quotable, within, ahead)


def liking(wanted: str, seed: int = 0) -> Callable[[Flags], int]:
    """Says ``wanted`` token by token; where that may not be, anything that may."""
    ids = iter(small_tokenizer().encode(wanted))
    draw = random.Random(seed)

    def pick(flags: Flags) -> int:
        assert flags.any()
        token = next(ids, None)
        if token is not None and flags[token]:
            return token
        return draw.choice([int(i) for i in np.flatnonzero(flags)])

    return pick


def said(course: Quoting, pick: Callable[[Flags], int], most: int = 60) -> str:
    """The answer up to the end of its first quote."""
    ids: list[int] = []
    while len(ids) < most:
        course.look_ahead(most - len(ids))
        ids.append(course.next(pick, most - len(ids)))
        told = b"".join(map(small_tokenizer().bytes_of, ids)).decode("utf-8", "replace")
        if OPENS in told and told.endswith(CLOSES):
            return told
    raise AssertionError(f"no end of a quote: {told}")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("ahead", [True, False])
def test_whatever_the_model_likes_a_quote_stands_in_the_text(seed: int, ahead: bool) -> None:
    told = said(quoting(ahead=ahead), liking(OPENS, seed), most=400)
    quote = told.removeprefix(OPENS).removesuffix(CLOSES)
    assert quote == quote.strip() != ""
    assert any(stands(quote, message) for message in MESSAGES)


def stands(quote: str, text: str) -> bool:
    """Whether ``quote`` stands in ``text`` between words, a sentence's first letter maybe small."""
    small = text.replace("My", "my").replace("It", "it").replace("The", "the")
    return any(
        re.search(rf"(?<!\w){re.escape(quote)}(?!\w)", one)
        or (not (quote[0].isalnum() and quote[-1].isalnum()) and quote in one)
        for one in (text, small)
    )


def test_what_is_right_is_left_as_it_is() -> None:
    wanted = f"{OPENS}Ulla pays 4045 euros{CLOSES}"
    assert said(quoting(), liking(wanted)) == wanted


def test_a_misread_word_comes_right() -> None:
    told = said(quoting(), liking(f"{OPENS}niece Ulla pays 4054 euros{CLOSES}"))
    assert told.startswith(f"{OPENS}niece Ulla pays 4045")


def test_a_quote_begins_and_ends_between_words() -> None:
    assert not said(quoting(), liking(f"{OPENS}lla pays{CLOSES}")).startswith(f"{OPENS}lla")
    assert said(quoting(), liking(f"{OPENS}Ulla pa{CLOSES}")).startswith(f"{OPENS}Ulla pays")


def test_the_first_letter_of_a_sentence_may_be_small() -> None:
    wanted = f"{OPENS}my niece Ulla{CLOSES}"
    assert said(quoting(), liking(wanted)) == wanted
    other = said(quoting(), liking(f"{OPENS}mY niece Ulla{CLOSES}"))
    assert not other.startswith(f"{OPENS}mY")


def test_a_quote_is_of_one_message() -> None:
    told = said(quoting(), liking(f"{OPENS}in a letter.The train{CLOSES}"), most=400)
    assert "letter.The" not in told


def test_before_and_after_a_quote_anything_may_be_said() -> None:
    course, tokenizer = quoting(), small_tokenizer()
    wanted = f"Well, zzz! {OPENS}Ulla said{CLOSES} Not zzz?"
    pick = liking(wanted)
    ids = [course.next(pick, 99) for _ in tokenizer.encode(wanted)]
    assert b"".join(map(tokenizer.bytes_of, ids)).decode() == wanted


def test_a_second_quote_is_exact_too() -> None:
    course, tokenizer = quoting(), small_tokenizer()
    wanted = f"{OPENS}Ulla said{CLOSES} {OPENS}zebras"
    pick = liking(wanted)
    ids = [course.next(pick, 99) for _ in tokenizer.encode(wanted)]
    assert "zebras" not in b"".join(map(tokenizer.bytes_of, ids)).decode()


def asked(question: str) -> Quoting:
    """Quotes of a message of several sentences, in the answer to ``question``."""
    text = write([("user", "It was in Bonn that I found the old saw. The saw is Mr. Bo's. OK?")])
    quotable = Quotable((), text, write([("user", question)]))
    return Quoting(small_vocabulary(), [(OPENS, CLOSES)], quotable, ahead=False)


def test_a_quote_is_of_one_sentence() -> None:
    told = said(asked("?"), liking(f"{OPENS}the old saw. The saw{CLOSES}"), most=400)
    assert "saw. The" not in told
    wanted = f"{OPENS}is Mr. Bo's{CLOSES}"
    assert said(asked("?"), liking(wanted)) == wanted


def test_a_quote_says_what_the_question_did_not() -> None:
    where = "Where did I find the old saw?"
    for echo in ("the old saw", "old saw", "I"):
        told = said(asked(where), liking(f"{OPENS}{echo}{CLOSES}"), most=400)
        assert told != f"{OPENS}{echo}{CLOSES}"
    wanted = f"{OPENS}it was in Bonn that I found the old saw{CLOSES}"
    assert said(asked(where), liking(wanted)) == wanted
    assert (
        said(asked("What?"), liking(f"{OPENS}the old saw{CLOSES}")) == f"{OPENS}the old saw{CLOSES}"
    )


def test_a_quote_has_a_word() -> None:
    for empty in (".", "?", "\u2014"):
        course, wanted = quoting(f"{SAID} {empty} And more."), OPENS + empty + CLOSES
        assert said(course, liking(wanted), most=400) != wanted


def test_a_long_question_may_be_quoted_back_and_of_a_long_text_anything_may_be_said() -> None:
    echo = f"{OPENS}the old saw{CLOSES}"
    long = "Where did I find the old saw? " + " ".join(f"w{n}" for n in range(MOST_WORDS))
    assert said(asked(long), liking(echo)) == echo
    wanted = f"{OPENS}anything at all{CLOSES}"
    text = write([("user", "word " * (MOST_CHARACTERS // 5))])
    assert said(quoting(text), liking(wanted)) == wanted


@pytest.mark.parametrize("text", ["", ASSISTANT, f"{USER}The?{ASSISTANT}"])
def test_with_nothing_to_quote_nothing_is_held(text: str) -> None:
    wanted = f"{OPENS}anything at all{CLOSES}"
    assert said(quoting(text), liking(wanted)) == wanted


def test_words_that_stand_in_one_place_are_not_asked_for() -> None:
    course, asked = quoting("The password is wolfsbane-and-marigold.", ahead=True), 0
    wanted = liking(f"{OPENS}password is wolfsbane-and-marigold{CLOSES}")

    def pick(flags: Flags) -> int:
        nonlocal asked
        asked += 1
        return wanted(flags)

    told = said(course, pick)
    assert "is wolfsbane" in told
    assert asked < len(small_tokenizer().encode(told))


def test_with_tools_at_hand_a_quote_is_exact_too() -> None:
    tool = Tool("look", "", {"type": "object", "properties": {"at": {"type": "string"}}})
    params = GenerationParams(max_tokens=80, tools=(tool,))
    course = quoting(within=steer(params))
    told = said(course, liking(f"{OPENS}niece Ulla pays 4054 euros{CLOSES}"), most=80)
    assert told.startswith(f"{OPENS}niece Ulla pays 4045")


class Stubborn:
    """Lets only one text come."""

    may_end = decided = False

    def __init__(self, text: str) -> None:
        self._ids = iter(small_tokenizer().encode(text))

    def next(self, pick: Callable[[Flags], int], room: int) -> int:
        flags = np.zeros(len(small_vocabulary()), dtype=np.bool_)
        flags[next(self._ids)] = True
        return pick(flags)

    def look_ahead(self, room: int) -> None:
        pass


def test_a_quote_gives_way_where_something_else_leaves_no_choice() -> None:
    wanted = f"{OPENS}no such words{CLOSES}"
    assert said(quoting(within=Stubborn(wanted)), liking("")) == wanted


def test_what_can_be_quoted_is_the_text_that_is_read_before_the_question() -> None:
    chunks = (Chunk("a", f"{USER}one two", 3, 0), Chunk("b", " three", 1, 8))
    apart = replace(chunks[1], start=99)
    tail = f" four{ASSISTANT}five{USER}who?{ASSISTANT}"
    visual = (None, None)
    context = Context("", visual, tail, chunks)  # type: ignore[arg-type]
    held = Quotable.of(context)
    assert held is not None
    assert held.text == f"{USER}one two three four{ASSISTANT}five{ASSISTANT}"
    assert held.question == f"{USER}who?"
    other = Quotable.of(replace(context, sources=(chunks[0], apart)))
    assert other is not None
    assert other.text == f"{USER}one two{END} three four{ASSISTANT}five{ASSISTANT}"
    result = replace(context, tail=f"{USER}who?{CALL}look{TOOL}Ulla{ASSISTANT}")
    after = Quotable.of(result)
    assert after is not None
    assert after.text.endswith(f"{TOOL}Ulla{ASSISTANT}")


def test_without_the_text_of_its_visual_tokens_a_context_holds_nothing() -> None:
    context = Context("", (None,), f"{USER}hi{ASSISTANT}")  # type: ignore[arg-type]
    assert Quotable.of(context) is None


MEMORY = "The owl lives here, the hare runs there. " * 4
MISREAD = f"{OPENS}the owl lives hare.{CLOSES}"


class Misreading:
    """Stands in for the choice of tokens: says :data:`MISREAD` as far as it may."""

    def __init__(self, params: GenerationParams, never: Tensor) -> None:
        self._ids = iter([*small_tokenizer().encode(MISREAD), small_tokenizer().id(END)])

    def __call__(self, logits: Tensor) -> int:
        liked = logits.clone()
        if (token := next(self._ids, None)) is not None:
            liked[token] += 1e6
        return int(liked.argmax())


@pytest.fixture
def misreading(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> TorchEngine:
    """The real engine, of a model that quotes and would say :data:`MISREAD` to anything."""
    monkeypatch.setattr("vist2_memory.engine.torch.Picker", Misreading)
    config = small_config(quotes=[[OPENS, CLOSES]])
    folder = save_small(tmp_path_factory.mktemp("quotes"), config)
    return TorchEngine(folder, device="cpu", options=EngineOptions(places=1))


def context_of(engine: TorchEngine) -> Context:
    chunks = list(engine.chunker.cut(write([("user", MEMORY)])))
    visual, tail = tuple(engine.encode(chunks)), f"{USER}Who lives where?{ASSISTANT}"
    return Context("", visual, tail, tuple(chunks))


def answer_of(engine: TorchEngine, context: Context, params: GenerationParams) -> str:
    finished = list(engine.generate(context, params))[-1]
    assert isinstance(finished, Finished)
    return finished.text


ASKED = GenerationParams(max_tokens=60, logprobs=0)  # every token is chosen, none decided ahead


def test_an_engine_holds_its_quotes_to_the_memory(misreading: TorchEngine) -> None:
    context = context_of(misreading)
    held = answer_of(misreading, context, ASKED)
    assert held.startswith(f"{OPENS}the owl lives")
    assert "hare" not in held.split(CLOSES)[0]
    free = answer_of(misreading, context, replace(ASKED, exact_quotes=False))
    assert free.startswith(MISREAD)
    unknown = answer_of(misreading, replace(context, sources=()), ASKED)
    assert unknown.startswith(MISREAD)


def test_answers_in_a_batch_are_held_too(misreading: TorchEngine) -> None:
    context = context_of(misreading)
    batch = misreading.generate_batch([context] * 2, [ASKED, replace(ASKED, exact_quotes=False)])
    texts = {n: event.text for n, event in batch if isinstance(event, Finished)}
    assert texts[0] == answer_of(misreading, context, ASKED)
    assert texts[1].startswith(MISREAD)


def test_a_schema_is_not_disturbed(misreading: TorchEngine) -> None:
    params = replace(ASKED, schema={"type": "string", "maxLength": 20}, logprobs=None)
    assert isinstance(json.loads(answer_of(misreading, context_of(misreading), params)), str)


@pytest.mark.parametrize("quotes", [[["a"]], [["", "b"]], [["a", ""]], [["a", "b", "c"]]])
def test_a_quote_opens_and_closes(quotes: list[list[str]]) -> None:
    with pytest.raises(ValueError, match="quotes="):
        small_config(quotes=quotes)


def test_the_bundled_model_quotes_as_it_was_trained_to() -> None:
    assert Vist2Config.from_pretrained(find_model("vist2-tiny")).quotes == QUOTES
