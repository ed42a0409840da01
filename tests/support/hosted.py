"""A server on this machine that speaks as OpenAI's chat completions do, and keeps what it heard."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

from vist2_memory import VisualMemory
from vist2_memory.engine.pages import PageEngine
from vist2_memory.engine.providers import Provider, openai_tiles
from vist2_memory.sketch.page import PageGeometry

DATA_URI = "data:image/png;base64,"
SMALL = Provider(
    "small", PageGeometry(width=256, height=256, multiple=32), openai_tiles, max_pages=100
)
"""Pages so small that a short talk fills some."""
CODE = "AB-1234-X9"


def talk(turns: int) -> list[tuple[str, str]]:
    """A talk whose first message names a code."""
    lines = [("user", f"My ticket is {CODE}."), ("assistant", "I will keep that.")]
    for turn in range(turns):
        lines.append(("user", f"On the day numbered {turn} we walked along the old harbour again."))
        lines.append(("assistant", "And the ferry was late, you said, and the bees were asleep."))
    return lines


def small(store: str = "memory://", keep_recent: int = 30) -> VisualMemory:
    return VisualMemory.open(store, model=PageEngine(SMALL, keep_recent=keep_recent))


class HostedModel:
    """What was posted to it, oldest first; answers ``answer``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answer = "Noted."
        self.requests: list[dict[str, Any]] = []

    @property
    def heard(self) -> list[dict[str, Any]]:
        """The messages of the newest request."""
        messages: list[dict[str, Any]] = self.requests[-1]["messages"]
        return messages


@contextmanager
def hosted_model() -> Iterator[HostedModel]:
    """A hosted model that runs in a thread until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = json.loads(body)
            model.requests.append(request)
            if request.get("stream"):
                kind, reply = "text/event-stream", _events(model.answer)
            else:
                kind, reply = "application/json", json.dumps(_completion(model.answer)).encode()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    model = HostedModel(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def pngs(messages: list[dict[str, Any]]) -> list[bytes]:
    """The images of some messages on the wire, in order."""
    blocks = [b for m in messages if isinstance(m["content"], list) for b in m["content"]]
    urls = [b["image_url"]["url"] for b in blocks if b["type"] == "image_url"]
    assert all(url.startswith(DATA_URI) for url in urls)
    return [base64.b64decode(url.removeprefix(DATA_URI), validate=True) for url in urls]


def opened(png: bytes) -> Image.Image:
    """The image, decoded to its last byte."""
    image = Image.open(io.BytesIO(png))
    image.load()
    assert image.format == "PNG"
    return image


def _completion(text: str) -> Mapping[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    head = {"id": "1", "object": "chat.completion", "created": 0, "model": "hosted"}
    return {**head, "choices": [choice], "usage": usage}


def _events(text: str) -> bytes:
    head = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "hosted"}
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word} for word in text.split(" ")]
    chunks = [{**head, "choices": [{"index": 0, "delta": d}]} for d in deltas]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join([*lines, "data: [DONE]\n\n"]).encode()
