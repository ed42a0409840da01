"""Who may look at the memory page, from where, and what its cookie opens."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import replace

import pytest

from tests.support.pages import OWN, looking, memory_of, read
from tests.support.serving import Served, chat
from vist2_memory import InvalidInputError
from vist2_memory.serving.app import create_app
from vist2_memory.serving.keys import Keyring, new_key
from vist2_memory.serving.page import cookies
from vist2_memory.serving.page.cookies import NAME, Seal, find_secret
from vist2_memory.serving.settings import ServerSettings

PAGES = [
    "/",
    "/page/session?id=s",
    "/page/session/sketch?id=s&chunk=c",
    "/page/session/export?id=s",
    "/page/session/delete?id=s",
    "/page/collections",
    "/page/collection?name=c",
    "/page/document?name=c&id=d",
    "/page/server",
    "/page/live",
]
FORMS = [
    "/page/session/readback",
    "/page/session/delete",
    "/page/collection/delete",
    "/page/document/readback",
    "/page/document/delete",
]


@pytest.mark.parametrize("path", PAGES)
async def test_without_a_key_every_page_asks_for_one(path: str) -> None:
    served = Served()
    memory_of(served).session("s").add("user", "The code is 1234.")
    async with served.client(None) as browser:
        reply = await browser.get(path)
        assert (reply.status_code, reply.text) == (303, "")
        asked = await browser.get(reply.headers["location"])
        bearing = {"Authorization": f"Bearer {served.told['acme']}"}
        assert (await browser.get(path, headers=bearing)).status_code == 303
    assert asked.status_code == 200
    assert read(asked).all("input", name="key", type="password")


@pytest.mark.parametrize("path", FORMS)
async def test_without_a_key_no_form_is_taken(path: str) -> None:
    served = Served()
    memory_of(served).session("s").add("user", "The code is 1234.")
    async with served.client(None) as browser:
        form = {"id": "s", "name": "c", "chunk": "x"}
        assert (await browser.post(path, data=form, headers=OWN)).status_code == 401
    assert len(memory_of(served).session("s").messages()) == 1


async def test_a_key_is_taken_by_a_form_and_a_cookie_given_that_is_none() -> None:
    served = Served()
    async with served.client(None) as browser:
        wrong = await browser.post("/page/sign-in", data={"key": "vist2-a-b"}, headers=OWN)
        form = {"key": f" {served.told['acme']} ", "next": "/page/server"}
        right = await browser.post("/page/sign-in", data=form, headers=OWN)
    assert wrong.status_code == 401
    assert "set-cookie" not in wrong.headers
    assert read(wrong).all("p", role="alert")
    assert right.headers["location"] == "/page/server"
    cookie = right.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=strict", "Path=/", f"Max-Age={cookies.LIFE_S}"):
        assert part in cookie
    assert "Secure" not in cookie  # this was plain http
    assert served.told["acme"].split("-", 2)[2] not in cookie
    assert served.keys[0].sha256 not in cookie


async def test_the_cookie_is_for_https_alone_where_there_is_https() -> None:
    served = Served()
    async with served.client(None) as browser:
        browser.base_url = "https://server"  # type: ignore[assignment]
        form, own = {"key": served.told["acme"]}, {"Origin": "https://server"}
        reply = await browser.post("/page/sign-in", data=form, headers=own)
    assert "; Secure" in reply.headers["set-cookie"]


async def test_the_cookie_opens_nothing_but_the_page() -> None:
    served = Served()
    async with looking(served) as browser:
        assert (await browser.get("/")).status_code == 200
        for path in ("/v1/sessions", "/v1/models", "/metrics", "/openapi.json"):
            assert (await browser.get(path)).status_code == 401
        assert (await browser.post("/v1/chat/completions", json=chat("q"))).status_code == 401
        bearing = {"Authorization": f"Bearer {browser.cookies[NAME]}"}
        assert (await browser.get("/v1/sessions", headers=bearing)).status_code == 401


async def test_who_signs_out_is_out() -> None:
    served = Served()
    async with looking(served) as browser:
        reply = await browser.post("/page/sign-out", headers=OWN, content=b"")
        assert reply.headers["location"] == "/page/sign-in"
        assert (await browser.get("/")).status_code == 303
        assert (await browser.get("/page/live", headers={"X-Fragment": "1"})).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://server:81"},
        {"Sec-Fetch-Site": "cross-site", **OWN},
        {"Sec-Fetch-Site": "same-site", **OWN},
        {"Sec-Fetch-Site": "none", **OWN},
    ],
)
async def test_what_another_site_sends_changes_nothing(headers: dict[str, str]) -> None:
    served = Served()
    memory_of(served).session("s").add("user", "Stay.")
    async with looking(served) as browser:
        for path in ("/page/session/delete", "/page/sign-in", "/page/sign-out"):
            form = {"id": "s", "key": served.told["other"]}
            reply = await browser.post(path, data=form, headers=headers)
            assert reply.status_code == 403
        assert (await browser.get("/")).status_code == 200
    assert len(memory_of(served).session("s").messages()) == 1


async def test_without_keys_other_sites_change_nothing_either() -> None:
    served = Served()
    app = create_app(served.tenants, ServerSettings())
    memory_of(served, "default").session("s").add("user", "Stay.")
    served.app = app
    async with served.client(None) as browser:
        browser.base_url = "http://127.0.0.1:8000"  # type: ignore[assignment]
        form, path = {"id": "s"}, "/page/session/delete"
        foreign = await browser.post(path, data=form, headers={"Origin": "http://evil.example"})
        for address in ("/", "/v1/sessions"):  # a name of another site that leads here
            rebound = await browser.get(address, headers={"Host": "evil.example"})
            assert (rebound.status_code, "Stay" in rebound.text) == (421, False)
        assert (await browser.get("/")).status_code == 200
        assert foreign.status_code == 403
        own = {"Origin": "http://127.0.0.1:8000"}
        assert (await browser.post(path, data=form, headers=own)).status_code == 303
    assert memory_of(served, "default").sessions() == []


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/\\evil", "/v1/x"])
async def test_nobody_is_sent_elsewhere_after_signing_in(wanted: str) -> None:
    served = Served()
    async with served.client(None) as browser:
        form = {"key": served.told["acme"], "next": wanted}
        reply = await browser.post("/page/sign-in", data=form, headers=OWN)
        again = await browser.get("/page/sign-in", params={"next": wanted})
    assert reply.headers["location"] == again.headers["location"] == "/"


async def test_a_form_without_an_end_is_refused() -> None:
    async with Served().client(None) as browser:
        large = await browser.post("/page/sign-in", data={"key": "x" * 20_000}, headers=OWN)

        async def pieces():  # type: ignore[no-untyped-def]
            yield b"key=x"

        endless = await browser.post("/page/sign-in", content=pieces(), headers=OWN)
    assert [large.status_code, endless.status_code] == [413, 413]


@pytest.mark.parametrize("path", ["/", "/page/sign-in", "/page/session?id=nope", "/page/server"])
async def test_every_page_is_guarded_by_headers(path: str) -> None:
    async with looking(Served()) as browser:
        headers = (await browser.get(path)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "no-store" in headers["cache-control"]


async def test_pages_have_no_script_or_style_of_their_own() -> None:
    async with looking(Served()) as browser:
        page = read(await browser.get("/page/server"))
        [script] = page.all("script")
        [style] = page.all("link", rel="stylesheet")
        for address in (script.attributes["src"], style.attributes["href"]):
            reply = await browser.get(address)
            assert reply.status_code == 200
            assert "immutable" in reply.headers["cache-control"]
        assert (await browser.get("/page/static/..%2Fserver.py")).status_code == 404
    assert script.text == ""
    assert not page.all("style")
    assert not [tag for tag in page.all("div") if "style" in tag.attributes]


async def test_requests_of_the_page_count_among_those_of_the_key() -> None:
    served = Served()
    served.told["slow"], key = new_key("acme")
    ring = Keyring([replace(key, rate="2/minute")])
    served.app = create_app(served.tenants, ServerSettings(ring))
    async with looking(served, "slow") as browser:
        replies = [await browser.get("/") for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert int(replies[2].headers["retry-after"]) >= 1
    assert "more requests" in read(replies[2]).of_class("said")[0].text


async def test_no_key_and_no_name_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    served = Served()
    memory_of(served).session("Pomegranate").add("user", "Pomegranate.")
    with caplog.at_level(logging.DEBUG):
        async with looking(served) as browser:
            await browser.get("/page/session?id=Pomegranate")
            cookie = browser.cookies[NAME]
    lines = repr([vars(r) | {"args": None} for r in caplog.records if r.name[:5] == "vist2"])
    assert "/page/session" in lines
    for secret in ("omegranate", served.told["acme"], cookie):
        assert secret not in lines


def test_a_cookie_ends_with_its_time_its_key_and_its_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (_, key), (_, other) = new_key("acme"), new_key("other")
    seal, keys = Seal(b"s" * 32), Keyring([key, other])
    cookie = seal.cookie(key)
    assert seal.key(cookie, keys) == key
    assert Seal(b"t" * 32).key(cookie, keys) is None
    assert seal.key(cookie, Keyring([other])) is None
    assert seal.key(cookie.replace(key.id, other.id), keys) is None
    later = re.sub(r"\.(\d+)\.", lambda found: f".{int(found[1]) + 1}.", cookie)
    assert seal.key(later, keys) is None
    for odd in ("", ".", "..", "a.b.c", "\u00e9.1.\u00e9", f"{key.id}.x.y"):
        assert seal.key(odd, keys) is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + cookies.LIFE_S + 1)
    assert seal.key(cookie, keys) is None


def test_the_secret_may_be_given_and_must_be_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cookies.SECRET, raising=False)
    assert find_secret() != find_secret()
    monkeypatch.setenv(cookies.SECRET, "x" * 40)
    assert find_secret() == b"x" * 40
    monkeypatch.setenv(cookies.SECRET, "x" * 4)
    with pytest.raises(InvalidInputError, match="VIST2_PAGE_SECRET has 4 bytes"):
        find_secret()
