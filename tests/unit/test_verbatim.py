"""Strings that readers of pictures misread: which are found, and how they are noted down."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vist2_memory.verbatim import find, note

EXACT = [
    "123e4567-e89b-12d3-a456-426614174000",
    "d41d8cd98f00b204e9800998ecf8427e",
    "8271934",
    "4111 1111 1111 1111",
    "5500-0000-0000-0004",
    "+49 30 123 4567",
    "(030) 1234-567",
    "+1 (555) 123-4567",
    "06 12 34 56 78",
    "DE89 3704 0044 0532 0130 00",
    "GB29NWBK60161331926819",
    "1,234,567",
    "3.14159265",
    "https://example.com/a_(b)?q=1&x=2",
    "www.example.org/page",
    "anna.b+x@mail.example.co.uk",
    "C:\\Users\\anna\\file.txt",
    "\\\\server\\share\\file",
    "~/notes",
    "/etc/hosts",
    "src/main.py",
    "v1.2.3",
    "192.168.0.1",
    "2001:db8:0:0:0:0:2:1",
    "fe80::1",
    "00:1A:2B:3C:4D:5E",
    "AB-1234-X9",
    "LH454",
    "K9X2",
    "order-1234",
    "sk-proj-abc123DEF456",
    "AKIAIOSFODNN7EXAMPLE",
    "QmFzZXNpeHR5Zm91cg==",
    "АБ-1234",
]

PROSE = [
    "In 1984 she was 20, on the 14th; the mid-1990s came, and a 100-year-old house and/or a boat.",
    "Call at 7:45 or 5pm; 500ml of milk, 3D, H2O, mp3, COVID-19, Q3, e.g. 24/7 at 60 km/h.",
    "On 2024-03-14 or 14.3.2024, at 2024-03-14T10:30:00Z, from 1914-1918 and 1870-71.",
    "10 20 30 40 50 60 70 80\n10.25 11.75 9.5\npages 120-134, $3.50, 1/2 -- or so...",
    "std::vector // a comment __init__ snake_case_name",
]

HOSTILE = ["1", "1 ", "11 ", "a", "a1", "a@", "a:", "://", "a://", "A1 ", "-", "=", "(", "1(", "::"]


@pytest.mark.parametrize("string", EXACT)
@pytest.mark.parametrize("around", ["{}", "It is {}, I think.", "({})", 'x="{}";', "see: {}!\n"])
def test_a_string_is_found_whole_and_bare(string: str, around: str) -> None:
    assert find(around.format(string)) == [string]


@pytest.mark.parametrize("text", PROSE)
def test_ordinary_prose_has_none(text: str) -> None:
    assert find(text) == []


def test_a_number_in_a_script_without_spaces_is_found() -> None:
    assert find("我有123456个苹果") == ["123456"]


def test_strings_come_in_order_and_once() -> None:
    assert find("B2C3D now, /usr/bin then, B2C3D again") == ["B2C3D", "/usr/bin"]


@settings(max_examples=200)
@given(st.text(alphabet="aZ19 .-_/:@=+(),\\\n~é猫\ue000<|", max_size=60))
def test_what_is_found_stands_in_the_text_and_forges_nothing(text: str) -> None:
    found = find(text)
    assert len(set(found)) == len(found)
    for string in found:
        assert string in text
        assert not set(string) & set("\n<|\ue000")


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_text_made_to_be_slow_is_searched(piece: str) -> None:
    """Time that grows with the square of the text would never end here."""
    find(piece * (100_000 // len(piece)) + "x")


def test_a_megabyte_of_one_word_is_searched() -> None:
    assert find("a1" * 500_000) == ["a1" * 500_000]


def words(text: str) -> int:
    return len(text.split())


PAGES = [["A1B2", "https://example.org"], [], ["A1B2", "4111 1111 1111 1111"]]


def test_the_note_has_the_newest_page_first_and_no_string_twice() -> None:
    assert note(PAGES, 100, words) == (
        "Strings on the pages, exactly as written:\n"
        "page 3: A1B2; 4111 1111 1111 1111\n"
        "page 1: https://example.org"
    )
    assert note(PAGES, 100, words, first=8).splitlines()[1].startswith("page 10: ")


def test_what_finds_no_room_in_the_note_is_counted() -> None:
    for budget in range(30):
        text = note(PAGES, budget, words)
        assert words(text) <= budget
        kept = sum(string in text for string in ("A1B2", "4111 1111", "https://"))
        assert not text or ("left out" in text) == (kept < 3)
        assert not text or kept == 3 or f"({3 - kept} more left out)" in text


def test_a_string_too_long_for_the_note_does_not_keep_others_out() -> None:
    text = note([["A1B2"], ["x" * 500 + "1"]], 100, len)
    assert "A1B2" in text
    assert "(1 more left out)" in text


def test_nothing_found_is_no_note() -> None:
    assert note([], 100, words) == note([[], []], 100, words) == ""
