"""LangChain's own suites for chat models, on the real engine and the bundled model.

They ask the model to call functions and to answer in given forms; what they need of the engine it
was trained on other functions than theirs.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_vist2 import ChatVIST2
from vist2_memory.engine.base import Engine
from vist2_memory.engine.catalog import DEFAULT_MODEL, find_model, open_engine

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*deprecated:langchain_core._api.deprecation.LangChainDeprecationWarning",
    "ignore:.*is in beta:langchain_core._api.beta_decorator.LangChainBetaWarning",
)

langchain_load = importlib.import_module("langchain_core.load.load")  # its package hides it
DETAILS: Any = ["cache_read_input", "cache_creation_input"]


@lru_cache
def engine() -> Engine:
    """The bundled model, loaded once for all tests."""
    return open_engine(find_model(DEFAULT_MODEL), device="cpu")


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """``load`` takes nobody's classes but LangChain's own where all are allowed, so ours is added.

    Users name it, as in ``load(dumped, allowed_objects=[ChatVIST2])``.
    """
    known = langchain_load._get_default_allowed_class_paths("all")
    ours = tuple(ChatVIST2.lc_id())
    monkeypatch.setitem(langchain_load._default_class_paths_cache, "all", {*known, ours})


class TestUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatVIST2

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": DEFAULT_MODEL, "store": "memory://"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        url = "redis://user:secret@localhost:6379/0"
        return {"VIST2_STORE": url}, {"model": DEFAULT_MODEL}, {"store": url}


class TestIntegration(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatVIST2

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": engine(), "max_tokens": 64}

    @property
    def has_tool_calling(self) -> bool:
        return True

    @property
    def has_tool_choice(self) -> bool:
        return True

    @property
    def has_structured_output(self) -> bool:
        return True

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def returns_usage_metadata(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> Any:
        return {"invoke": DETAILS, "stream": DETAILS}

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        """A conversation whose beginning is drawn."""
        told = f"We saw the lighthouse and the old harbour{' again' * stream}. " * 20
        return self._asked(told, stream)

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        """The same conversation again."""
        self.invoke_with_cache_creation_input(stream=stream)
        answer = self.invoke_with_cache_creation_input(stream=stream)
        assert answer.usage_metadata is not None
        assert answer.usage_metadata["input_token_details"]["cache_read"] > 0
        return answer

    def _asked(self, told: str, stream: bool) -> AIMessage:
        given = [HumanMessage(told), AIMessage("I see."), HumanMessage("What did we see?")]
        model = self.chat_model_class(**{**self.chat_model_params, "max_tokens": 4})
        if not stream:
            return model.invoke(given)
        whole, *rest = model.stream(given)
        for chunk in rest:
            whole += chunk
        return whole
