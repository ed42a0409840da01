"""VisualHistory with the real client of langchain-openai, down to the bytes on the wire."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableGenerator, RunnableLambda
from langchain_openai import ChatOpenAI

from langchain_vist2 import VisualHistory
from langchain_vist2.history.visual_history import CONTINUED, PAGES, to_messages
from langchain_vist2.messages import from_message
from tests.support.hosted import CODE, SMALL, HostedModel, hosted_model, opened, pngs, small, talk
from tests.support.memories import ROOT, said, tell
from vist2_memory import ConflictError, InvalidMessageError, Session
from vist2_memory.errors import ModelError
from vist2_memory.memory.delivery import Room
from vist2_memory.sketch.page import PageRenderer

QUESTION = "What is my ticket?"


@pytest.fixture
def hosted() -> Iterator[HostedModel]:
    with hosted_model() as model:
        yield model


@pytest.fixture
def session() -> Session:
    return tell(small().session("a"), talk(30))


def client(hosted: HostedModel) -> ChatOpenAI:
    return ChatOpenAI(base_url=hosted.url, api_key="none", model="gpt-4o", max_retries=0)  # type: ignore[arg-type]


def texts(heard: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Roles and texts of the messages that are text alone."""
    return [(m["role"], m["content"]) for m in heard if isinstance(m["content"], str)]


def test_old_messages_go_out_as_pages_and_recent_ones_as_text(
    hosted: HostedModel, session: Session
) -> None:
    history = VisualHistory(session)
    reply = (history | client(hosted) | history.answers()).invoke(QUESTION)
    assert reply.text == hosted.answer

    images = [opened(png) for png in pngs(hosted.heard)]
    chunks = session.chunks()
    drawn = PageRenderer(SMALL.geometry).draw(chunks)
    assert len(images) == len(chunks) > 2
    for image, page in zip(images, drawn, strict=True):
        assert image.width == SMALL.geometry.width
        assert np.array_equal(np.asarray(image), page.pixels)
    assert CODE in chunks[0].text  # the oldest message is on the first page

    pages, *recent = hosted.heard
    assert pages["role"] == "user"
    kinds = [block["type"] for block in pages["content"]]
    assert kinds == ["text", *["image_url"] * len(images), "text"]
    assert pages["content"][0]["text"] == PAGES
    assert CODE in pages["content"][-1]["text"]

    on_pages = "".join(chunk.text for chunk in chunks)
    as_text = texts(recent)
    assert as_text[-1] == ("user", QUESTION)
    everything = said(session)[:-1]  # but for the answer to this request
    assert as_text[1:] == everything[-len(as_text) + 1 :]
    first = as_text[0][1].removeprefix(CONTINUED)
    cut = everything[-len(as_text)][1]
    assert cut.endswith(first)
    assert on_pages.endswith(cut.removesuffix(first))
    for _, text in everything[: -len(as_text)]:
        assert text in on_pages  # nothing is dropped


def test_the_answer_is_logged_and_the_next_turn_sends_the_same_bytes_first(
    hosted: HostedModel, session: Session
) -> None:
    history = VisualHistory(session)
    chain = history | client(hosted) | history.answers()
    chain.invoke(QUESTION)
    assert said(session)[-2:] == [("user", QUESTION), ("assistant", "Noted.")]
    first = hosted.heard[0]["content"]
    chain.invoke("And the ferry? " + "It was late and we waited at the harbour for hours. " * 12)
    second = hosted.heard[0]["content"]
    count = len(pngs(hosted.requests[0]["messages"]))
    assert second[: count + 1] == first[: count + 1]
    assert len(pngs(hosted.heard)) > count


def test_the_whole_conversation_may_be_sent_each_time(
    hosted: HostedModel, session: Session
) -> None:
    kinds = {"user": HumanMessage, "assistant": AIMessage}
    given = [kinds[role](text) for role, text in talk(30)]
    before = len(session.messages())
    (VisualHistory(session) | client(hosted)).invoke([*given, HumanMessage(QUESTION)])
    assert len(session.messages()) == before + 1
    with pytest.raises(ConflictError):
        VisualHistory(session).invoke([HumanMessage("Never said."), HumanMessage(QUESTION)])


def test_a_retry_adds_nothing_and_asks_the_same(hosted: HostedModel, session: Session) -> None:
    history = VisualHistory(session)
    chain = history | client(hosted)
    chain.invoke(QUESTION)
    chain.invoke(QUESTION)
    assert hosted.requests[0] == hosted.requests[1]
    assert said(session)[-1] == ("user", QUESTION)


def test_a_question_that_was_answered_keeps_its_first_answer(
    hosted: HostedModel, session: Session
) -> None:
    history = VisualHistory(session)
    chain = history | client(hosted) | history.answers()
    given = [HumanMessage(talk(1)[0][1]), AIMessage(talk(1)[1][1]), HumanMessage(QUESTION)]
    history.session = small().session("b")
    chain.invoke(given)
    hosted.answer = "Something else."
    assert chain.invoke(given).text == "Something else."
    assert texts(hosted.heard)[-1] == ("user", QUESTION)
    assert said(history.session)[-1] == ("assistant", "Noted.")


