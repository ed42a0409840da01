"""LangChain's own suite for retrievers, against VisualRetriever in each of its forms."""

from __future__ import annotations

from typing import Any

from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests

from langchain_vist2 import VisualRetriever
from tests.support.shelf import Topics, shelf


class TestByWords(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return VisualRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"documents": shelf()}

    @property
    def retriever_query_example(self) -> str:
        return "When does the ferry leave in winter?"


class TestByEmbeddings(TestByWords):
    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"documents": shelf(), "search": "vectors", "embeddings": Topics()}


class TestByVectorStore(TestByWords):
    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        store = InMemoryVectorStore(Topics())
        return {"documents": shelf(), "search": "vectors", "vectorstore": store}


class TestHybrid(TestByWords):
    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"documents": shelf(), "embeddings": Topics()}
