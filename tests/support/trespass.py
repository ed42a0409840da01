"""Requests of those who want what is another tenant's, made up from a seed; and what to guard.

They come to the application as a server hands them on: raw paths, headers and bodies, which no
client library has tidied up.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

from tests.support.plain import PlainEngine
from tests.support.serving import Served
from vist2_memory.text.chunking import chunk_id
from vist2_memory.types import Context, Finished, GenerationParams

SECRET = "canary"
"""In every text that is guarded, and in nothing that trespassers send."""
KNOWN = ("payroll", "u/1", "böard", "a..b", "a b")
"""Sessions and collections of the owner whose names trespassers know."""
DOCUMENT = f"The {SECRET} code of the vault is 4711."

JSON = (b"content-type", b"application/json")
LIMIT = 20_000
TOOLS: tuple[Any, ...] = (
    {},
    *(
        {"type": "function", "function": function}
        for function in (
            {"name": "\ud800"},
            {"name": "f", "description": 1},
            {"name": "f", "parameters": [1]},
            {"name": "f", "parameters": {"type": "object", "properties": {"\ud800": {}}}},
            {"name": "f", "parameters": {"$ref": "#"}},
            {"name": "f", "parameters": {"type": "object"}},
        )
    ),
)


class TellingEngine(PlainEngine):
    """Answers with all that it was given to read, so that what it knows comes out."""

    def generate(self, context: Context, params: GenerationParams) -> Any:
        read = "".join(chunk.text for chunk in context.sources)
        yield Finished(f"I read: {context.pinned} {read} {context.tail}", "stop")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it comes over the wire."""

    who: str
    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(self.target.partition(b"?")[0].decode("ascii"))


@dataclass(frozen=True, slots=True)
class Told:
    """What came back."""

    status: int
    text: bytes
    """Headers and body."""


async def ask(served: Served, asked: Asked) -> Told:
    """Hand a request to the application, as a server would."""
    raw, _, query = asked.target.partition(b"?")
    pieces = [asked.body[:7], asked.body[7:]]
    messages = [
        {"type": "http.request", "body": piece, "more_body": piece is not pieces[-1]}
        for piece in pieces
    ]
    told: list[Mapping[str, Any]] = []

    ended = asyncio.Event()

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        told.append(message)

    scope = {
        **{"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "scheme": "http"},
        **{"http_version": "1.1", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1)},
        **{"method": asked.method, "path": asked.path, "raw_path": raw, "root_path": ""},
        **{"query_string": query, "headers": list(asked.headers)},
    }
    await served.app(scope, receive, send)
    ended.set()
    start, *rest = told
    headers = b"\n".join(b": ".join(pair) for pair in start["headers"])
    return Told(start["status"], headers + b"".join(part.get("body", b"") for part in rest))


async def plant(served: Served) -> None:
    """Give the owner sessions, documents and visual tokens to guard."""
    talk = [
        {"role": "system", "content": f"Keep the {SECRET}.", "id": f"{SECRET}-0"},
        {"role": "user", "content": f"The {SECRET} is in the vault. " * 9, "id": f"{SECRET}-1"},
    ]
    async with served.client() as client:
        for name in (*KNOWN, f"{SECRET}/session"):
            place = f"/v1/sessions/{quote(name, safe='')}"
            done = await client.post(f"{place}/messages", json={"messages": talk})
            assert done.status_code == 200
            body = {"documents": [{"text": DOCUMENT, "metadata": {"of": f"{SECRET} {name}"}}]}
            place = f"/v1/collections/{quote(name, safe='')}"
            assert (await client.post(f"{place}/documents", json=body)).status_code == 200
        asked = {"messages": [{"role": "user", "content": f"What is the {SECRET}?"}]}
        known = {"Idempotency-Key": "known"}
        done = await client.post(
            "/v1/chat/completions", json={**asked, "session_id": "payroll"}, headers=known
        )
        assert SECRET in done.json()["choices"][0]["message"]["content"]


