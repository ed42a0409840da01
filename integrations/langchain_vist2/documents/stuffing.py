"""Documents in the context of a model: as many as a budget of visual tokens holds, and what they
were.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableGenerator, RunnableLambda

from langchain_vist2.documents.catalogue import Catalogue, cited, id_of, own_metadata
from vist2_memory import Collection, Passage
from vist2_memory.errors import InvalidInputError
from vist2_memory.selection import Candidate, Policy, by_score, choose, find_policy

if TYPE_CHECKING:
    from langchain_vist2.documents.visual_documents import VisualDocuments


@dataclass(frozen=True, slots=True)
class Stuffed:
    """What is to be read of some documents. ``llm.invoke(question, include=stuffed.include)``."""

    include: tuple[Collection, ...]
    """For the call option of a `ChatVIST2`, and for `Session.ask`."""
    citations: tuple[Document, ...]
    """The text that is read, a document of LangChain for each stretch, in the order in which it is
    read: with the source's metadata, ``document_id``, ``start_index`` and ``end_index``."""
    left_out: tuple[str, ...]
    """The ids of documents of which something was left out."""
    left_out_tokens: int
    """Text tokens of what was left out."""
    text_tokens: int
    """Text tokens of what is read."""
    visual_tokens: int
    """Visual tokens that it is read as."""


def stuff(
    collection: Collection,
    catalogue: Catalogue,
    budget: int | None,
    question: str | None,
    selection: Policy | str | None,
    pins: frozenset[str],
    among: Iterable[Document] | None,
) -> Stuffed:
    """See `VisualDocuments.stuff`."""
    passages, policy = _choice(catalogue, question or "", selection, pins, among)
    spec, cost = collection.engine.spec, collection.engine.cost
    room = spec.max_visual_tokens if budget is None else budget
    if room < 1:
        raise InvalidInputError(f"budget={budget!r} is not allowed: visual tokens, at least 1")
    candidates = [
        Candidate(p.chunk, cost(p.chunk), collection.scope, p.document_id, p.document_id in pins)
        for p in passages
    ]
    if unknown := sorted(pins - {passage.document_id for passage in passages}):
        raise InvalidInputError(f"pins={unknown[0]!r} is not there: pin the ids of documents")
    chosen = choose(candidates, room, question or "", policy)
    kept = [passages[place] for place in chosen.kept]
    left_out = [passages[place] for place in chosen.left_out]
    ids = dict.fromkeys(id_of(p.document_id, p.document.metadata) for p in left_out)
    return Stuffed(
        include=(collection.excerpt(kept),),
        citations=cited(kept),
        left_out=tuple(ids),
        left_out_tokens=sum(passage.chunk.tokens for passage in left_out),
        text_tokens=sum(passage.chunk.tokens for passage in kept),
        visual_tokens=sum(candidates[place].cost for place in chosen.kept),
    )


def _choice(
    catalogue: Catalogue,
    question: str,
    selection: Policy | str | None,
    pins: frozenset[str],
    among: Iterable[Document] | None,
) -> tuple[Sequence[Passage], Policy]:
    """The passages to choose from, in order, and how."""
    if among is not None:
        ranked = catalogue.passages_of(among)
        best = {passage.key: 1 / rank for rank, passage in enumerate(ranked, 1)}
        found = [p for p in catalogue.passages if p.key in best or p.document_id in pins]
        policy = by_score(lambda candidate: best.get(_key(candidate), 0.0))
        return found, policy if selection is None else find_policy(selection)
    if question.strip() and selection in (None, "relevant"):
        scores = catalogue.words.scores(question).tolist()
        by_key = dict(zip((p.key for p in catalogue.passages), scores, strict=True))
        return catalogue.passages, by_score(lambda candidate: by_key[_key(candidate)])
    return catalogue.passages, find_policy(selection or "recent")


def _key(candidate: Candidate) -> tuple[str, int]:
    """`Passage.key` of the passage that it was made of."""
    return candidate.document, candidate.chunk.start


def stuffing(
    documents: VisualDocuments,
    llm: Runnable[LanguageModelInput, Any],
    budget: int | None,
    retriever: Runnable[str, list[Document]] | None,
    selection: Policy | str | None,
    pins: tuple[str, ...],
) -> Runnable[LanguageModelInput, Any]:
    """See `VisualDocuments.stuffing`."""

    def reader(given: LanguageModelInput) -> Runnable[LanguageModelInput, Any]:
        question = question_of(given)
        among = None if retriever is None else retriever.invoke(question)
        stuffed = documents.stuff(budget, question, selection=selection, pins=pins, among=among)
        return _read(llm, stuffed)

    async def areader(given: LanguageModelInput) -> Runnable[LanguageModelInput, Any]:
        question = question_of(given)
        among = None if retriever is None else await retriever.ainvoke(question)
        options: dict[str, Any] = {"selection": selection, "pins": pins, "among": among}
        return _read(llm, await documents.astuff(budget, question, **options))

    return RunnableLambda(reader, areader, name="stuffing")


def question_of(given: LanguageModelInput) -> str:
    """What is asked: the last human message of what a chat model is given."""
    if isinstance(given, str):
        return given
    messages = given.to_messages() if isinstance(given, PromptValue) else convert_to_messages(given)
    return next((m.text for m in reversed(messages) if isinstance(m, HumanMessage)), "")


def _read(llm: Runnable[LanguageModelInput, Any], stuffed: Stuffed) -> Runnable[Any, Any]:
    """``llm`` with the documents included, and citations in its answer."""
    told = {
        "citations": [_citation(document) for document in stuffed.citations],
        "documents_left_out": list(stuffed.left_out),
    }

    def cite(answer: Any) -> Any:
        if not isinstance(answer, BaseMessage):
            return answer  # as of a parser
        return answer.model_copy(update={"response_metadata": {**answer.response_metadata, **told}})

    def first(chunks: Iterator[Any]) -> Iterator[Any]:
        for place, chunk in enumerate(chunks):
            yield chunk if place else cite(chunk)

    async def afirst(chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
        place = 0
        async for chunk in chunks:
            yield chunk if place else cite(chunk)
            place += 1

    bound = getattr(llm, "kwargs", {}).get("include", ())
    return llm.bind(include=[*bound, *stuffed.include]) | RunnableGenerator(first, afirst)


def _citation(document: Document) -> dict[str, Any]:
    """Where a stretch of text stands, without the text."""
    ours = ("document_id", "start_index", "end_index")
    source = {name: value for name, value in document.metadata.items() if name not in ours}
    return {**{name: document.metadata[name] for name in ours}, "metadata": own_metadata(source)}
