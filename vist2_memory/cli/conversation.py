"""``vist2 chat``, ``ask`` and ``ingest``: talking to a memory, and giving it documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from vist2_memory.cli.common import (
    AsJson,
    MaxTokens,
    Model,
    Namespace,
    Ratio,
    SessionId,
    StoreURL,
    emit,
    note,
    opened,
    progress_bar,
    say_error,
    show,
)
from vist2_memory.cli.engines import EngineName, EngineOption, read_options
from vist2_memory.cli.files import read_documents
from vist2_memory.errors import InvalidInputError, Vist2Error
from vist2_memory.memory import Collection, VisualMemory
from vist2_memory.types import Finished, GenerationEvent, GenerationParams, TextDelta


def chat(
    session: SessionId = "default",
    max_tokens: MaxTokens = 256,
    store: StoreURL = None,
    model: Model = None,
    ratio: Ratio = None,
    namespace: Namespace = "default",
    engine: EngineName = None,
    engine_option: EngineOption = None,
) -> None:
    """Talk; a line is a message. Ctrl-C stops an answer, Ctrl-D or /quit ends."""
    params = GenerationParams(max_tokens=max_tokens)
    options = read_options(engine_option)
    with opened(store, model, namespace, ratio, engine, options) as memory:
        talk = memory.session(session)
        messages = len(talk.messages())
        note(f"session {session!r} with {messages} messages; Ctrl-D or /quit ends")
        for line in _lines():
            try:
                _show_answer(talk.stream(line, params=params))
            except Vist2Error as error:
                say_error(error)  # what went wrong with one message does not end the talk


def _lines() -> Iterator[str]:
    """What is typed, until /quit or the end of the input."""
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            typer.echo()
            return
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"the input is not UTF-8 text: {error.reason}") from error
        if line in ("/quit", "/exit"):
            return
        if line:
            yield line


def _show_answer(events: Iterator[GenerationEvent]) -> None:
    """Show the text as it comes; Ctrl-C stops the generation, the question stays unanswered."""
    try:
        for event in events:
            if isinstance(event, TextDelta):
                show(event.text, newline=False)
            elif isinstance(event, Finished):
                typer.echo()
                _note_shortcomings(event)
    except KeyboardInterrupt:
        typer.echo()
        note("stopped")


def _note_shortcomings(answer: Finished) -> None:
    for remark in answer.degraded:
        note(remark)
    if answer.left_out_tokens:
        note(f"the oldest {answer.left_out_tokens} text tokens did not fit and were left out")


def ask(
    question: Annotated[str, typer.Argument(help="The question; it becomes part of the session.")],
    session: SessionId = "default",
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="COLLECTION", help="Documents to read as well; may be repeated."),
    ] = None,
    max_tokens: MaxTokens = 256,
    as_json: AsJson = False,
    store: StoreURL = None,
    model: Model = None,
    ratio: Ratio = None,
    namespace: Namespace = "default",
    engine: EngineName = None,
    engine_option: EngineOption = None,
) -> None:
    """Ask one question out of a session's memory."""
    params = GenerationParams(max_tokens=max_tokens)
    options = read_options(engine_option)
    with opened(store, model, namespace, ratio, engine, options) as memory:
        collections = [_collection(memory, name) for name in include or ()]
        talk = memory.session(session)
        if as_json:
            answer = talk.ask(question, include=collections, params=params)
            emit(_as_object(session, question, answer))
        else:
            _show_answer(talk.stream(question, include=collections, params=params))


def _collection(memory: VisualMemory, name: str) -> Collection:
    """The collection called ``name``, which must hold something."""
    collection = memory.collection(name)
    if not memory.store.count(collection.scope):
        known = ", ".join(repr(info.scope.name) for info in memory.collections()) or "none"
        raise InvalidInputError(f"there is no collection {name!r} (there are: {known})")
    return collection


def _as_object(session: str, question: str, answer: Finished) -> dict[str, Any]:
    usage = answer.usage
    return {
        "session": session,
        "question": question,
        "answer": answer.text,
        "reason": answer.reason,
        "usage": {
            **asdict(usage),
            "compression_ratio": usage.compression_ratio,
            "context_ratio": usage.context_ratio,
        },
        "timing": asdict(answer.timing),
        "degraded": list(answer.degraded),
        "left_out_tokens": answer.left_out_tokens,
    }


def ingest(
    collection: Annotated[str, typer.Argument(help="The collection to add to.")],
    files: Annotated[
        list[Path],
        typer.Argument(
            exists=True, dir_okay=False, help=".txt and .md, or .jsonl with a text on each line."
        ),
    ],
    store: StoreURL = None,
    model: Model = None,
    ratio: Ratio = None,
    namespace: Namespace = "default",
) -> None:
    """Add documents to a collection; what is there already is left as it is."""
    documents = [document for path in files for document in read_documents(path)]
    with opened(store, model, namespace, ratio) as memory, progress_bar("ingest") as progress:
        progress(0, len(documents))
        new = memory.collection(collection).add_documents(
            documents, progress=lambda done: progress(done, len(documents))
        )
    typer.echo(f"{len(documents)} documents, {new} of them new in collection {collection!r}")
