"""The attribute: one kind of fact, with its wordings for training and for held-out tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """Templates are clauses without a final mark; see `grammar` for their slots."""

    key: str
    kind: str
    subjects: tuple[str, ...]
    maker: str
    say: tuple[str, ...]
    say_held: tuple[str, ...]
    ask: tuple[str, ...]
    ask_held: tuple[str, ...]
    about: tuple[str, ...]
    """Indirect questions: "where {who} [live|lives]", for "Do you remember ..."."""
    about_held: tuple[str, ...]
    answer: tuple[str, ...]
    """The standard wording, as the assistant says it back; answers to questions quote instead."""
    request: tuple[str, ...] = ()
    """What the user asks for first, where the assistant states the fact."""
    change: tuple[str, ...] = ()

    @property
    def by_assistant(self) -> bool:
        """Whether it is the assistant that tells the fact."""
        return self.kind == "assistant"


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def attribute(
    key: str,
    kind: str,
    subjects: str,
    maker: str,
    *,
    noun: str = "",
    say: str = "",
    held: str = "",
    ask: str = "",
    ask_held: str = "",
    about: str = "",
    about_held: str = "",
    answer: str = "",
    request: str = "",
    change: str = "",
) -> Attribute:
    """An attribute, one template a line; a `noun` ("street") adds wordings of possession."""
    parts = [
        _lines(text)
        for text in (say, held, ask, ask_held, about, about_held, answer, request, change)
    ]
    if noun:
        what = "who" if noun in ("boss", "best friend") else "what"
        generic = {
            0: (f"{{whose}} {noun} is {{v}}", f"{{v}} is {{whose}} {noun}"),
            1: (
                f"when it comes to {{whose}} {noun}, it is {{v}}",
                f"{{whose}} {noun} would be {{v}}",
            ),
            2: (f"{what} is {{whose}} {noun}", f"{what}'s {{whose}} {noun}"),
            3: (f"{what} would {{whose}} {noun} be", f"{what} is it, {{whose}} {noun}"),
            4: (f"{{whose}} {noun}", f"{what} {{whose}} {noun} is"),
            5: (f"{what} {{whose}} {noun} was",),
            6: (f"{{whose}} {noun} is {{v}}",),
            8: (f"{{whose}} new {noun} is {{v}}",),
        }
        own = not parts[6]
        for index, more in generic.items():
            if index != 6 or own:
                parts[index] = more + parts[index]
    return Attribute(key, kind, tuple(subjects.split()), maker, *parts)
