"""Names of scopes become keys: printable, reversible, no two alike."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vist2_memory.errors import InvalidScopeError
from vist2_memory.store import Scope

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
scopes = st.builds(Scope, names, st.sampled_from(["session", "collection"]), names)


@given(scopes)
def test_a_key_is_printable_and_leads_back_to_its_scope(scope: Scope) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._%-]+/(session|collection)/[A-Za-z0-9._%-]+", scope.key)
    assert Scope.from_key(scope.key) == scope


def test_a_key_can_be_read() -> None:
    assert Scope("acme", "session", "user-42").key == "acme/session/user-42"
    assert Scope("a/b", "collection", "{x}*~é").key == "a%2Fb/collection/%7Bx%7D%2A%7E%C3%A9"


@pytest.mark.parametrize("name", ["", "x" * 1025, "é" * 513, "\ud800", None, 7, b"bytes"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidScopeError, match="namespace"):
        Scope(name, "session", "s")
    with pytest.raises(InvalidScopeError, match="collection name"):
        Scope("n", "collection", name)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidScopeError, match="one of session, collection"):
        Scope("n", "log", "s")  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["", "a", "a/session", "a/log/b", "a/session/b/c", "a/session/~"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidScopeError):
        Scope.from_key(key)
