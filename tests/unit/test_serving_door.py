"""Who comes in to a server, to what, and how often."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.plain import PlainEngine
from tests.support.serving import Served, chat
from vist2_memory import InvalidInputError
from vist2_memory.serving.gate import BusyError, Gate
from vist2_memory.serving.keys import Key, KeyFile, Keyring, new_key, parse_keys, write_keys
from vist2_memory.serving.settings import check_host

URL = "/v1/chat/completions"


@pytest.mark.parametrize(
    "told",
    [None, "", "x", "vist2", "vist2-", "vist2-00000000-x", "vist2--", "\u00e9-\u00e9-\u00e9"],
)
async def test_without_a_key_there_is_no_entry(told: str | None) -> None:
    served = Served()
    async with served.client(None) as client:
        headers = {} if told is None else {"Authorization": f"Bearer {told}".encode()}
        for path in ("/v1/models", "/v1/sessions", "/metrics", "/openapi.json", "/nowhere"):
            reply = await client.get(path, headers=headers)
            assert reply.status_code == 401
            assert reply.json()["error"]["code"] == "invalid_api_key"
    assert served.engine.contexts == []


async def test_a_key_of_one_id_and_another_secret_is_none() -> None:
    served = Served()
    right, other = served.told["acme"].split("-", 2), served.told["other"].split("-", 2)
    async with served.client("-".join([*right[:2], other[2]])) as client:
        assert (await client.get("/v1/models")).status_code == 401


async def test_health_needs_no_key_and_says_what_is_wrong() -> None:
    served = Served()
    async with served.client(None) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).status_code == 200
        served.app.state.vist2.draining = True
        reply = await client.get("/readyz")
    assert (reply.status_code, reply.json()["status"]) == (503, "draining")


async def test_health_needs_no_key_below_a_path_of_its_own_either() -> None:
    transport = httpx.ASGITransport(Served().app, root_path="/memory")
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        assert (await client.get("/memory/healthz")).status_code == 200
        assert (await client.get("/memory/v1/sessions")).status_code == 401
        assert (await client.get("/elsewhere/healthz")).status_code == 401


@pytest.mark.parametrize(
    ("key", "allowed"),
    [("acme:read", {"look"}), ("acme:write", {"ask"}), ("acme:admin", {"delete", "figures"})],
)
async def test_a_key_has_the_rights_that_it_was_given(key: str, allowed: set[str]) -> None:
    served = Served()
    async with served.client(key) as client:
        replies = {
            "look": await client.get("/v1/sessions"),
            "ask": await client.post(URL, json=chat("q")),
            "delete": await client.delete("/v1/sessions/s"),
            "figures": await client.get("/metrics"),
        }
    assert {name for name, reply in replies.items() if reply.status_code == 200} == allowed
    assert {r.status_code for n, r in replies.items() if n not in allowed} == {403}


async def test_namespaces_never_meet() -> None:
    served = Served(PlainEngine(["Noted."]))
    async with served.client("acme") as client:
        await client.post(URL, json=chat("The code is 1234.", "s"))
        await client.post(
            "/v1/collections/c/documents", json={"documents": [{"text": "The code is 1234."}]}
        )
    async with served.client("other", **{"X-Namespace": "acme"}) as client:
        assert (await client.get("/v1/sessions")).json()["data"] == []
        assert (await client.get("/v1/collections")).json()["data"] == []
        assert (await client.get("/v1/sessions/s/messages")).json()["data"] == []
        assert (await client.get("/v1/sessions/s/export")).status_code == 404
        assert (await client.get("/v1/collections/c/documents")).json()["data"] == []
        await client.post(URL, json=chat("What is the code?", "s", include=["c"]))
        await client.delete("/v1/sessions/s")
    read = served.engine.contexts[-1]
    assert "1234" not in read.tail + "".join(chunk.text for chunk in read.sources)
    async with served.client("acme") as client:
        assert (await client.get("/v1/sessions/s/messages")).json()["total"] == 2


async def test_a_request_may_not_choose_its_namespace() -> None:
    served = Served()
    async with served.client() as client:
        reply = await client.post(URL, json=chat("q", namespace="other"))
    assert reply.status_code == 400


async def test_a_body_that_is_too_large_is_refused_however_it_is_told() -> None:
    served = Served(max_body_bytes=1000)

    async def pieces():  # type: ignore[no-untyped-def]
        for _ in range(20):
            yield b" " * 100

    async with served.client() as client:
        declared = await client.post(URL, json=chat("x" * 2000))
        streamed = await client.post(URL, content=pieces())
    assert [declared.status_code, streamed.status_code] == [413, 413]


async def test_rates_and_requests_at_once_are_bounded_for_each_key() -> None:
    gate = Gate(concurrency=1, queue=1)
    slow = Key("a", "0" * 64, "n", rate="2/minute")
    one = Key("b", "0" * 64, "n", concurrent=1)
    for _ in range(2):
        async with gate.request(slow):
            pass
    with pytest.raises(BusyError, match="more requests than 2/minute") as busy:
        async with gate.request(slow):
            pass
    assert 1 <= busy.value.retry_after <= 61
    async with gate.request(one):
        with pytest.raises(BusyError, match="has 1 requests in progress"):
            async with gate.request(one):
                pass
    async with gate.request(one):
        pass


async def test_logs_have_ids_and_routes_and_nothing_that_was_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    served = Served(PlainEngine(["Pomegranate answer."]))
    with caplog.at_level(logging.DEBUG):
        async with served.client() as client:
            reply = await client.post(
                URL, json=chat("Pomegranate?", "Pomegranate"), headers={"X-Request-Id": "r-1"}
            )
            await client.get("/v1/sessions/Pomegranate/messages")
            odd = await client.get("/healthz", headers={"X-Request-Id": "a b\\n"})
    assert reply.headers["x-request-id"] == "r-1"
    assert odd.headers["x-request-id"] != "a b\\n"
    lines = [vars(record) for record in caplog.records if record.name.startswith("vist2")]
    assert [line["route"] for line in lines] == [
        URL,
        "/v1/sessions/{id:path}/messages",
        "/healthz",
    ]
    assert "omegranate" not in repr([line | {"args": None} for line in lines])


def test_a_file_of_keys_is_read_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vist2_memory.serving.keys._LOOK_AGAIN_S", -1.0)
    path = tmp_path / "keys.json"
    (told, key), (later, another) = new_key("acme"), new_key("other")
    write_keys(path, [key])
    assert path.stat().st_mode & 0o777 == 0o600
    assert told.split("-", 2)[2] not in path.read_text()
    ring = KeyFile(path)
    assert (ring.find(told), ring.find(later)) == (key, None)
    write_keys(path, [another])
    assert (ring.find(told), ring.find(later)) == (None, another)
    path.write_text("{")
    assert ring.find(later) == another  # what is broken changes nothing


def _keys(**fields: Any) -> str:
    key = {"id": "a", "sha256": "0" * 64, "namespace": "n", **fields}
    return json.dumps({"keys": [key]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "holds no keys"),
        ('{"keys": [{"id": "a"}]}', "holds no keys"),
        (_keys(sha256="x"), "64 hexadecimal digits"),
        (_keys(namespace=""), "namespace"),
        (_keys(rights=["all"]), "rights"),
        (_keys(rate="often"), "rate"),
        (_keys(concurrent=0), "concurrent=0"),
    ],
)
def test_keys_that_are_none_are_told(text: str, said: str) -> None:
    with pytest.raises(InvalidInputError) as told:
        parse_keys(text, "keys.json")
    assert said in str(told.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "example.com", "::"])
def test_a_server_without_keys_listens_on_this_machine_alone(host: str) -> None:
    with pytest.raises(InvalidInputError, match="vist2 key create"):
        check_host(host, None)
    check_host(host, Keyring([new_key("n")[1]]))
    for own in ("127.0.0.1", "localhost", "::1"):
        check_host(own, None)