async def test_async_and_streaming_do_the_same(hosted: HostedModel, session: Session) -> None:
    hosted.answer = "It is on the page"
    history = VisualHistory(session)
    chain = history | client(hosted) | history.answers()
    pieces = [chunk.text async for chunk in chain.astream(QUESTION)]
    assert len([piece for piece in pieces if piece]) > 2
    assert said(session)[-1] == ("assistant", "".join(pieces))
    reply = await chain.ainvoke("Thank you.")
    assert said(session)[-1] == ("assistant", reply.text)
    assert len(hosted.requests) == 2
    for piece in chain.stream("Good night."):
        assert isinstance(piece.text, str)
    assert said(session)[-2] == ("user", "Good night.")


def test_a_prompt_with_a_system_message_goes_in_front(
    hosted: HostedModel, session: Session
) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{said}")])
    chain = prompt | VisualHistory(session) | client(hosted)
    for _ in range(2):
        chain.invoke({"said": QUESTION})
    assert hosted.heard[0] == {"role": "system", "content": "Be brief."}
    assert [m.role for m in session.messages()].count("system") == 1


def test_what_is_left_out_is_said(hosted: HostedModel, session: Session) -> None:
    (VisualHistory(session, room=Room(pages=1)) | client(hosted)).invoke(QUESTION)
    assert len(pngs(hosted.heard)) == 1
    left_out = len(session.chunks()) - 1
    assert f"{left_out} older pages" in hosted.heard[0]["content"][-1]["text"]


def test_a_new_session_sends_the_question_alone(hosted: HostedModel) -> None:
    (VisualHistory(small().session("new")) | client(hosted)).invoke(QUESTION)
    assert hosted.heard == [{"role": "user", "content": QUESTION}]


def test_documents_are_sent_before_the_conversation(hosted: HostedModel) -> None:
    memory = small()
    books = memory.collection("handbook")
    books.add_documents(["The ferry leaves at nine, from the old harbour."])
    (VisualHistory(memory.session("a"), include=[books]) | client(hosted)).invoke("When?")
    assert len(pngs(hosted.heard)) == 1
    assert texts(hosted.heard) == [("user", "When?")]


def test_images_are_standard_content_blocks(session: Session) -> None:
    """What LangChain's other clients (Anthropic, Gemini) translate."""
    [pages, *_] = to_messages(session.deliver())
    image = pages.content_blocks[1]
    assert set(image) == {"type", "base64", "mime_type"}
    assert (image["type"], image["mime_type"]) == ("image", "image/png")


def test_what_cannot_be_stored_is_refused(session: Session) -> None:
    before = session.messages()
    picture = HumanMessage([{"type": "image", "url": "https://example.org/a.png"}])
    for given in (picture, [SystemMessage("Be brief.")]):
        with pytest.raises(InvalidMessageError):
            VisualHistory(session).invoke(given)
    assert session.messages() == before


def test_the_example_runs(
    hosted: HostedModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_BASE_URL", hosted.url)
    runpy.run_path(str(ROOT / "examples" / "hosted_images.py"))["main"]()
    out = capsys.readouterr().out
    assert out.startswith(hosted.answer)
    assert [opened(png).width for png in pngs(hosted.heard)] == [768]
    assert "PX-4471-Z8" in hosted.heard[0]["content"][-1]["text"]
    assert "121 messages. Sent as pages: 1, which count 1445 tokens" in out


def test_a_model_that_streams_nothing_leaves_the_question_unanswered(session: Session) -> None:
    history = VisualHistory(session)

    def nothing(given: Iterator[Any]) -> Iterator[AIMessage]:
        yield from ()

    silent = RunnableGenerator(nothing)
    with pytest.raises(ModelError, match="answered nothing"):
        (history | silent | history.answers()).invoke(QUESTION)
    assert session.messages()[-1].text == QUESTION


def test_an_answer_is_kept_with_all_that_is_beside_it(session: Session) -> None:
    call = {"name": "find", "args": {"q": "ticket"}, "id": "c1"}
    history = VisualHistory(session)
    for beside in ({"page": 3}, {"parsed": object()}):  # the second cannot be kept
        answer = AIMessage("Let me see.", tool_calls=[call], additional_kwargs=beside, id="r1")
        model = RunnableLambda(lambda _, answer=answer: answer)
        (history | model | history.answers()).invoke(f"{QUESTION} {beside}")
    first, second = [m for m in session.messages() if m.text == "Let me see."][-2:]
    assert from_message(first).additional_kwargs == {"page": 3}
    assert from_message(first).id == "r1"
    assert from_message(second).additional_kwargs == {}
    assert [call.name for call in (*first.calls, *second.calls)] == ["find", "find"]
