"""Values that JSON cannot hold, as JSON and back: what tools and providers put beside a message.

Known are tuples, sets, bytes, times, decimals, UUIDs, infinite floats, keys that are no strings,
and LangChain's documents; no class is ever looked up by a name that was stored, so that what is
read can do nothing. Of what is written, ``{"$": kind, "value": ...}`` stands for such a value.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from langchain_core.documents import Document

from vist2_memory.errors import InvalidMessageError

_KIND = "$"

_Way = tuple[Callable[[Any], Any], Callable[[Any], Any]]
_WAYS: dict[type, _Way] = {
    tuple: (list, tuple),
    set: (lambda value: _sorted(value), set),
    frozenset: (lambda value: _sorted(value), frozenset),
    dict: (lambda value: [list(pair) for pair in value.items()], dict),
    bytes: (lambda value: b64encode(value).decode(), b64decode),
    str: (
        lambda value: value.encode("utf-8", "surrogatepass").hex(),
        lambda value: bytes.fromhex(value).decode("utf-8", "surrogatepass"),
    ),
    float: (str, float),
    datetime: (datetime.isoformat, datetime.fromisoformat),
    date: (date.isoformat, date.fromisoformat),
    time: (time.isoformat, time.fromisoformat),
    timedelta: (
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda value: timedelta(value[0], value[1], value[2]),
    ),
    Decimal: (str, Decimal),
    UUID: (str, UUID),
    Document: (
        lambda value: {"id": value.id, "text": value.page_content, "metadata": value.metadata},
        lambda value: Document(value["text"], id=value["id"], metadata=value["metadata"]),
    ),
}
_NAMES = {kind.__name__: way for kind, way in _WAYS.items()}


def is_plain(value: Any) -> bool:
    """Whether JSON gives ``value`` back as it was."""
    if value is None or isinstance(value, (bool, int)):
        return True
    if isinstance(value, str):
        return _is_unicode(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if type(value) is list:
        return all(map(is_plain, value))
    if type(value) is dict:
        return all(isinstance(key, str) and is_plain(key) for key in value) and all(
            map(is_plain, value.values())
        )
    return False


def pack(value: Any) -> Any:
    """``value`` as what JSON can hold; raises ``InvalidMessageError`` for one of another kind."""
    if type(value) is dict:
        if _KIND not in value and all(isinstance(key, str) and is_plain(key) for key in value):
            return {key: pack(of) for key, of in value.items()}
    elif type(value) is list:
        return [pack(of) for of in value]
    elif is_plain(value):
        return value
    way = _WAYS.get(type(value))
    if way is None:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise InvalidMessageError(
            f"a {kind} cannot be kept so that it comes back as it was: give what JSON can hold, "
            "or keep it elsewhere and its name or number here"
        )
    return {_KIND: type(value).__name__, "value": pack(way[0](value))}


def unpack(value: Any) -> Any:
    """The inverse of :func:`pack`; raises ``InvalidMessageError`` for what it did not make."""
    if isinstance(value, list):
        return [unpack(of) for of in value]
    if not isinstance(value, Mapping):
        return value
    if _KIND not in value:
        return {key: unpack(of) for key, of in value.items()}
    try:
        return _NAMES[value[_KIND]][1](unpack(value["value"]))
    except (KeyError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise InvalidMessageError(
            f"{str(value)[:60]!r} is no value that was kept: {error}"
        ) from error


def _sorted(values: Collection[Any]) -> list[Any]:
    """``values`` in an order of their own, so that sets that are equal are packed alike."""
    return sorted(values, key=lambda value: json.dumps(pack(value), sort_keys=True))


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
