"""``Vist2ChatMessageHistory``: a session as LangChain's chat message history.

Every message comes back equal to what was added, in the order of the log. Adding and reading load
no model: messages are cut and drawn when a VIST2 model first reads the session.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeGuard

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage

from langchain_vist2.messages import from_message, to_entry
from langchain_vist2.packing import is_plain
from vist2_memory import Session, VisualMemory
from vist2_memory.errors import ConflictError, InvalidInputError
from vist2_memory.memory.entries import Entry
from vist2_memory.store import AsyncStore, Scope, Store
from vist2_memory.store.records import MAX_ID_LENGTH
from vist2_memory.types import Message


class Vist2ChatMessageHistory(BaseChatMessageHistory):
    """The messages of one session, of any length.

    Safe to use from several threads, event loops and processes: what is added in one call is stored
    in one step or not at all. A message that brings an id is stored once, however often it is
    added. Answers that ``ChatVIST2`` logged into the same session, and the questions before them,
    are not added again.

    Every method raises ``StoreError`` where the store fails.
    """

    def __init__(
        self,
        session_id: str,
        *,
        store: str | Store | AsyncStore | None = None,
        memory: VisualMemory | None = None,
        **options: Any,
    ) -> None:
        """``memory``: where the session lives; it stays open. Share one among all histories.

        Without it one is opened when it is first needed, in ``store`` and with ``options``, as
        ``VisualMemory.open`` takes them (``namespace``, ``ttl``, ``key``, ...), and is closed by
        :meth:`close`. Raises ``InvalidScopeError`` for a session id that cannot be one.
        """
        super().__init__()
        if memory is not None and (store is not None or options):
            given = ", ".join(["store"] * (store is not None) + list(options))
            raise InvalidInputError(f"memory is given and {given} too: say where to store once")
        Scope(options.get("namespace", "default"), "session", session_id)
        self.session_id = session_id
        self._store = store
        self._options = options
        self._memory = memory
        self._is_own = memory is None
        self._lock = threading.Lock()

    @property
    def session(self) -> Session:
        """The session, as the library has it: to export, search, edit and branch."""
        with self._lock:
            if self._memory is None:
                self._memory = VisualMemory.open(self._store, **self._options)
            return self._memory.session(self.session_id)

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """All messages, oldest first, equal to what was added."""
        return list(map(from_message, self.session.messages()))

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add ``messages``, all or none.

        Raises ``InvalidMessageError`` for one that cannot be stored so that it comes back as it
        was, and ``ConflictError`` for an id that another message has.
        """
        session, entries = self.session, _entries(messages)
        turns = self._answered(messages)
        if turns:
            entries = _without(entries, session.messages(), turns)
        new = _as_stored(entries)
        try:
            session.record(new)
        except ConflictError:
            session.record(_unknown(new, session.messages()))

    def clear(self) -> None:
        """Delete the session: its messages, its visual tokens, and nothing else."""
        self.session.delete()

    def close(self) -> None:
        """Close the memory, unless it was given. The next call opens it again."""
        with self._lock:
            memory = self._memory if self._is_own else None
            if memory is not None:
                self._memory = None
                memory.close()

    # Async twins

    async def aget_messages(self) -> list[BaseMessage]:
        """:attr:`messages`, without blocking the event loop; Redis is asked without a thread."""
        session = await self._asession()
        return list(map(from_message, await session.amessages()))

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """:meth:`add_messages`, without blocking the event loop; Redis as in `aget_messages`."""
        session, entries = await self._asession(), _entries(messages)
        turns = self._answered(messages)
        if turns:
            entries = _without(entries, await session.amessages(), turns)
        new = _as_stored(entries)
        try:
            await session.arecord(new)
        except ConflictError:
            await session.arecord(_unknown(new, await session.amessages()))

    async def aclear(self) -> None:
        """:meth:`clear`, without blocking the event loop; Redis as in `aget_messages`."""
        await (await self._asession()).adelete()

    async def aclose(self) -> None:
        """:meth:`close`, without blocking the event loop, and with its connections closed."""
        memory = self._memory if self._is_own else None
        if memory is not None:
            self._memory = None
            await memory.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    # Within

    async def _asession(self) -> Session:
        if self._memory is None:  # opening one waits for its store
            return await asyncio.to_thread(lambda: self.session)
        return self.session

    def _answered(self, messages: Iterable[BaseMessage]) -> set[str]:
        """The turns that ``ChatVIST2`` says it logged into a session of this name."""
        told = (m.response_metadata for m in messages if isinstance(m, AIMessage))
        return {
            str(metadata.get("turn"))
            for metadata in told
            if metadata.get("model_provider") == "vist2"
            and metadata.get("session_id") == self.session_id
        }


def _entries(messages: Iterable[BaseMessage]) -> list[Entry]:
    return [to_entry(message, media="keep") for message in messages]


def _without(entries: Iterable[Entry], held: Iterable[Message], turns: set[str]) -> list[Entry]:
    """``entries`` but for those that the session holds in these turns."""
    logged = [Entry.of(message) for message in held if message.turn in turns]
    new: list[Entry] = []
    for entry in entries:
        same = (one for one in logged if one == entry or _both_silent(one, entry))
        found = next(same, None)
        if found is None:
            new.append(entry)
        else:
            logged.remove(found)
    return new


def _both_silent(one: Entry, other: Entry) -> bool:
    return one.role == other.role == "assistant" and one.silent and other.silent


def _as_stored(entries: Iterable[Entry]) -> list[Message]:
    """``entries`` as messages, under their own ids where they have some."""
    messages: dict[str, Message] = {}
    for entry in entries:
        id = entry.id if _may_be_id(entry.id) else uuid.uuid4().hex
        turn = id if entry.role == "user" else ""
        message = Message(entry.role, entry.text, id, turn, payload=entry.payload)
        if not _same(messages.setdefault(id, message), message):
            raise ConflictError(f"two different messages have the id {id!r}: nothing was stored")
    return list(messages.values())


def _unknown(messages: Iterable[Message], held: Iterable[Message]) -> list[Message]:
    """Those of ``messages`` that are not held, in whatever turn; raises ``ConflictError``."""
    known = {message.id: message for message in held}
    new = []
    for message in messages:
        there = known.get(message.id)
        if there is not None and not _same(there, message):
            raise ConflictError(
                f"the session holds another message with the id {message.id!r}, "
                f"{there.text[:40]!r}: an id is given once; nothing was stored"
            )
        if there is None:
            new.append(message)
    return new


def _same(one: Message, other: Message) -> bool:
    return (one.role, one.text, one.payload) == (other.role, other.text, other.payload)


def _may_be_id(id: str | None) -> TypeGuard[str]:
    """Whether a store takes ``id``."""
    if not isinstance(id, str) or not 1 <= len(id) <= MAX_ID_LENGTH:
        return False
    return is_plain(id)
