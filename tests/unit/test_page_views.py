"""What the memory page shows of sessions, documents and the server, by the rights of who looks."""

from __future__ import annotations

import io
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from tests.support.pages import OWN, ReadingEngine, Tag, looking, memory_of, read
from tests.support.plain import FailingStore, PlainEngine, calling
from tests.support.serving import Served, chat
from vist2_memory import Document, Usage
from vist2_memory.errors import StoreUnavailableError
from vist2_memory.memory.exports import read_export
from vist2_memory.serving.page.rendering import percent
from vist2_memory.serving.page.transcripts import rows_of, tail_of
from vist2_memory.types import Finished

TALK = "My cat is called Miso, and she likes the red cushion by the fire very much. "
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
ODD = ["..", "a/../b", "?q=#x", HOSTILE, " ", "%2e%2e", "\u202e\u00e9\U0001f600", "x\ny"]


async def test_sessions_are_listed_newest_first_and_found_by_name() -> None:
    served = Served()
    for name in ("alpha", "beta/two", "gamma"):
        memory_of(served).session(name).add("user", TALK)
    memory_of(served, "other").session("secret").add("user", TALK)
    async with looking(served) as browser:
        rows = read(await browser.get("/")).all("tbody")[0].all("a")
        found = read(await browser.get("/?q=TWO")).all("tbody")[0].all("a")
        none = await browser.get("/?q=delta")
    assert sorted(link.text for link in rows) == ["alpha", "beta/two", "gamma"]
    assert [link.text for link in found] == ["beta/two"]
    assert "No session" in none.text


@pytest.mark.parametrize("name", ODD)
async def test_a_session_of_any_name_is_opened_exported_and_deleted(name: str) -> None:
    served = Served()
    memory_of(served).session(name).add("user", TALK * 3)
    async with looking(served) as browser:
        [link] = read(await browser.get("/")).all("tbody")[0].all("a")
        page = read(await browser.get(link.attributes["href"]))
        assert page.all("h1")[0].text == name
        [export] = [a for a in page.all("a") if a.text == "Export"]
        file = await browser.get(export.attributes["href"])
        assert json.loads(file.text.splitlines()[0])["session"] == name
        disposition = file.headers["content-disposition"]
        assert disposition.startswith("attachment; filename=")
        assert disposition.isascii()
        [ask] = [a for a in page.all("a") if a.text == "Delete…"]
        asked = read(await browser.get(ask.attributes["href"]))
        [form] = asked.all("form", action="/page/session/delete")
        fields = {f.attributes["name"]: f.attributes["value"] for f in form.all("input")}
        done = await browser.post(form.attributes["action"], data=fields, headers=OWN)
        assert "deleted" in (await browser.get(done.headers["location"])).text
    assert memory_of(served).sessions() == []


async def test_nothing_that_was_said_or_named_is_markup() -> None:
    served = Served(PlainEngine([calling(HOSTILE, text=HOSTILE), HOSTILE]))
    memory = memory_of(served)
    for session in (HOSTILE, "s"):
        memory.session(session).add("system", HOSTILE)
        memory.session(session).add("user", HOSTILE * 4)
        memory.session(session).ask(HOSTILE)
    books = memory.collection(HOSTILE)
    books.add_documents([Document(HOSTILE * 4, {"source": HOSTILE, HOSTILE: [HOSTILE]})])
    id = books.documents()[0].id
    name = quote(HOSTILE, safe="")
    async with looking(served) as browser:
        for path in (
            "/",
            f"/?q={name}",
            f"/page/session?id={name}",
            f"/page/session?id=s&q={name}",
            f"/page/session?id={name}{name}",
            f"/page/session/delete?id={name}",
            "/page/collections",
            f"/page/collection?name={name}",
            f"/page/collection?name={name}&q={name}",
            f"/page/document?name={name}&id={id}",
            f"/page/document/delete?name={name}&id={id}",
            f"/page/sign-in?next={name}",
            f"/?done={name}",
        ):
            reply = await browser.get(path, follow_redirects=True)
            page = read(reply)
            [script] = page.all("script")
            assert script.attributes["src"].startswith("/page/static/page.js")
            assert {tag.attributes["src"][:6] for tag in page.all("img")} == {"/page/"}


