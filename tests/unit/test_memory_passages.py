"""Collections in the process: read once, cut once, and right when others write too."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.memories import DOCUMENTS, engine_of, plain
from vist2_memory import Collection, Document, VisualMemory
from vist2_memory.errors import InvalidInputError
from vist2_memory.store import InMemoryStore, Scope
from vist2_memory.store.base import Snapshot
from vist2_memory.text.transcript import RESERVED

TEXT = st.text(st.sampled_from(["a", " ", "\n", "é", "猫", *RESERVED]), min_size=1, max_size=40)


class CountedStore(InMemoryStore):
    """How many messages were read."""

    read_messages = 0

    def snapshot(self, scope: Scope, after: int = 0) -> Snapshot:
        found = super().snapshot(scope, after)
        self.read_messages += len(found.messages)
        return found


def counted(memory: VisualMemory, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The documents that are cut from now on."""
    cut: list[str] = []
    chunker = memory.engine.chunker
    real = chunker.cut_all
    monkeypatch.setattr(chunker, "cut_all", lambda text: cut.append(text) or real(text))
    return cut


def texts(books: Collection) -> list[str]:
    """The documents, put together again from their passages."""
    found: dict[str, str] = {}
    for passage in books.passages():
        assert passage.start == len(found.setdefault(passage.document_id, ""))
        assert passage.text == passage.document.text[passage.start : passage.end]
        found[passage.document_id] += passage.text
    assert list(found) == [document.id for document in books.documents()]
    return list(found.values())


@given(st.lists(TEXT.filter(lambda text: bool(text.strip())), max_size=4, unique=True))
@example(["\ue00f" * 20, "\ue0043\ue004"])
def test_the_passages_of_a_document_are_its_own_text_without_a_gap(documents: list[str]) -> None:
    for chunk_tokens in (1, 8):
        books = plain(chunk_tokens=chunk_tokens).collection("b")
        books.add_documents(documents)
        assert texts(books) == documents
        assert [passage.chunk for passage in books.passages()] == books.chunks()
        assert len({passage.key for passage in books.passages()}) == len(books.passages())


def test_a_document_is_read_and_cut_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store = CountedStore()
    memory = plain(store=store)
    cut = counted(memory, monkeypatch)
    books = memory.collection("handbook")
    books.add_documents(DOCUMENTS)
    before = books.passages()
    assert len(cut) == 2
    store.read_messages = 0
    for _ in range(3):
        assert memory.collection("handbook").passages() is before
        assert books.add_documents(DOCUMENTS) == 0
        assert books.search("ferry")
    assert len(cut) == 2
    assert store.read_messages <= 12, "no more than the newest, each time"
    books.add_documents(["A third."])
    assert books.passages()[: len(before)] == before
    assert len(cut) == 3


def test_what_another_process_does_is_seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store = InMemoryStore()
    here, there = (plain(store=store).collection("b") for _ in range(2))
    here.add_documents([DOCUMENTS[0], "The second.", "The last."])
    assert texts(there) == texts(here)
    there.add_documents(["One more."])
    assert texts(here)[-1] == "One more."
    there.remove_document("The second.")
    assert texts(here) == texts(there) == [DOCUMENTS[0], "The last.", "One more."]
    there.delete()
    assert here.passages() == here.documents() == []
    # As many as before, and the same one last.
    here.add_documents(["Another.", "And another.", "The last."])
    there.add_documents(["This one.", "The last."])
    assert texts(there) == ["Another.", "And another.", "The last.", "This one."]
    there.delete()
    there.add_documents(["Changed.", "And another.", "The last.", "This one."])
    assert texts(here) == texts(there) == ["Changed.", "And another.", "The last.", "This one."]


def test_removing_several_is_one_step_and_keeps_what_others_need() -> None:
    memory = plain()
    books = memory.collection("b")
    shared = "Bees sleep in winter, all of them. "
    books.add_documents([shared * 2 + "One.", shared * 2 + "Two.", "Three.", "Four."])
    ids = [document.id for document in books.documents()]
    with pytest.raises(InvalidInputError, match="no document 'nowhere'"):
        books.remove_documents([ids[0], "nowhere"])
    removed = books.remove_documents(["Three.", ids[0], ids[0]])
    assert [document.text for document in removed] == [shared * 2 + "One.", "Three."]
    assert texts(books) == [shared * 2 + "Two.", "Four."]
    assert books.remove_documents([]) == []
    memory.flush()
    fingerprint = memory.engine.spec.fingerprint
    stored = memory.store.tensor_ids(books.scope)[fingerprint]
    assert set(stored) == {chunk.id for chunk in books.chunks()}


def test_metadata_that_changed_with_another_writer_is_the_new_one() -> None:
    store = InMemoryStore()
    here, there = (plain(store=store).collection("b") for _ in range(2))
    here.add_documents([Document("One.", {"page": 1}), "Two."])
    assert here.passages()[0].document.metadata == {"page": 1}
    there.remove_document("One.")
    there.add_documents([Document("One.", {"page": 2})])
    found = {p.document.text: p.document.metadata for p in here.passages()}
    assert found == {"Two.": {}, "One.": {"page": 2}}


def test_an_excerpt_is_read_in_place_of_the_collection() -> None:
    memory = plain()
    session, books = memory.session("a"), memory.collection("handbook")
    books.add_documents([*DOCUMENTS, "The last one."])
    some = books.passages()[1:4]
    excerpt = books.excerpt(reversed(some))
    assert excerpt.passages() == some
    session.ask("When?", include=[excerpt])
    session.ask("When?", include=[books.excerpt(some[:1]), books.excerpt(some[1:]), excerpt])
    session.ask("When?", include=[excerpt, books, excerpt])
    contexts = engine_of(memory).contexts
    chunks = tuple(passage.chunk for passage in some)
    assert contexts[0].sources == chunks
    assert contexts[1].sources[:3] == chunks
    assert list(contexts[2].sources[: len(books.chunks())]) == books.chunks()
    for context in contexts:
        assert [t.chunk_id for t in context.visual] == [c.id for c in context.sources]
    books.remove_document(some[0].document_id)
    assert some[0] not in excerpt.passages(), "what is deleted is in no excerpt"


def test_documents_that_the_model_cannot_read_are_refused() -> None:
    memory, other = plain(), plain()
    session = memory.session("a")
    books = other.collection("handbook")
    books.add_documents(DOCUMENTS)
    session.ask("When?", include=[books])  # of another store, for the same model
    memory.collection("handbook").add_documents(["Here."])
    with pytest.raises(InvalidInputError, match="of different stores"):
        session.ask("When?", include=[books, memory.collection("handbook")])
    engine = engine_of(other)
    object.__setattr__(engine.spec, "fingerprint", "plain-2")
    with pytest.raises(InvalidInputError, match="'handbook' is of a memory with the model 'plain'"):
        session.ask("When?", include=[books])
