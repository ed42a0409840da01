"""What the packages show, and that importing them is light."""

from __future__ import annotations

import subprocess
import sys

import pytest

import vist2_memory

PUBLIC = {
    "AnswerNotLoggedError",
    "ChunkFolded",
    "ChunkUse",
    "Chunk",
    "CodecError",
    "Collection",
    "ConflictError",
    "ContextOverflowError",
    "Document",
    "EncodingError",
    "EngineUnavailableError",
    "Excerpt",
    "FingerprintMismatchError",
    "Finished",
    "GenerationEvent",
    "GenerationParams",
    "InvalidInputError",
    "InvalidMessageError",
    "InvalidScopeError",
    "LeftOut",
    "LogLostError",
    "Message",
    "ModelError",
    "ModelNotFoundError",
    "Passage",
    "Quota",
    "QuotaExceededError",
    "SealedError",
    "Session",
    "StoreError",
    "StoreFormatError",
    "StoreURLError",
    "StoreUnavailableError",
    "TamperedError",
    "StoreWarning",
    "TextDelta",
    "Timing",
    "Usage",
    "Vist2Error",
    "VisualMemory",
    "VisualTokens",
    "__version__",
}


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after ``code``."""
    code += "\nimport sys; print(*sorted(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50
    )
    return set(result.stdout.split())


def test_public_names_are_these() -> None:
    assert set(vist2_memory.__all__) == PUBLIC
    assert len(vist2_memory.__all__) == len(PUBLIC)
    assert set(dir(vist2_memory)) == PUBLIC
    for name in PUBLIC:
        assert getattr(vist2_memory, name) is not None


def test_importing_the_library_is_light() -> None:
    loaded = loaded_by("import vist2_memory")
    assert not loaded & {"torch", "transformers", "langchain_core", "numpy", "redis", "PIL"}


HEAVY = {
    "torch",
    "transformers",
    "tokenizers",
    "llguidance",
    "langchain_core",
    "redis",
    "cryptography",
    "PIL",
    "pydantic",
}
"""What is loaded by whoever needs it, and by no import alone."""


@pytest.mark.parametrize("module", ["vist2_memory.store", "vist2_memory.store.outbox"])
def test_importing_the_stores_loads_no_server_no_keys_and_no_model(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert module in loaded
    assert not loaded & HEAVY


def test_importing_the_integration_loads_nothing_before_a_name_is_used() -> None:
    loaded = loaded_by("import langchain_vist2")
    assert not loaded & (HEAVY | {"numpy", "vist2_memory.memory"})


def test_no_public_name_loads_torch_or_langchain() -> None:
    loaded = loaded_by("from vist2_memory import *")
    assert not loaded & (HEAVY - {"pydantic"})


def test_the_command_line_loads_what_a_command_needs_when_it_runs() -> None:
    loaded = loaded_by("import vist2_memory.cli")
    assert not loaded & HEAVY


def test_chat_model_is_made_without_torch() -> None:
    loaded = loaded_by(
        "from langchain_vist2 import ChatVIST2\n"
        "ChatVIST2(store='sqlite:////nowhere/at/all.db', session_id='s')"
    )
    assert "langchain_vist2.chat.model" in loaded
    assert not loaded & {"torch", "transformers", "redis"}
