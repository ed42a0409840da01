"""Pictures of the memory page, for docs/images: a server with a week of conversation, looked at.

pip install -e '.[dev]'; apt-get install chromium   # Inter, if it is there, is the page's font
python docs/screenshots.py [FOLDER]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 375, "height": 812}
HANDBOOK = {
    "heating.txt": (
        "The blue valve is behind the boiler in the cellar. Turn it a quarter to the left before "
        "the filter is taken out, and wait until the gauge shows less than one bar. The filter is "
        "washed twice a year, in March and in October, with warm water and no soap. "
    ),
    "keys.txt": (
        "The key to the garden gate hangs beside the kitchen door, the one to the shed lies in the "
        "drawer below it. Mrs Okafor at number 12 has a second set of both, and waters the plants "
        "when nobody is at home. "
    ),
}


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, str]]:
    """A server with the bundled model; its address, and a key that may do all."""
    vist2 = [sys.executable, "-m", "vist2_memory.cli"]
    keys = ["--keys", str(folder / "keys.json")]
    rights = ["--namespace", "home", "--rights", "read,write,admin", "--json"]
    made = subprocess.run(
        [*vist2, "key", "create", *keys, *rights], capture_output=True, check=True
    )
    with socket.create_server(("127.0.0.1", 0)) as free:  # free now, and likely in a moment
        port = free.getsockname()[1]
    store = ["--store", f"sqlite:///{folder / 'memory.db'}", "--port", str(port)]
    environment = {**os.environ, "VIST2_OUTBOX": str(folder / "outbox.db")}
    process = subprocess.Popen(
        [*vist2, "serve", *store, *keys, "--log-level", "warning"], env=environment
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            time.sleep(0.1)
            try:
                if httpx.get(f"{address}/readyz").is_success:
                    break
            except httpx.TransportError:
                continue
        yield address, json.loads(made.stdout)["key"]
    finally:
        process.terminate()
        process.wait(30)


def fill(address: str, key: str) -> None:
    """Sessions and documents to look at."""
    text = (resources.files("vist2_memory") / "assets" / "demo.json").read_text("utf-8")
    script: dict[str, Any] = json.loads(text)
    said = [message for day in script["days"] for message in day["messages"]]
    with httpx.Client(base_url=address, timeout=120) as http:
        http.headers["Authorization"] = f"Bearer {key}"

        def add(session: str, messages: list[dict[str, Any]]) -> None:
            body = {"messages": [{"role": m["role"], "content": m["content"]} for m in messages]}
            http.post(f"/v1/sessions/{session}/messages", json=body).raise_for_status()

        texts = [{"text": t * 3, "metadata": {"source": s}} for s, t in HANDBOOK.items()]
        http.post(
            "/v1/collections/handbook/documents", json={"documents": texts}
        ).raise_for_status()
        for name, count in (("anna/recipes", 6), ("support-1042", 14), ("trip to Lisbon", 22)):
            add(name, said[:count])
        add("week", [{"role": "system", "content": "You are a kind and brief assistant."}, *said])
        for question in ("Where is the blue valve?", "What is my cat called?"):
            body = {"messages": [{"role": "user", "content": question}], "max_tokens": 40}
            more = {"session_id": "week", "include": ["handbook"]}
            http.post("/v1/chat/completions", json={**body, **more}).raise_for_status()


def shoot(browser: Browser, address: str, key: str, folder: Path) -> None:
    """All pictures."""
    for scheme in ("light", "dark"):
        page = browser.new_page(viewport=DESKTOP, color_scheme=scheme, device_scale_factor=1.5)
        sign_in(page, address, key)
        keep(page, folder / f"sessions-{scheme}.png")
        page.goto(f"{address}/page/session?id=week&page=2")
        for button in page.get_by_role("button", name="Read back").all()[:3]:
            button.click()
        page.locator(".readback").nth(2).wait_for(timeout=60_000)
        page.evaluate("scrollTo(0, 0)")
        keep(page, folder / f"session-{scheme}.png")
        page.evaluate("document.querySelector('#timeline').scrollIntoView()")
        keep(page, folder / f"timeline-{scheme}.png")
        page.goto(f"{address}/page/server")
        page.wait_for_selector("[data-state=live]")
        keep(page, folder / f"server-{scheme}.png")
        page.close()
    for scheme in ("light", "dark"):
        page = browser.new_page(viewport=PHONE, color_scheme=scheme, device_scale_factor=2)
        sign_in(page, address, key)
        page.goto(f"{address}/page/session?id=week&page=2")
        keep(page, folder / f"phone-{scheme}.png")
        chunk = page.locator(".chunk").nth(1)
        chunk.get_by_role("button", name="Read back").click()
        chunk.locator(".readback").wait_for(timeout=60_000)
        page.evaluate("document.querySelectorAll('.chunk')[1].scrollIntoView()")
        keep(page, folder / f"phone-timeline-{scheme}.png")
        page.close()


def sign_in(page: Page, address: str, key: str) -> None:
    page.goto(address)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Sessions").wait_for()


def keep(page: Page, path: Path) -> None:
    """What is on the screen, in 256 colours."""
    page.wait_for_load_state("networkidle")
    with Image.open(io.BytesIO(page.screenshot())) as image:
        image.convert("RGB").quantize(256).save(path, optimize=True)


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "images")
    folder: Path = parser.parse_args().folder
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        raise SystemExit(f"none of {', '.join(CHROMIUM)} is on PATH: apt-get install chromium")
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--no-sandbox"] if os.getuid() == 0 else []
    with (
        tempfile.TemporaryDirectory() as place,
        server(Path(place)) as (address, key),
        sync_playwright() as playwright,
    ):
        fill(address, key)
        with playwright.chromium.launch(executable_path=program, args=options) as browser:
            shoot(browser, address, key, folder)


if __name__ == "__main__":
    main()
