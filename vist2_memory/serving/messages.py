"""Messages in OpenAI's form, as requests bring them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vist2_memory.memory.content import Part
from vist2_memory.memory.histories import read_part
from vist2_memory.serving.problems import Problem


def read_messages(given: Sequence[Mapping[str, Any]]) -> list[Part]:
    """``given`` in order; raises ``Problem`` naming the one that cannot be read."""
    return [_read(message, place) for place, message in enumerate(given)]


def _read(message: Mapping[str, Any], place: int) -> Part:
    try:
        return read_part(message, "openai", "refuse")
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        words = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise Problem(400, f"messages[{place}]: {words}", "invalid_input", "messages") from error
