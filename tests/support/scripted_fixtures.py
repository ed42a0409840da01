"""Fixtures of a chat model on a scripted engine."""

from __future__ import annotations

import pytest

from langchain_vist2 import ChatVIST2
from tests.support.scripted import Scripted


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
def llm(scripted: Scripted) -> ChatVIST2:
    return ChatVIST2(model=scripted, store="memory://", session_id="s")
