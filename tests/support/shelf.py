"""Documents of LangChain to search in, and embeddings that know a few words."""

from __future__ import annotations

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from langchain_vist2 import VisualDocuments
from tests.support.memories import plain
from vist2_memory import VisualMemory

FERRY = "The ferry leaves at nine from the old harbour. In winter it leaves at ten. "
BEES = "Bees sleep in winter. They wake when the snow melts, and dance for each other. "
VALVE = "The blue valve is behind the boiler. Turn it twice to the left. "
PAGES = [
    Document(FERRY * 4, id="ferry", metadata={"source": "ferry.txt", "page": 1}),
    Document(BEES * 3, metadata={"source": "bees.txt"}),
    Document(VALVE * 5 + "\ue004 is a mark. " + VALVE, id="valve", metadata={}),
]


class Topics(Embeddings):
    """A direction for each of a few topics; counts what it was given."""

    def __init__(self) -> None:
        self.embedded: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.embedded += texts
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self._vector(text)

    def _vector(self, text: str) -> list[float]:
        topics = (("ferry", "boat", "harbour", "nine"), ("bees", "insects"), ("valve", "plumbing"))
        return [0.01] + [float(sum(text.lower().count(w) for w in topic)) for topic in topics]


def shelf(memory: VisualMemory | None = None) -> VisualDocuments:
    """The three pages above, in a memory without a model."""
    documents = VisualDocuments(memory or plain(), name="handbook")
    documents.add_documents(PAGES)
    return documents
