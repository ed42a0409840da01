"""The memory page in a browser: a real server process with a real Redis and the bundled model."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.server_processes import ServerProcess

pytest_plugins = ("tests.support.server_fixtures",)
pytestmark = pytest.mark.timeout(180)

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 375, "height": 812}
CAT = "My cat is called Miso, and she likes the red cushion by the fire. "
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def server(server_process: ServerProcess) -> ServerProcess:
    """A server with something on its page."""
    with server_process.client() as http:
        for session in ("talk", "gone", HOSTILE[:60].replace("/", "|")):
            messages = [{"role": "user", "content": f"{n}. {CAT}"} for n in range(10)]
            messages.append({"role": "assistant", "content": HOSTILE})
            path = f"/v1/sessions/{session}/messages"
            http.post(path, json={"messages": messages}).raise_for_status()
        documents = {"documents": [{"text": CAT * 5, "metadata": {"source": "cat.txt"}}]}
        http.post("/v1/collections/books/documents", json=documents).raise_for_status()
        body = {"messages": [{"role": "user", "content": "What is my cat called?"}]}
        body |= {"session_id": "talk", "max_tokens": 8}  # type: ignore[dict-item]
        http.post("/v1/chat/completions", json=body).raise_for_status()
    return server_process


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    assert program is not None, "the tests need chromium on PATH: make chromium"
    options = ["--no-sandbox"] if os.getuid() == 0 else []
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=options) as launched,
    ):
        yield launched


def sign_in(context: BrowserContext, server: ServerProcess) -> Page:
    """The first page, for who has the key; whatever the console complains of is an error."""
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page raised {error}"))
    page.on("console", lambda line: pytest.fail(line.text) if "Security" in line.text else None)
    page.goto(server.url)
    page.get_by_label("API key").fill(server.key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Sessions")).to_be_visible()
    return page


@pytest.fixture(scope="module")
def signed_in(browser: Browser, server: ServerProcess) -> Iterator[BrowserContext]:
    with browser.new_context(viewport=DESKTOP) as context:  # type: ignore[arg-type]
        sign_in(context, server)
        yield context


@pytest.fixture
def page(signed_in: BrowserContext) -> Iterator[Page]:
    page = signed_in.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page raised {error}"))
    yield page
    page.close()


def test_a_wrong_key_is_refused_and_no_script_sees_the_cookie(
    browser: Browser, server: ServerProcess
) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(server.url)
        page.get_by_label("API key").fill("vist2-nobody-nothing")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("no valid key")
        page.get_by_label("API key").fill(server.key)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Sessions")).to_be_visible()
        [cookie] = context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("API key")).to_be_visible()
        assert context.cookies() == []


def test_sketches_stand_beside_their_text(page: Page, server: ServerProcess) -> None:
    page.goto(server.url)
    page.get_by_role("link", name="talk").click()
    expect(page.get_by_text("What is my cat called?").first).to_be_visible()
    sketches = page.locator("img.sketch")
    assert sketches.count() >= 3
    for sketch in sketches.all():
        sketch.scroll_into_view_if_needed()
        expect(sketch).to_have_js_property("complete", True)
        assert sketch.evaluate("image => image.naturalWidth") > 200
    first = page.locator(".chunk").first
    words, picture = (first.locator(name).bounding_box() for name in (".words", ".sketch"))
    assert words is not None
    assert picture is not None
    assert words["x"] + words["width"] <= picture["x"]
    assert page.locator(".badge", has_text="in the last answer").count() >= 3
    page.get_by_label("Words in this session").fill("red cushion")
    page.keyboard.press("Enter")
    assert page.locator("mark").first.inner_text() == "red cushion"


def test_what_the_model_reads_is_marked(page: Page, server: ServerProcess) -> None:
    page.goto(f"{server.url}/page/session?id=talk&page=1")
    chunk = page.locator(".chunk").first
    chunk.get_by_role("button", name="Read back").click()
    reading = chunk.locator(".readback")
    expect(reading).to_be_visible(timeout=30_000)
    assert page.url.endswith("page=1")  # in place
    expect(reading.locator(".score")).to_contain_text("of characters read right")
    words = chunk.locator(".words .text").all_inner_texts()
    parts = "[...node.childNodes].filter(n => n.nodeName != 'INS').map(n => n.textContent).join('')"
    truth = reading.locator(".text").evaluate(f"node => {parts}")
    assert "".join(truth.split()) == "".join("".join(words).split())


def test_without_script_all_but_refreshing_works(browser: Browser, server: ServerProcess) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(server.url)
        page.get_by_label("API key").fill(server.key)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="talk").click()
        page.locator(".chunk").first.get_by_role("button", name="Read back").click()
        expect(page.get_by_role("heading", name="What the model reads")).to_be_visible()
        expect(page.locator(".readback")).to_be_visible()
        page.get_by_role("link", name="Back to where it stands").click()
        expect(page.get_by_role("heading", name="talk")).to_be_visible()
        page.get_by_role("link", name="Server").click()
        expect(page.get_by_text("vist2-tiny").first).to_be_visible()


def test_what_was_said_stays_text(page: Page, server: ServerProcess) -> None:
    page.goto(server.url)
    page.locator("tbody a", has_text="script").click()
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    assert "owned" not in page.title().split("·")[-1]
    assert page.locator("main script").count() == 0
    assert page.locator("img:not(.sketch):not([src^='/page/static'])").count() == 0


def test_figures_refresh_themselves(page: Page, server: ServerProcess) -> None:
    page.goto(f"{server.url}/page/server")
    answers = page.locator(".figure", has_text="Answers").locator(".value")
    before = int(answers.inner_text())
    with server.client() as http:
        body = {"messages": [{"role": "user", "content": "Hello."}], "max_tokens": 4}
        http.post("/v1/chat/completions", json=body).raise_for_status()
    expect(answers).to_have_text(str(before + 1), timeout=15_000)
    expect(page.locator("[data-state=live]")).to_be_visible()


def test_a_session_is_taken_home_and_deleted(page: Page, server: ServerProcess) -> None:
    page.goto(f"{server.url}/page/session?id=gone")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    assert download.value.suggested_filename == "gone.jsonl"
    lines = Path(download.value.path()).read_text().splitlines()
    assert json.loads(lines[0])["session"] == "gone"
    assert len(lines) == 12
    page.get_by_role("link", name="Delete…").click()
    page.get_by_role("link", name="Keep it").click()
    expect(page.get_by_role("heading", name="gone")).to_be_visible()
    page.get_by_role("link", name="Delete…").click()
    page.get_by_role("button", name="Delete the session").click()
    expect(page.get_by_role("status")).to_contain_text("deleted")
    assert page.get_by_role("link", name="gone").count() == 0
    with server.client() as http:
        assert "gone" not in http.get("/v1/sessions").text


def test_the_keyboard_alone_is_enough(page: Page, server: ServerProcess) -> None:
    page.goto(server.url)
    names = []
    for _ in range(12):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        names.append(focused.inner_text() or focused.get_attribute("aria-label"))
        style = focused.evaluate("e => getComputedStyle(e).outlineStyle")
        assert style != "none", f"the focus on {names[-1]!r} is not seen"
        if names[-1] == "talk":
            break
    assert names[0] == "Skip to the content"
    assert names[1:5] == ["vist2 memory", "Sessions", "Collections", "Server"]
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="talk")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_schemes(
    signed_in: BrowserContext, browser: Browser, server: ServerProcess, scheme: str, tmp_path: Path
) -> None:
    state = signed_in.storage_state()
    paths = ["/", "/page/session?id=talk", "/page/collection?name=books", "/page/server"]
    with browser.new_context(
        viewport=PHONE,  # type: ignore[arg-type]
        color_scheme=scheme,  # type: ignore[arg-type]
        storage_state=state,
    ) as context:
        page = context.new_page()
        for path in [*paths, "/page/session/delete?id=talk"]:
            page.goto(server.url + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
            wide = "e => e.getBoundingClientRect().right > innerWidth - 8"
            for part in page.locator("main button, main input, main .button, main td").all():
                assert not part.is_visible() or not part.evaluate(wide)
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shade = sum(map(int, paper.removeprefix("rgb(").rstrip(")").split(","))) / 3
        assert (shade < 60) == (scheme == "dark")
        assert page.screenshot()[:4] == b"\x89PNG"


@pytest.mark.parametrize("path", ["/", "/page/session?id=talk", "/page/server", "/page/sign-in"])
def test_landmarks_labels_and_headings(page: Page, server: ServerProcess, path: str) -> None:
    page.goto(server.url + path)
    assert page.locator("html[lang]").count() == 1
    for landmark in ("banner", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1  # type: ignore[arg-type]
    assert page.locator("h1").count() == 1
    levels = [
        int(tag[1])
        for tag in page.locator("h1, h2, h3").evaluate_all("all => all.map(e => e.tagName)")
    ]
    assert all(level <= before + 1 for before, level in pairwise(levels))
    for field in page.locator("input:not([type=hidden])").all():
        assert field.evaluate("e => !!(e.labels.length || e.ariaLabel)")
    for image in page.locator("img").all():
        assert image.get_attribute("alt") is not None
    ids = page.locator("[id]").evaluate_all("all => all.map(e => e.id)")
    assert len(ids) == len(set(ids))
