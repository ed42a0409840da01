"""``/page/sign-in``, ``/page/sign-out``, and the files that pages ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from vist2_memory.serving.page import cookies
from vist2_memory.serving.page.guard import SIGN_IN, OpenRoute, key_of
from vist2_memory.serving.page.rendering import FILES, STATIC, rendered
from vist2_memory.serving.page.state import page_state
from vist2_memory.serving.problems import Problem
from vist2_memory.serving.state import State

router = APIRouter(route_class=OpenRoute)


@router.get("/page/sign-in")
async def ask(request: Request, next: str = "/") -> Response:
    """The form that asks for a key."""
    if key_of(request) is not None:
        return RedirectResponse(_own(next), 303)
    return rendered(request, "sign_in.html", next=_own(next), refused=False)


@router.post("/page/sign-in")
async def sign_in(
    request: Request, state: State, key: Annotated[str, Form()], next: Annotated[str, Form()] = "/"
) -> Response:
    """Take a key, and give a cookie for it."""
    keys = state.settings.keys
    found = keys.find(key.strip()) if keys is not None else None
    if found is None:
        return rendered(request, "sign_in.html", 401, next=_own(next), refused=True)
    response = RedirectResponse(_own(next), 303)
    response.set_cookie(
        cookies.NAME,
        page_state(request).seal.cookie(found),
        max_age=cookies.LIFE_S,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


@router.post("/page/sign-out")
async def sign_out() -> Response:
    """Take the cookie back."""
    response = RedirectResponse(SIGN_IN, 303)
    response.delete_cookie(cookies.NAME, path="/", httponly=True, samesite="strict")
    return response


@router.get("/page/static/{name}")
async def file(name: str) -> Response:
    """A file that pages ask for; each version has an address of its own."""
    if name not in FILES:
        raise Problem(404, "there is no such file", "not_found")
    kept = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(FILES[name], media_type=STATIC[name], headers=kept)


def _own(path: str) -> str:
    """``path`` if it is of this page, else its first."""
    known = path.startswith(("/?", "/page/")) and not any(c in path for c in "\\\r\n\t")
    return path if known else "/"
