"""Memory as pages for hosted models: what is drawn, what stays text, what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.hosted import CODE, SMALL, opened, small, talk
from tests.support.memories import plain, said, tell, whole
from vist2_memory import Message, ModelError, ModelNotFoundError, Session, VisualMemory
from vist2_memory.engine.pages import EstimatedTokenizer, PageEngine
from vist2_memory.engine.providers import PROVIDERS, anthropic, gemini, openai_patches, openai_tiles
from vist2_memory.memory.delivery import Room
from vist2_memory.sketch.page import PageRenderer
from vist2_memory.text.transcript import written


def told(turns: int = 30) -> Session:
    return tell(small().session("a"), talk(turns))


def test_pages_and_recent_messages_are_the_whole_talk() -> None:
    session = told()
    delivery = session.deliver()
    assert len(delivery.pages) > 2
    assert [page.chunk_id for page in delivery.pages] == [c.id for c in session.chunks()]
    assert whole(session).endswith(delivery.recent[-1].text)
    spoken = [(s.role, s.text) for s in delivery.recent]
    messages = said(session)
    assert spoken[1:] == messages[-len(spoken) + 1 :]
    first, full = spoken[0], messages[-len(spoken)]
    assert first[0] == full[0]
    assert full[1].endswith(first[1])
    assert delivery.recent[0].continued == (first != full)


def test_of_a_part_of_the_session_only_what_lies_in_it_is_delivered() -> None:
    session = told()
    messages = session.messages()
    for upto in (0, 7, 20, len(messages)):
        delivery = session.deliver(upto=upto)
        ids = [page.chunk_id for page in delivery.pages]
        assert ids == [c.id for c in session.chunks()][: len(ids)]
        shown = "".join(c.text for c in session.chunks()[: len(ids)]) + "".join(
            written(Message(s.role, s.text)) if not s.continued else s.text for s in delivery.recent
        )
        assert shown == "".join(map(written, messages[:upto]))
    assert session.deliver(upto=len(messages)) == session.deliver()


def test_a_page_is_its_chunk_drawn() -> None:
    session = told()
    renderer = PageRenderer(SMALL.geometry)
    for page, drawn in zip(session.deliver().pages, renderer.draw(session.chunks()), strict=True):
        image = opened(page.png)
        assert image.size == (page.width, page.height)
        assert np.array_equal(np.asarray(image), drawn.pixels)
        assert page.tokens == openai_tiles(page.width, page.height)


def test_at_least_so_much_recent_text_stays_text() -> None:
    memory = small(keep_recent=100)
    session = tell(memory.session("a"), talk(30))
    assert memory.engine.chunker.count(session.tail()) >= 100


def test_exact_strings_on_pages_are_noted_within_their_budget() -> None:
    session = told()
    assert CODE in session.deliver().verbatim
    assert session.deliver(room=Room(verbatim_tokens=0)).verbatim == ""
    assert CODE not in " ".join(said.text for said in session.deliver().recent)


def test_the_oldest_pages_are_left_out_when_room_is_short_and_counted() -> None:
    session = told()
    every = session.deliver()
    cost = every.pages[-1].tokens
    for room in (Room(pages=2), Room(tokens=2 * cost)):
        short = session.deliver(room=room)
        assert short.pages == every.pages[-2:]
        assert short.left_out_pages == len(every.pages) - 2
        left_out = sum(page.text_tokens for page in every.pages[:-2])
        assert short.left_out_tokens == left_out
        assert short.recent == every.recent
        assert CODE not in short.verbatim
    assert session.deliver(room=Room(pages=0)).pages == ()
    with pytest.raises(ValueError, match="pages=-1"):
        Room(pages=-1)


def test_documents_come_first_and_no_page_twice() -> None:
    memory = small()
    books = memory.collection("handbook")
    more = memory.collection("copy")
    for collection in (books, more):
        collection.add_documents(["The ferry leaves at nine. " * 40])
    session = tell(memory.session("a"), talk(30))
    pages = session.deliver(include=[books, more, books]).pages
    ids = [page.chunk_id for page in pages]
    assert ids == [c.id for c in books.chunks()] + [c.id for c in session.chunks()]


def test_system_prompts_stay_text() -> None:
    session = small().session("a")
    session.add("system", "Be brief.")
    tell(session, talk(1))
    assert session.deliver().system == ("Be brief.",)


def test_pages_are_the_same_bytes_from_another_process_and_after_more_was_said(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    with small(url) as memory:
        before = tell(memory.session("a"), talk(20)).deliver()
    with small(url) as memory:
        session = memory.session("a")
        assert session.deliver() == before
        tell(session, talk(10))
        assert session.deliver().pages[: len(before.pages)] == before.pages


def test_a_message_under_the_same_id_is_stored_once() -> None:
    session = small().session("a")
    for _ in range(2):
        session.add("user", "We walked along the harbour. " * 60, id="1")
    assert len(session.messages()) == 1


async def test_adeliver_gives_the_same() -> None:
    session = told()
    assert await session.adeliver() == session.deliver()


def test_a_memory_that_only_draws_answers_nothing_and_logs_no_question() -> None:
    session = told(1)
    before = session.messages()
    with pytest.raises(ModelError, match="only draws"):
        session.ask("What is my ticket?")
    assert session.messages() == before


def test_a_memory_with_a_model_delivers_no_pages() -> None:
    with pytest.raises(ModelError, match="pages:openai"):
        plain().session("a").deliver()


def test_an_unknown_provider_is_told_at_once() -> None:
    with pytest.raises(ModelNotFoundError, match="pages:anthropic"):
        VisualMemory.open("memory://", model="pages:nobody")
    with pytest.raises(ValueError, match="keep_recent=-1"):
        PageEngine("openai", keep_recent=-1)


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_full_page_is_not_scaled_and_compresses(name: str) -> None:
    provider = PROVIDERS[name]
    width, height = provider.geometry.width, provider.geometry.height
    most = {
        "openai": (768, 2048),
        "openai-patches": (1024, 1536),
        "anthropic": (1568, 1568),
        "gemini": (3072, 3072),
    }[name]
    assert width <= most[0]
    assert height <= most[1]
    memory = VisualMemory.open("memory://", model=f"pages:{name}")
    assert memory.engine.spec.chunk_tokens > 2 * provider.tokens(width, height)


def test_images_are_counted_as_providers_publish() -> None:
    assert openai_tiles(1024, 1024) == 765
    assert openai_tiles(2048, 4096) == 1105
    assert openai_patches(1024, 1024) == 1024
    assert openai_patches(2400, 3600) == 1536
    assert anthropic(1092, 1092) == 1590
    assert gemini(384, 384) == 258
    assert gemini(1536, 1536) == 1032


def test_estimated_tokens_cover_the_text() -> None:
    text = "Half a long-winded sentence, 12345 猫 \ue00f3\n\n end."
    spans = EstimatedTokenizer().spans(text)
    assert "".join(text[a:b] for a, b in spans) == text
    assert "\ue00f3" in [text[a:b] for a, b in spans]


@pytest.mark.parametrize("blank", ["\n", "\r", "\t \n", " ", "\x85", "\u2028"])
def test_white_space_without_end_is_cut_into_pages(blank: str) -> None:
    session = small().session("a")
    for text in (f"before{blank * 2000}after", "We walked along the harbour. " * 100):
        session.add("user", text)
    assert len(session.deliver().pages) == len({chunk.id for chunk in session.chunks()})
    assert whole(session).count(blank) >= 2000


def test_a_page_of_short_lines_is_cut_where_it_is_full() -> None:
    engine = PageEngine(SMALL)
    chunks = engine.chunker.cut_all("a\n" * 500)
    assert "".join(chunk.text for chunk in chunks) == "a\n" * 500
    full = [len(engine.renderer.lines(chunk.text)) for chunk in chunks[:-1]]
    assert set(full) == {SMALL.geometry.lines_per_page}


def test_the_picture_of_a_chunk_is_the_page_that_is_sent() -> None:
    engine = PageEngine(SMALL)
    [chunk] = engine.chunker.cut_all("My cat is called Miso.")
    [page] = engine.draw([chunk])
    assert engine.picture(chunk) == page.png
    assert page.png[:4] == b"\x89PNG"