async def test_the_timeline_has_every_word_once_and_a_sketch_for_each_chunk() -> None:
    served = Served(PlainEngine(["She sleeps on the piano."]))
    session = memory_of(served).session("s")
    session.add("system", "Be kind.")
    said = [TALK, "Noted.", TALK * 2]
    for place, text in enumerate(said):
        session.add("assistant" if place % 2 else "user", text)
    session.ask("Where does she sleep?")
    words = ""
    async with looking(served) as browser:
        last = read(await browser.get("/page/session?id=s"))
        pages = int(last.of_class("pages")[0].all("span")[0].text.split()[-1])
        assert pages > 1
        for page in range(1, pages + 1):
            shown = read(await browser.get(f"/page/session?id=s&page={page}"))
            words += "".join(p.text for p in shown.of_class("said") for p in p.of_class("text"))
            for image in shown.of_class("sketch"):
                png = await browser.get(image.attributes["src"])
                assert png.headers["content-type"] == "image/png"
                assert "private" in png.headers["cache-control"]
                with Image.open(io.BytesIO(png.content)) as drawn:
                    assert str(drawn.width) == image.attributes["width"]
            assert len(shown.of_class("sketch")) == len(shown.of_class("chunk"))
    expected = "".join([*said, "Where does she sleep?", "She sleeps on the piano."])
    assert "".join(words.split()) == "".join(expected.split())
    assert "Be kind." in last.of_class("pinned")[0].text


def test_fragments_know_whose_words_they_are_across_chunks_and_calls() -> None:
    served = Served(PlainEngine([calling("weather", text=TALK)]))
    session = memory_of(served).session("s")
    session.add("user", TALK)
    session.ask("How is it in Paris, where my sister lives in a small house?")
    session.add("tool", "Sunny \ue000 and warm, as it was yesterday and the day before. ")
    state, engine = session.transcript(), served.engine
    whole = rows_of(engine, lambda chunk: None, state, state.chunks, 0)
    for start in range(len(state.chunks)):
        rows = rows_of(engine, lambda chunk: None, state, state.chunks[start:], start)
        assert [row.fragments for row in rows] == [row.fragments for row in whole[start:]]
    fragments = [f for row in whole for f in row.fragments] + list(tail_of(state))
    roles = [f.role for f in fragments if f.begins]
    assert roles == ["user", "user", "tool call", "tool"]
    tool = "".join(f.text for f in fragments if f.role == "tool")
    assert tool == "Sunny \ue000 and warm, as it was yesterday and the day before. "


async def test_what_the_last_answer_read_is_told() -> None:
    end = Finished("Miso.", "stop", Usage(80, 12, 12, 30, 110, 4))
    served = Served(PlainEngine([end, "Again."], max_visual_tokens=12))
    session = memory_of(served).session("s")
    first = session.add("user", TALK * 3).id
    async with served.client() as client:
        books = {"documents": [{"text": "The blue valve is behind the boiler."}]}
        await client.post("/v1/collections/books/documents", json=books)
    async with looking(served) as browser:
        before = await browser.get("/page/session?id=s")
        async with served.client() as client:
            asked = chat("What is she called?", "s", include=["books"], pins=[first], budget=900)
            assert (await client.post("/v1/chat/completions", json=asked)).status_code == 400
            asked = chat("And now?", "s", include=["books"])
            reply = await client.post("/v1/chat/completions", json=asked)
        left_out = reply.json()["vist2"]["left_out_tokens"]
        page = read(await browser.get("/page/session?id=s&page=1"))
        last = read(await browser.get("/page/session?id=s"))
        session.ask("And when it was not asked here?")
        later = await browser.get("/page/session?id=s")
    assert "gave no answer here" in before.text
    assert "A newer answer" in later.text
    assert "A newer answer" not in page.text + last.text
    facts = dict(zip(page.all("dt"), page.all("dd"), strict=True))
    told = {dt.text.strip(): dd.text for dt, dd in facts.items()}
    assert told["Left out"].startswith(f"{left_out} text tokens")
    books_read, own_read = (
        [int(count) for count in told[name].partition(" chunks")[0].split(" of ")]
        for name in ("books", "This session")
    )
    assert books_read == [len(memory_of(served).collection("books").chunks())] * 2
    assert 0 < own_read[0] < own_read[1]
    assert told["Chosen by"].strip() == "recent"
    assert "12 visual and 30 text tokens" in page.of_class("big")[1].text
    order = ["left out of the last answer", "in the last answer", "text in the last answer"]
    badges = [badge.text for shown in (page, last) for badge in shown.of_class("badge")]
    assert list(dict.fromkeys(badges)) == order


