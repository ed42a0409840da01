"""What every request of the page passes: who it is, from where it was sent, how errors look.

Requests that change something must come from the page itself: by what browsers say of it
(``Sec-Fetch-Site``, ``Origin``), on top of a cookie that no other site's request carries.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from vist2_memory.serving.keys import Key
from vist2_memory.serving.page import cookies
from vist2_memory.serving.page.rendering import rendered
from vist2_memory.serving.page.state import page_state
from vist2_memory.serving.problems import Problem, told
from vist2_memory.serving.settings import DEVELOPER
from vist2_memory.serving.state import state_of

SIGN_IN = "/page/sign-in"
FRAGMENT = "x-fragment"
"""A header of requests by the page's script, which shows no whole page."""
MOST_FORM_BYTES = 16_384

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}
"""Of every answer that does not say otherwise itself."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class OpenRoute(APIRoute):
    """A route for everybody."""

    def get_route_handler(self) -> Handler:
        """See :class:`APIRoute`."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                _check_origin(request)
                response = await self.admitted(request, handle)
            except Exception as error:
                response = _problem(request, error)
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return guarded

    async def admitted(self, request: Request, handle: Handler) -> Response:
        """What ``handle`` answers, if the request may come in."""
        return await handle(request)


class PageRoute(OpenRoute):
    """A route for who signed in; others are asked to."""

    async def admitted(self, request: Request, handle: Handler) -> Response:
        """See :meth:`OpenRoute.admitted`; counted among the requests of the key."""
        key = key_of(request)
        if key is None:
            return _sign_in(request)
        request.state.key = key
        async with state_of(request).gate.request(key):
            return await handle(request)


def key_of(request: Request) -> Key | None:
    """The key of who signed in; on a server without keys everybody's."""
    keys = state_of(request).settings.keys
    if keys is None:
        return DEVELOPER
    cookie = request.cookies.get(cookies.NAME, "")
    return page_state(request).seal.key(cookie, keys) if cookie else None


def _sign_in(request: Request) -> Response:
    if request.method != "GET" or FRAGMENT in request.headers:
        raise Problem(401, "you are signed out: sign in again", "signed_out")
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"{SIGN_IN}?next={quote(wanted, safe='')}", 303)


def _check_origin(request: Request) -> None:
    if request.method in ("GET", "HEAD"):
        return
    if int(request.headers.get("content-length") or MOST_FORM_BYTES + 1) > MOST_FORM_BYTES:
        raise Problem(413, f"a form has at most {MOST_FORM_BYTES} bytes", "too_large")
    site = request.headers.get("sec-fetch-site")
    origin = urlsplit(request.headers.get("origin", "")).netloc
    own = origin == request.headers.get("host") if site is None else site == "same-origin"
    if not own:
        raise Problem(403, "this was not sent from the page itself", "other_origin")


def _problem(request: Request, error: Exception) -> Response:
    """``error`` as a page."""
    if isinstance(error, RequestValidationError):
        error = Problem(400, "this address or form lacks something", "invalid_input")
    elif isinstance(error, HTTPException) and not isinstance(error, Problem):
        error = Problem(error.status_code, str(error.detail), "not_found")
    status, body, headers = told(error)
    headers.pop("WWW-Authenticate", None)
    name = HTTPStatus(status).phrase
    said = body["error"]["message"]
    return rendered(request, "problem.html", status, headers, title=name, said=said)
