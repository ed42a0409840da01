"""What a session that was changed must still be."""

from __future__ import annotations

from tests.support.memories import plain, said, whole
from vist2_memory import Session, VisualMemory
from vist2_memory.text.transcript import write
from vist2_memory.types import Chunk


def ids(session: Session) -> list[str]:
    return [message.id for message in session.messages()]


def tensors(memory: VisualMemory, session: Session) -> set[str]:
    """The chunks of which the store in memory holds a tensor."""
    shelf = memory.store._shelves.get(session.scope)  # type: ignore[attr-defined]
    return {chunk for _, chunk in shelf.tensors} if shelf else set()


def check_whole(memory: VisualMemory, session: Session) -> list[Chunk]:
    """The transcript is all there, and no other chunks have tensors; its chunks are returned."""
    chunks = session.chunks()
    assert whole(session) == write([s for s in said(session) if s[0] != "system"])  # type: ignore[misc]
    assert tensors(memory, session) <= {chunk.id for chunk in chunks}
    ends = [end for message in session.messages() for end in message.cuts]
    assert ends == [chunk.start + len(chunk.text) for chunk in chunks]
    with plain(store=memory.store) as again:
        assert again.session(session.id).chunks() == chunks
    return chunks