async def test_an_answer_is_forgotten_with_its_session() -> None:
    served = Served()
    async with served.client() as client:
        await client.post("/v1/chat/completions", json=chat("q", "s"))
        assert served.tenants.tenant("acme").answers.of("s") is not None
        await client.delete("/v1/sessions/s")
    assert served.tenants.tenant("acme").answers.of("s") is None


async def test_a_readback_marks_what_differs() -> None:
    served = Served(ReadingEngine())
    session = memory_of(served).session("s")
    session.add("user", TALK * 3)
    [chunk, *_] = session.chunks()
    served.engine.answers.append(chunk.text[1:].replace("Miso", "Mizo"))
    async with looking(served) as browser:
        page = read(await browser.get("/page/session?id=s&page=1"))
        [form, *_] = page.all("form", action="/page/session/readback")
        fields = {f.attributes["name"]: f.attributes["value"] for f in form.all("input")}
        reply = await browser.post(form.attributes["action"], data=fields, headers=OWN)
        gone = await browser.post(
            form.attributes["action"], data={**fields, "chunk": "x"}, headers=OWN
        )
    context = served.engine.contexts[-1]
    assert [tokens.chunk_id for tokens in context.visual] == [chunk.id]
    assert gone.status_code == 404
    [shown] = read(reply).of_class("readback")
    assert [tag.text for tag in shown.all("del")][:1] == ["s"]
    assert [tag.text for tag in shown.all("ins")][:1] == ["z"]
    assert f"1 of {len(chunk.text) - 1} wrong" in shown.text


async def test_an_engine_that_cannot_read_back_is_not_asked_to() -> None:
    served = Served()
    session = memory_of(served).session("s")
    session.add("user", TALK * 3)
    async with looking(served) as browser:
        assert "Read back" not in (await browser.get("/page/session?id=s&page=1")).text
        form = {"id": "s", "chunk": session.chunks()[0].id}
        reply = await browser.post("/page/session/readback", data=form, headers=OWN)
    assert reply.status_code == 404
    assert served.engine.contexts == []


async def test_documents_are_listed_shown_found_and_taken_out() -> None:
    served = Served()
    books = memory_of(served).collection("a/b")
    books.add_documents([TALK, "The blue valve is behind the boiler."])
    long, short = (document.id for document in books.documents())
    async with looking(served) as browser:
        [link] = read(await browser.get("/page/collections")).all("tbody")[0].all("a")
        page = read(await browser.get(link.attributes["href"]))
        assert len(page.all("tbody")[0].all("tr")) == 2
        found = read(await browser.get(link.attributes["href"] + "&q=valve"))
        assert len(found.all("tbody")[0].all("tr")) == 1
        shown = read(await browser.get(f"/page/document?name=a%2Fb&id={long}"))
        words = "".join(part.text for part in shown.of_class("text"))
        assert "".join(words.split()) == "".join(TALK.split())
        for image in shown.of_class("sketch"):
            assert (await browser.get(image.attributes["src"])).content[:4] == b"\x89PNG"
        for id, place in ((long, "/page/collection?"), (short, "/page/collections?")):
            form = {"name": "a/b", "id": id}
            reply = await browser.post("/page/document/delete", data=form, headers=OWN)
            assert reply.headers["location"].startswith(place)
    assert memory_of(served).collections() == []


