"""``/v1/sessions`` and ``/v1/collections``: looked at, added to, moved and deleted."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.support.serving import Served, chat, events

TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "My cat is called Miso."},
    {"role": "assistant", "content": "Noted."},
]


async def test_what_was_said_elsewhere_is_added_whole_or_not_at_all() -> None:
    async with Served().client() as client:
        added = await client.post("/v1/sessions/s/messages", json={"messages": TALK})
        bad = [{"role": "user", "content": "Good."}, {"role": "user", "content": "\ud800"}]
        refused = await client.post(
            "/v1/sessions/s/messages", content=json.dumps({"messages": bad})
        )
        rows = (await client.get("/v1/sessions/s/messages")).json()
    assert added.json()["added"] == 3
    assert refused.status_code == 400
    assert [(row["role"], row["content"]) for row in rows["data"]] == [
        (message["role"], message["content"]) for message in TALK
    ]


async def test_a_message_with_an_id_is_added_once_and_equal_ones_without_each_time() -> None:
    said = [{"role": "user", "content": "Again."}]
    named = [{"role": "user", "content": "Once.", "id": "m1"}]
    async with Served().client() as client:
        for messages in (said, said, named, named):
            await client.post("/v1/sessions/s/messages", json={"messages": messages})
        rows = (await client.get("/v1/sessions/s/messages")).json()["data"]
    assert [row["content"] for row in rows] == ["Again.", "Again.", "Once."]
    assert rows[2]["id"] == "m1"


async def test_writers_at_the_same_time_lose_nothing() -> None:
    async with Served().client() as client:
        bodies = [{"messages": [{"role": "user", "content": f"Note {i}."}]} for i in range(8)]
        replies = await asyncio.gather(
            *(client.post("/v1/sessions/s/messages", json=body) for body in bodies)
        )
        rows = (await client.get("/v1/sessions/s/messages")).json()["data"]
    assert {reply.status_code for reply in replies} == {200}
    assert sorted(row["content"] for row in rows) == [f"Note {i}." for i in range(8)]


async def test_lists_come_in_pages() -> None:
    async with Served().client() as client:
        for name in ("b", "a", "c/d"):
            await client.post(f"/v1/sessions/{name}/messages", json={"messages": TALK})
        first = (await client.get("/v1/sessions", params={"limit": 2})).json()
        rest = (await client.get("/v1/sessions", params={"after": "b"})).json()
        page = (await client.get("/v1/sessions/a/messages?limit=1&offset=1")).json()
    assert [row["id"] for row in first["data"]] == ["a", "b"]
    assert first["has_more"] is True
    assert [(row["id"], row["messages"]) for row in rest["data"]] == [("c/d", 3)]
    assert rest["has_more"] is False
    assert [row["content"] for row in page["data"]] == [TALK[1]["content"]]
    assert page["has_more"] is True


async def test_a_fork_goes_its_own_way() -> None:
    async with Served().client() as client:
        await client.post("/v1/sessions/s/messages", json={"messages": TALK})
        forked = await client.post("/v1/sessions/s/fork", json={"id": "t"})
        taken = await client.post("/v1/sessions/s/fork", json={"id": "t"})
        none = await client.post("/v1/sessions/nothing/fork", json={"id": "u"})
        await client.post("/v1/chat/completions", json=chat("And?", "t"))
        rows = (await client.get("/v1/sessions/s/messages")).json()
    assert (forked.json()["id"], forked.json()["messages"]) == ("t", 3)
    assert (taken.status_code, none.status_code) == (409, 400)
    assert rows["total"] == 3


async def test_what_is_exported_can_be_imported() -> None:
    async with Served().client() as client:
        await client.post("/v1/sessions/s/messages", json={"messages": TALK})
        exported = await client.get("/v1/sessions/s/export")
        imported = await client.post("/v1/sessions/t/import", content=exported.content)
        again = await client.post("/v1/sessions/t/import", content=exported.content)
        rows = [(await client.get(f"/v1/sessions/{id}/messages")).json() for id in "st"]
        missing = await client.get("/v1/sessions/none/export")
    assert exported.headers["content-type"].startswith("application/x-ndjson")
    assert (imported.json()["new"], again.json()["new"]) == (3, 0)
    assert rows[0]["data"] == rows[1]["data"]
    assert missing.status_code == 404


@pytest.mark.parametrize("data", [b"", b"{", b'{"role": "user"}', b"\xff\xfe", b'[{"a": 1}]'])
async def test_what_is_no_session_is_refused_without_the_servers_paths(data: bytes) -> None:
    async with Served().client() as client:
        reply = await client.post("/v1/sessions/s/import", content=data)
        rows = (await client.get("/v1/sessions/s/messages")).json()
    assert reply.status_code == 400
    assert "/" not in reply.json()["error"]["message"]
    assert rows["total"] == 0


async def test_what_an_import_leaves_out_is_told_without_the_servers_paths() -> None:
    content = [{"type": "text", "text": "Look."}, {"type": "image_url", "image_url": {"url": "x"}}]
    line = json.dumps({"role": "user", "content": content})
    async with Served().client() as client:
        reply = await client.post("/v1/sessions/s/import", content=line)
    [warning] = reply.json()["warnings"]
    assert warning.startswith("line 1: ")
    assert "/" not in warning


async def test_deleting_leaves_nothing() -> None:
    served = Served()
    async with served.client() as client:
        await client.post("/v1/sessions/s/messages", json={"messages": TALK})
        deleted = (await client.delete("/v1/sessions/s")).json()
        listed = (await client.get("/v1/sessions")).json()
    assert (deleted["deleted"], deleted["messages"]) == (True, 3)
    assert listed["data"] == []


async def test_documents_are_added_once_listed_and_taken_out() -> None:
    texts = ["The ferry leaves at nine.", "Bees sleep in winter."]
    body = {"documents": [{"text": text, "metadata": {"n": 1}} for text in texts]}
    async with Served().client() as client:
        added = [(await client.post("/v1/collections/c/documents", json=body)).json() for _ in "ab"]
        found = (await client.get("/v1/collections/c/documents")).json()["data"]
        gone = await client.delete(f"/v1/collections/c/documents/{found[0]['id']}")
        unknown = await client.delete("/v1/collections/c/documents/none")
        left = (await client.get("/v1/collections/c/documents")).json()["data"]
        await client.delete("/v1/collections/c")
        listed = (await client.get("/v1/collections")).json()["data"]
    assert [reply["added"] for reply in added] == [2, 0]
    assert [(one["text"], one["metadata"]) for one in found] == [(t, {"n": 1}) for t in texts]
    assert (gone.status_code, unknown.status_code) == (200, 400)
    assert [one["text"] for one in left] == texts[1:]
    assert listed == []


async def test_files_are_documents_and_progress_is_told() -> None:
    files: list[Any] = [
        ("files", ("a.txt", b"The ferry leaves at nine.")),
        ("files", ("../b.md", b"Bees sleep in winter.")),
    ]
    async with Served().client(Accept="text/event-stream") as client:
        reply = await client.post("/v1/collections/c/files", files=files)
        found = (await client.get("/v1/collections/c/documents")).json()["data"]
        bad = await client.post("/v1/collections/c/files", files=[("files", ("x", b"\xff"))])
    *_, last = events(reply.text)
    assert last == {"object": "list", "added": 2, "given": 2}
    assert [one["metadata"]["source"] for one in found] == ["a.txt", "b.md"]
    assert bad.status_code == 400
    assert "x is no text in UTF-8" in bad.json()["error"]["message"]
