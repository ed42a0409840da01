"""Strings that readers of pictures misread, found in text and noted down beside the pages.

A vision-language model reads prose on a page well, and a UUID or a card number badly: nothing in
the language says which digit comes next. Such strings stand beside the page as text. Pure functions
of text; every pattern either consumes what it looks at or looks a bounded number of characters
ahead, so that the time is linear in the text, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby

LONG_NUMBER = 6
"""Digits from which on a number is kept."""

_LETTER = r"A-Za-z\u00c0-\u052f"  # Latin with its accents, Greek, Cyrillic
_URL = rf"[{_LETTER}0-9_.~:/?\#\[\]@!$&()*+,;=%-]"
_HEX = "[0-9A-Fa-f]"
_BETWEEN = r"(?: [()\ \u00a0./-]{1,2} | ,(?=\d{3}(?!\d)) )"

_CANDIDATE = re.compile(
    rf"""
    (?: [{_LETTER}]++(?=[\s,]) | [\s,;:!?"'=*&|<>{{}}]++ )*+  # plain words and what is between
    (?:
      (?P<url>     (?:[A-Za-z][A-Za-z0-9+.-]{{1,15}}+://|www\.){_URL}++ )
    | (?P<email>   [{_LETTER}0-9_.%+-]{{1,64}}+@[{_LETTER}0-9-]++\.[{_LETTER}0-9.-]++ )
    | (?P<windows> (?:[A-Za-z]:|\\)\\[{_LETTER}0-9_.~$\\+-]++ )
    | (?P<address> (?:{_HEX}{{1,4}}:){{4,7}}{_HEX}{{1,4}}(?![\w:])  # MAC, IPv6
                 | (?:{_HEX}{{1,4}}:){{1,7}}:{_HEX}{{0,4}}(?::{_HEX}{{1,4}}){{0,6}}(?![\w:]) )
    | (?P<iban>    [A-Z]{{2}}\d\d(?:\ ?[A-Z0-9]{{4}}){{2,7}}(?:\ ?[A-Z0-9]{{1,3}})?(?![\w]) )
    | (?P<number>  (?> \+?(?:\(\d{{1,6}}\)[ /-]?)? \d++ (?: {_BETWEEN} \d{{1,19}}+ ){{0,9}} )
                   (?![{_LETTER}0-9_]) )
    | (?P<word>    [{_LETTER}0-9_./~+-]++={{0,2}} )
    | [\s\S]?
    )
    """,
    re.VERBOSE,
)
_GROUP = re.compile(r"\d+")
_AMOUNT = re.compile(r"\+?[\d.,]+")
_DATE = re.compile(
    r"\d{4}([./-])\d\d?\1\d\d?"  # 2024-03-14
    r"|\d\d?([./-])\d\d?\2(?:\d{4}|\d\d)"  # 14.3.2024
    r"|[12]\d{3}[/-](?:[12]\d)?\d\d"  # 1914-18
)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d")
_VERSION = re.compile(r"\d+(?:\.\d+){2,}")
_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,4}")
_PLAIN = re.compile(
    r"\d{1,4}(?:[a-z]{1,3}|ST|ND|RD|TH)"  # 14th, 1990s, 500ml
    r"|[A-Za-z]?[a-z]*\d{1,2}"  # 19, mp3, Q3
    r"|(?:1[5-9]|20)\d\d"  # a year
)
"""Parts of a word that are read well although they have digits."""


def find(text: str) -> list[str]:
    """The strings of ``text`` to be kept exactly, in order, each once.

    These are URLs, e-mail addresses, file paths, IP and MAC addresses, versions of three numbers
    and more, numbers of six digits and more (also grouped, as cards, telephones and IBANs are),
    and identifiers that mix letters and digits: UUIDs, digests, keys, base64, order numbers.
    Dates, ordinals and measures are not among them.
    """
    return list(dict.fromkeys(chain.from_iterable(map(_kept, _CANDIDATE.finditer(text)))))


def note(
    found: Sequence[Iterable[str]], budget: int, count: Callable[[str], int], *, first: int = 1
) -> str:
    """The text that stands beside the pages: what was ``found`` on each, oldest page first.

    At most ``budget`` tokens as ``count`` counts them. The newest page comes first, a string that
    is on several pages stands with the newest of them, and how many found no room is said. Pages
    are numbered from ``first`` on. Empty when nothing was found, or when there is room for nothing.
    """
    newest: dict[str, int] = {}  # string -> its newest page
    for page in range(len(found) - 1, -1, -1):
        for string in found[page]:
            newest.setdefault(string, first + page)
    room = budget - count(_written([], len(newest)))
    kept: list[tuple[int, str]] = []
    for string, page in newest.items():
        if (cost := count(f"; {string}")) <= room:
            kept.append((page, string))
            room -= cost
    while kept and count(_written(kept, len(newest) - len(kept))) > budget:
        kept.pop()  # the whole may take more than its parts, the numbers of pages among them
    text = _written(kept, len(newest) - len(kept)) if newest else ""
    return text if count(text) <= budget else ""


def _written(kept: Sequence[tuple[int, str]], left_out: int) -> str:
    lines = ["Strings on the pages, exactly as written:"]
    for page, strings in groupby(kept, key=lambda item: item[0]):
        lines.append(f"page {page}: {'; '.join(string for _, string in strings)}")
    if left_out:
        lines.append(f"({left_out} more left out)")
    return "\n".join(lines)


def _kept(match: re.Match[str]) -> Iterator[str]:
    """What of a candidate is to be kept."""
    kind = match.lastgroup
    if kind is None:
        return
    text = match[kind]
    if kind == "number":
        yield from _numbers(text)
    elif kind == "word":
        yield from _words(text)
    elif kind == "url":
        yield _without_end_of_sentence(text)
    else:
        yield text.rstrip(".-")


def _without_end_of_sentence(url: str) -> str:
    url = url.rstrip(".,;:!?*")
    closing = len(url) - len(url.rstrip(")"))
    surplus = min(closing, max(0, url.count(")") - url.count("(")))
    return url[: len(url) - surplus].rstrip(".,;:!?*")


def _numbers(text: str) -> Iterator[str]:
    """The long numbers in digits with marks between: the whole if it is one number, or parts."""
    for part in [text] if _is_grouped(text) else text.split():
        amount = _AMOUNT.fullmatch(part) and sum(map(str.isdigit, part)) >= LONG_NUMBER
        if (amount or _VERSION.fullmatch(part) or _is_grouped(part)) and not _DATE.fullmatch(part):
            yield part


def _is_grouped(text: str) -> bool:
    """Whether groups of digits read as one number, a card or a telephone, not as a table's row."""
    groups = _GROUP.findall(text)
    digits = sum(map(len, groups))
    dialled = text[0] in "+(0"
    marks = {mark for mark in text if not mark.isdigit()} - set("+()")
    one_kind = len(marks) <= 1 or marks <= ({" ", "-", "/"} if dialled else {" ", "-"})
    return one_kind and LONG_NUMBER < digits <= 24 and (dialled or digits >= 3 * len(groups))


def _words(word: str) -> Iterator[str]:
    """The paths, blobs and codes in a run of letters, digits and ``_./~+-``."""
    if _is_blob(word):
        yield word
        return
    if word.isalpha():
        return
    word = word.rstrip("=.-+~_").lstrip("-+_")
    if _is_path(word):
        yield word
        return
    for piece in re.split(r"[/+~=]+", word):
        if _is_code(piece := piece.strip(".-_")):
            yield piece


def _is_blob(word: str) -> bool:
    """Whether this is base64, or a key of 16 characters and more."""
    padded = word.endswith("=") and len(word) % 4 == 0
    mixed = any(map(str.isdigit, word)) and not word.islower() and not word.isupper()
    return len(word) >= 16 and (padded or (mixed and "." not in word and word.count("/") < 4))


def _is_path(word: str) -> bool:
    """Whether this is a path in a file system: rooted, or with a slash and an extension."""
    *folders, name = word.split("/")
    if not folders or not any(map(str.isalnum, word)):
        return False
    rooted = folders[0] in ("~", ".", "..") or (folders[0] == "" and len(folders) > 1)
    dot = name.rfind(".")
    return rooted or (dot >= 0 and _EXTENSION.fullmatch(name, dot) is not None)


def _is_code(piece: str) -> bool:
    """Whether digits make this an identifier: not a date, an ordinal, a measure or a name."""
    if _VERSION.fullmatch(piece.lstrip("v")):
        return True
    if sum(map(str.isalnum, piece)) < 4 or _TIMESTAMP.match(piece):
        return False
    parts = re.split(r"[-_.]+", piece)
    numbered = [part for part in parts if any(map(str.isdigit, part))]
    if len(numbered) != 1:
        return len(numbered) > 1 and not _DATE.fullmatch(piece)
    [number], words = numbered, [part for part in parts if part not in numbered]
    if number.isdigit() and len(number) < LONG_NUMBER:
        if words and number == parts[0] and all(map(str.islower, words)):
            return False  # 100-year-old
        if len(number) > 2 and any(map(str.isupper, words)):
            return True  # AB-1984
        return bool(words) and not _PLAIN.fullmatch(number)
    return not _PLAIN.fullmatch(number)