async def snapshot(served: Served) -> list[Any]:
    """All that the owner has."""
    found = []
    async with served.client() as client:
        for kind, parts in (("sessions", ("messages", "export")), ("collections", ("documents",))):
            rows = (await client.get(f"/v1/{kind}")).json()["data"]
            for name in [row["id"] for row in rows]:
                place = f"/v1/{kind}/{quote(name, safe='')}"
                found += [name, *[(await client.get(f"{place}/{part}")).text for part in parts]]
    return found


class Trespassers:
    """Makes up requests. ``keys``: of those who have one, by what they are called here."""

    def __init__(self, seed: int, keys: Mapping[str, str], owners: str) -> None:
        """``owners``: the key of which wrong ones are made."""
        self._rng = random.Random(seed)
        self._keys, self._owners = keys, owners

    def next(self) -> Asked:
        """One more."""
        rng = self._rng
        who = rng.choice([*self._keys, next(iter(self._keys)), "nobody"])
        makes = [self._chat, self._session, self._collection, self._engine, self._elsewhere]
        [make] = rng.choices(makes, weights=[2, 2, 1, 1, 1])
        method, target, body = make()
        if rng.random() < 0.05:
            method = rng.choice(["GET", "HEAD", "PUT", "PATCH", "OPTIONS", "TRACE", "DELETE"])
        raw = self._raw(body)
        headers = [*self._credentials(who), *self._tricks(raw)]
        rng.shuffle(headers)
        wire = self._bent(target).encode("ascii", "ignore") or b"/"
        if b"?" in wire and rng.random() < 0.2:
            wire += b"&\xff=\xfe"
        return Asked(who, method, wire, tuple(headers), raw)

    def _name(self) -> str:
        """A name of the owner's, or nearly."""
        rng, name = self._rng, self._rng.choice(KNOWN)
        bends: Sequence[Callable[[], str]] = (
            lambda: name,
            lambda: name,
            lambda: f"../acme/{name}",
            lambda: f"acme:{name}",
            lambda: f"acme/session/{name}",
            lambda: f"{name}\x00",
            lambda: f"{name}/messages",
            lambda: name.replace("a", "\u0430"),  # Cyrillic
            lambda: name.upper(),
            lambda: name + "\u200b",
            lambda: quote(name, safe=""),
            lambda: quote(quote(name, safe=""), safe=""),
            lambda: "*",
            lambda: "{" + name + "}",
            lambda: name * rng.choice([40, 400]),
            lambda: "\ud800" + name,
            lambda: "",
        )
        return rng.choice(bends)()

    def _quoted(self, name: str) -> str:
        safe = self._rng.choice(["", "/", "/."])
        return quote(name.encode("utf-8", "surrogatepass"), safe=safe)

    def _chat(self) -> tuple[str, str, Any]:
        rng = self._rng
        said: Any = rng.choice(
            ["What is the code?", "", "\ud800", ["x"], None, "q" * 300, {"a": 1}]
        )
        body: dict[str, Any] = {
            "messages": [{"role": rng.choice(["user", "tool"]), "content": said}]
        }
        more: dict[str, Any] = {
            "session_id": self._name(),
            "include": [self._name()],
            "pins": [chunk_id(DOCUMENT), f"{self._name()}"],
            "on_conflict": "fork",
            "stream": rng.random() < 0.5,
            "namespace": "acme",
            "temperature": rng.choice([0, float("nan"), -1, "hot", 1e400]),
            "max_tokens": rng.choice([1, 0, 2**70, None]),
            "tools": [rng.choice(TOOLS)],
            "stop": rng.choice(["", ["\ud800"], ["a"] * 9]),
            "metadata": {"namespace": "acme"},
            "model": rng.choice(["plain", self._name()]),
            "seed": rng.choice([1, 2**64, -(2**63)]),
            "response_format": rng.choice([{"type": "json_schema"}, {"type": "text"}, []]),
            "budget": rng.choice([1, 10**30]),
            "user": "acme",
        }
        some = rng.sample(sorted(more), rng.randint(0, 4)) if rng.random() < 0.7 else ["session_id"]
        body |= {name: more[name] for name in some}
        return "POST", "/v1/chat/completions", body

    def _session(self) -> tuple[str, str, Any]:
        rng, name = self._rng, self._quoted(self._name())
        place = f"/v1/sessions/{name}"
        message = rng.choice([{"role": "user", "content": "Mine."}, {"role": "user"}, {}, [], 1])
        odd = {"role": "user", "content": "x", "time": rng.choice([float("nan"), 10**400, "now"])}
        export = {"format": "vist2-session", "version": rng.choice([1, 2, 99])}
        export |= {"session": rng.choice([*KNOWN, "../../acme"])}
        tensors = {
            "file": "../../../etc/passwd",
            "fingerprint": "plain-1",
            "scope": "acme:s:payroll",
        }
        header = export | rng.choice([{}, {"tensors": tensors}, {"namespace": "acme"}])
        lines = [json.dumps(row).encode() for row in (header, message, odd)]
        return rng.choice(
            [
                ("GET", "/v1/sessions?limit=1000&namespace=acme&after=" + name, b""),
                ("GET", f"/v1/sessions?limit={rng.choice(['0', 'x', '9' * 40])}", b""),
                ("GET", f"{place}/messages?limit=10&offset={rng.choice([0, -1, 10**30])}", b""),
                ("GET", f"{place}/export", b""),
                ("POST", f"{place}/messages", {"messages": [message]}),
                ("POST", f"{place}/messages", {"messages": [odd]}),
                ("POST", f"{place}/messages", {"messages": [{**odd, "id": "payroll", "time": 1}]}),
                ("POST", f"{place}/fork", {"id": self._name(), "at": rng.choice([None, "x", 1])}),
                ("POST", f"{place}/import", b"\n".join(rng.sample(lines, rng.randint(0, 3)))),
                ("DELETE", place, b""),
            ]
        )

    def _collection(self) -> tuple[str, str, Any]:
        rng, name = self._rng, self._quoted(self._name())
        place = f"/v1/collections/{name}"
        odd: Any = rng.choice([{}, {"of": float("inf")}, {"of": "\ud800"}, {"a": [[[]]]}, []])
        text = rng.choice(["Mine.", "", "\ud800", "\x00", 1])
        form = b'--b\r\nContent-Disposition: form-data; name="files"; filename="../x"\r\n\r\n'
        return rng.choice(
            [
                ("GET", "/v1/collections?after=" + name, b""),
                ("GET", f"{place}/documents", b""),
                ("POST", f"{place}/documents", {"documents": [{"text": text, "metadata": odd}]}),
                ("POST", f"{place}/files", form + b"\xffMine.\r\n--b--\r\n"),
                ("DELETE", f"{place}/documents/{chunk_id(DOCUMENT)}", b""),
                ("DELETE", place, b""),
            ]
        )

    def _engine(self) -> tuple[str, str, Any]:
        rng = self._rng
        text = rng.choice(["Mine.", "", "\ud800", "\ue000"])
        return rng.choice(
            [
                ("GET", "/v1/engine", b""),
                ("POST", "/v1/engine/missing", {"ids": [chunk_id(DOCUMENT), self._name()]}),
                ("POST", "/v1/engine/encode", {"chunks": [{"text": text, "tokens": 3}]}),
                ("POST", "/v1/engine/check", {"max_tokens": rng.choice([1, "x", 10**30])}),
                ("POST", "/v1/engine/generate", rng.choice([b"", b"\x00" * 40, {"context": {}}])),
            ]
        )

    def _elsewhere(self) -> tuple[str, str, Any]:
        name = self._quoted(self._name())
        return (
            "GET",
            self._rng.choice(
                [
                    *(
                        "/metrics",
                        "/openapi.json",
                        "/docs",
                        "/v1",
                        "//v1/sessions",
                        "/v1/sessions/",
                    ),
                    *(
                        "/healthz/../v1/sessions",
                        "/healthz%2f..%2fv1/sessions",
                        "/healthz;/v1/sessions",
                    ),
                    *("/./v1/sessions", "/V1/sessions", "/v1//sessions", "/v1/sessions%00"),
                    *("/healthz?x=%ff", "/readyz", "/favicon.ico", "/static/../../keys.json"),
                    *(
                        f"/v1/models/{name}",
                        f"/v1/../v1/sessions/{name}/export",
                        "/%2e%2e/etc/passwd",
                    ),
                ]
            ),
            b"",
        )

    def _raw(self, body: Any) -> bytes:
        """``body`` as bytes, at times broken."""
        rng = self._rng
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        if raw and rng.random() < 0.1:
            raw = rng.choice(
                [
                    raw[: rng.randint(0, len(raw))],
                    raw + b"}",
                    b"\xff\xfe" + raw,
                    b"[" * 5000,
                    raw + b" " * LIMIT,
                    b"null",
                    b'{"a": 1e999}',
                ]
            )
        return raw

    def _credentials(self, who: str) -> list[tuple[bytes, bytes]]:
        rng = self._rng
        if who != "nobody":
            return [(b"authorization", f"Bearer {self._keys[who]}".encode())]
        right = self._owners
        wrong = rng.choice(
            [
                *("", "Bearer", "Bearer ", "Bearer vist2-", "Basic YWNtZTo=", "Bearer null"),
                *(f"Bearer {right[:-1]}", f"Bearer {right}x", f"Basic {right}", f"{right}"),
                *(f"Bearer {right[::-1]}", f"Bearer {right.upper()}", "Bearer " + "a" * 5000),
            ]
        )
        given = [(b"authorization", wrong.encode())] if wrong else []
        asides = (
            (b"x-api-key", right),
            (b"cookie", f"key={right}"),
            (b"proxy-authorization", right),
        )
        return given + [(name, value.encode()) for name, value in rng.sample(asides, 1)]

    def _tricks(self, raw: bytes) -> list[tuple[bytes, bytes]]:
        rng = self._rng
        kinds = (
            b"text/plain",
            b"multipart/form-data; boundary=b",
            b"",
            b"application/json; charset=x",
        )
        found = [rng.choice([JSON, JSON, JSON, (b"content-type", rng.choice(kinds))])]
        if b"form-data" in raw:
            found = [(b"content-type", kinds[1])]
        tricks = [
            (b"host", rng.choice([b"acme", b"x/healthz?", b"x/healthz#", b"@", b"[", b"\xff"])),
            (b"content-length", rng.choice([b"-1", b"x", b"999999999999", b"1", b"\xb2"])),
            (b"x-session-id", self._name().encode("utf-8", "surrogatepass")[:200]),
            (b"x-session-id", b"payroll"),
            (b"idempotency-key", rng.choice([b"known", b"\xff", b"k" * 5000])),
            (b"x-forwarded-for", b"127.0.0.1"),
            (b"x-forwarded-host", b"acme"),
            (b"x-forwarded-prefix", b"/healthz"),
            (b"x-original-url", b"/healthz"),
            (b"x-rewrite-url", b"/healthz"),
            (b"x-namespace", b"acme"),
            (b"x-http-method-override", b"DELETE"),
            (b"x-request-id", rng.choice([b"a\nb", b"\xff", b"r" * 999])),
            (b"accept", b"text/event-stream"),
            (b"accept-encoding", b"gzip"),
            (b"expect", b"100-continue"),
            (b"transfer-encoding", b"chunked"),
            (b"origin", b"http://evil.example"),
        ]
        return found + rng.sample(tricks, rng.randint(0, 3))

    def _bent(self, target: str) -> str:
        """``target``, at times in other words."""
        rng = self._rng
        if rng.random() > 0.15:
            return target
        return rng.choice(
            [
                target.replace("/", "//", 1),
                target.replace("/v1/", "/v1/./"),
                target.replace("/v1/", "/v1/x/../"),
                target.replace("/", "%2f"),
                target + "/",
                target + "%00",
                target + "?%ff=\\",
                target + "#/healthz",
                "/healthz/.." + target,
                "http://acme" + target,
                target.upper(),
                target.replace("s", "%73"),
            ]
        )


def sent(asked: Asked) -> bytes:
    """All that a trespasser said, in plain bytes."""
    headers = b"\n".join(b": ".join(pair) for pair in asked.headers)
    return unquote_to_bytes(asked.target) + headers + asked.body
