"""Templates to pages. Everything that a template is given is escaped."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from vist2_memory import __version__
from vist2_memory.serving.keys import Key

STATIC = {"style.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""The files that pages ask for, and what they are."""
FILES = {
    name: (resources.files("vist2_memory.serving.page") / "static" / name).read_bytes()
    for name in STATIC
}
_VERSIONS = {name: hashlib.sha256(data).hexdigest()[:12] for name, data in FILES.items()}
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def url(path: str, **query: Any) -> str:
    """``path`` with ``query``, of which what is None is left out."""
    given = {name.rstrip("_"): value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def asset(name: str) -> str:
    """Where a file of ``STATIC`` is, in this version of it."""
    return url(f"/page/static/{name}", v=_VERSIONS[name])


def number(value: float) -> str:
    """Whole, with a thin space between thousands."""
    return f"{round(value):,}".replace(",", "\u202f")


def percent(share: float, digits: int = 0) -> str:
    """A share of 1, rounded down where it would say that it is all of it."""
    rounded = round(100 * share, digits)
    if rounded >= 100 and share < 1:
        rounded = 100 - 10.0**-digits
    return f"{rounded:.{digits}f}\u202f%"


def seconds(value: float) -> str:
    """A duration, in the unit that it is short in."""
    return f"{value:.2f}\u202fs" if value >= 1 else f"{value * 1000:.0f}\u202fms"


def moment(at: float) -> str:
    """A time of day, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def iso(at: float) -> str:
    """A time as machines read it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def ago(at: float, now: float | None = None) -> str:
    """How long ago ``at`` was, about."""
    passed = (time.time() if now is None else now) - at
    for length, unit in _UNITS:
        if passed >= length:
            count = int(passed // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


_ENVIRONMENT = Environment(
    loader=PackageLoader("vist2_memory.serving.page"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
for _filter in (number, percent, seconds, moment, iso, ago):
    _ENVIRONMENT.filters[_filter.__name__] = _filter
_ENVIRONMENT.globals.update(url=url, asset=asset, version=__version__)


def rendered(
    request: Request,
    template: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """``template`` with ``values``, for who asks."""
    key: Key | None = getattr(request.state, "key", None)
    server = request.app.state.vist2
    page = _ENVIRONMENT.get_template(template).render(
        who=key,
        rights=frozenset(key.rights if key is not None else ()),
        has_keys=server.settings.keys is not None,
        path=request.url.path,
        **values,
    )
    return HTMLResponse(page, status, headers)
