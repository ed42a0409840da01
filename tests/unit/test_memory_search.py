"""Finding words in sessions and collections; taking documents out."""

from __future__ import annotations

import pytest

from tests.support.memories import DOCUMENTS, engine_of, plain
from vist2_memory import Document, VisualMemory
from vist2_memory.errors import ConflictError, InvalidInputError

TALK = [
    ("user", "The cat sat. The CAT slept."),
    ("assistant", "A sleeping cat\n is a good  cat."),
    ("user", "Is a good dog also a cat?"),
    ("assistant", "[x] costs 3.50? No (really) * \\d+ \ue000 Straße ÉTÉ"),
]


def found(memory: VisualMemory, text: str, limit: int = 20) -> list[tuple[int, list[str]]]:
    """Which messages, and what stands at the spans."""
    session = memory.session("a")
    ids = [message.id for message in session.messages()]
    return [
        (ids.index(hit.message.id), [hit.message.text[start:end] for start, end in hit.spans])
        for hit in session.search(text, limit=limit)
    ]


@pytest.fixture
def memory() -> VisualMemory:
    memory = plain()
    for role, text in TALK:
        memory.session("a").add(role, text)
    return memory


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("cat", [(2, ["cat"]), (1, ["cat", "cat"]), (0, ["cat", "CAT"])]),
        ("good  CAT", [(1, ["good  cat"]), (2, ["good", "cat"])]),
        ("cat is", [(1, ["cat\n is"]), (2, ["Is", "cat"])]),
        ("lee", [(1, ["lee"])]),
        ("nothing", []),
        ("[x] 3.50?", [(3, ["[x]", "3.50?"])]),
        ("\\d+", [(3, ["\\d+"])]),
        ("\ue000", [(3, ["\ue000"])]),
        ("été straße", [(3, ["Straße", "ÉTÉ"])]),
    ],
)
def test_words_are_found_where_they_stand(
    memory: VisualMemory, text: str, wanted: list[tuple[int, list[str]]]
) -> None:
    assert found(memory, text) == wanted


def test_no_more_is_found_than_was_asked_for(memory: VisualMemory) -> None:
    assert [place for place, _ in found(memory, "cat", limit=2)] == [2, 1]
    assert [place for place, _ in found(memory, "good cat", limit=1)] == [1]
    for text, limit in (("cat", 0), ("", 5), (" \n", 5)):
        with pytest.raises(InvalidInputError):
            memory.session("a").search(text, limit=limit)


def test_what_is_not_there_is_not_found() -> None:
    assert plain().session("a").search("cat") == []
    assert plain().collection("c").search("cat") == []


# Collections


@pytest.mark.parametrize("by", ["text", "id"])
def test_a_document_is_removed_and_the_others_stay(by: str) -> None:
    memory = plain()
    books = memory.collection("c")
    books.add_documents([*DOCUMENTS, Document("The last one. " * 9, {"page": 3})])
    ferry, bees, last = books.documents()
    assert [hit.message.payload for hit in books.search("LAST one")] == [{"page": 3}]
    for document in (ferry, last):
        assert books.remove_document(getattr(document, by)) == document
    assert books.documents() == [bees]
    engine_of(memory).encoded.clear()
    books.recollect(books.chunks())
    assert engine_of(memory).encoded == []
    shelf = memory.store._shelves[books.scope]  # type: ignore[attr-defined]
    assert {chunk for _, chunk in shelf.tensors} == {chunk.id for chunk in books.chunks()}
    assert books.add_documents([ferry]) == 1
    assert books.documents() == [bees, ferry]


def test_a_chunk_that_another_document_has_too_keeps_its_tensor() -> None:
    memory = plain()
    books = memory.collection("c")
    books.add_documents([DOCUMENTS[1] + "One.", DOCUMENTS[1] + "Two."])
    books.remove_document(DOCUMENTS[1] + "One.")
    engine_of(memory).encoded.clear()
    books.recollect(books.chunks())
    assert engine_of(memory).encoded == []


def test_a_document_that_is_not_there_is_named() -> None:
    books = plain().collection("c")
    with pytest.raises(InvalidInputError, match="collection 'c' has no document 'Nothing'"):
        books.remove_document("Nothing")


def test_a_document_added_meanwhile_is_not_lost() -> None:
    memory = plain()
    books = memory.collection("c")
    books.add_documents(DOCUMENTS)
    real = memory.store.rewrite

    def overtaken(*arguments: object, **options: object) -> int:
        memory.store.rewrite = real  # type: ignore[method-assign]
        books.add_documents(["Just added."])
        return real(*arguments, **options)  # type: ignore[arg-type]

    memory.store.rewrite = overtaken  # type: ignore[method-assign]
    books.remove_document(DOCUMENTS[0])
    assert [d.text for d in books.documents()] == [DOCUMENTS[1], "Just added."]


def test_where_others_always_come_first_nothing_is_removed() -> None:
    memory = plain()
    books = memory.collection("c")
    books.add_documents(DOCUMENTS)

    def never(*_: object, **__: object) -> int:
        raise ConflictError("another writer was there")

    memory.store.rewrite = never  # type: ignore[method-assign]
    with pytest.raises(ConflictError, match="nothing was removed"):
        books.remove_document(DOCUMENTS[0])
    assert len(books.documents()) == 2


async def test_removing_and_searching_have_async_twins() -> None:
    books = plain().collection("c")
    books.add_documents(DOCUMENTS)
    [hit] = await books.asearch("harbour")
    assert (await books.aremove_document(hit.message.id)).text == DOCUMENTS[0]


def test_what_a_tool_was_asked_for_is_found_too(memory: VisualMemory) -> None:
    calls = [{"id": "c1", "text": '{"name": "weigh", "arguments": {"whom": "the black cat"}}'}]
    memory.session("a").add("assistant", "Let me see the cat.", payload={"calls": calls})
    assert found(memory, "black cat")[0] == (4, [])
    assert found(memory, "cat weigh") == [(4, ["cat"])]
    assert found(memory, "cat dog weigh") == []
