"""Requests of those who want what is another tenant's, made up from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tests.support.guarded import DOCUMENT, KNOWN, LIMIT, Asked
from vist2_memory.text.chunking import chunk_id

JSON = (b"content-type", b"application/json")
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