@pytest.mark.parametrize("key", ["acme:read", "acme:write", "acme:admin", "other"])
async def test_each_key_sees_and_does_what_the_api_lets_it(key: str) -> None:
    served = Served()
    memory_of(served).session("s").add("user", "The code is 1234. " * 9)
    memory_of(served).collection("c").add_documents(["The code is 1234. " * 9])
    chunk = memory_of(served).session("s").chunks()[0].id
    document = memory_of(served).collection("c").documents()[0].id
    reading = [
        "/",
        "/page/session?id=s",
        "/page/session/export?id=s",
        f"/page/session/sketch?id=s&chunk={chunk}",
        "/page/collection?name=c",
        f"/page/document?name=c&id={document}",
    ]
    async with looking(served, key) as browser:
        seen = [await browser.get(path) for path in reading]
        form = {"id": "s", "name": "c"}
        deleted = await browser.post("/page/session/delete", data=form, headers=OWN)
        server = await browser.get("/page/server")
    expected = {"acme:read": {200}, "other": {200, 404}}.get(key, {403})
    assert {reply.status_code for reply in seen} == expected
    if key != "acme:read":
        assert not any("1234" in reply.text for reply in seen)
    assert deleted.status_code == (303 if key in ("acme:admin", "other") else 403)
    assert ("First token" in server.text) == (key in ("acme:admin", "other"))
    assert len(memory_of(served).sessions()) == (0 if key == "acme:admin" else 1)
    if key == "acme:read":
        assert "Delete" not in seen[1].text


async def test_health_and_figures_are_told_and_refreshed() -> None:
    served = Served(PlainEngine([Finished("Yes.", "stop", Usage(50, 10, 8, 20, 70, 3))]))
    memory_of(served).session("s").add("user", TALK * 3)
    async with looking(served) as browser:
        none = read(await browser.get("/page/live"))
        async with served.client() as client:
            await client.post("/v1/chat/completions", json=chat("q", "s"))
        page = read(await browser.get("/page/server"))
        [live] = [tag for tag in page.all("section") if "data-live" in tag.attributes]
        told = read(await browser.get(live.attributes["data-live"]))
        served.app.state.vist2.draining = True
        ending = read(await browser.get("/page/live"))
    assert _values(none)["First token"] == "–"
    assert _values(told) == _values(page)
    shown = _values(told)
    assert (shown["Status"], shown["Model"], shown["Store"]) == ("ready", "plain", "up")
    assert (shown["Visual tokens"], shown["Text tokens"], shown["Answers"]) == ("10", "20", "1")
    assert shown["Found cached"] == percent(1)
    assert shown["Compression"] == "5.0×"
    assert _values(ending)["Status"] == "ending"


async def test_a_store_that_is_away_is_told() -> None:
    store = FailingStore()
    served = Served(store=store)
    async with looking(served) as browser:
        memory_of(served).session("s").add("user", TALK)
        store.count = store.scopes = _away  # type: ignore[method-assign,assignment]
        server = await browser.get("/page/server")
        listed = await browser.get("/")
    assert "store unavailable" in read(server).all("dl")[0].text
    assert (listed.status_code, "retry-after" in listed.headers) == (503, True)
    assert read(listed).all("h1")[0].text == "Service Unavailable"


def _values(page: Tag) -> dict[str, str]:
    return {
        figure.all("dt")[0].text: figure.of_class("value")[0].text
        for figure in page.of_class("figure")
    }


def _away(*_: object) -> None:
    raise StoreUnavailableError("the store is away")


async def test_what_is_exported_can_be_taken_in(tmp_path: Path) -> None:
    served = Served()
    memory_of(served).session("s").add("user", TALK)
    async with looking(served) as browser:
        reply = await browser.get("/page/session/export?id=s")
        missing = await browser.get("/page/session/export?id=t")
    (tmp_path / "s.jsonl").write_text(reply.text)
    assert [message.text for message in read_export(tmp_path / "s.jsonl").messages] == [TALK]
    assert missing.status_code == 404
