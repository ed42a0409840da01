"""Sessions as files: JSON lines, a header and then the messages; tensors in a file beside them.

The tensors' file is safetensors. Each entry holds the very bytes that the store held, checksum and
all, so what was damaged on the way is refused like any damaged tensor. Nothing else is read: no
pickle, no code.

========  ============================================================
version   header
========  ============================================================
1         ``format``, ``version``, ``session``
2         and ``tensors``: ``file`` beside this one, ``fingerprint`` of
          the model that made them, ``scope`` that they were made for
========  ============================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save_file

from vist2_memory.errors import CodecError, InvalidMessageError, StoreFormatError
from vist2_memory.errors import StoreUnavailableError as Unavailable
from vist2_memory.memory.validation import check_role, check_text
from vist2_memory.store.base import Scope
from vist2_memory.types import Message

EXPORT_FORMAT = "vist2-session"
EXPORT_VERSION = 2
"""The newest that is read and written; a session without tensors is still written as 1."""
READ_VERSIONS = (1, 2)


@dataclass(frozen=True, slots=True)
class ExportedTensors:
    """The tensors beside an exported session: stored bytes by chunk id."""

    file: Path
    fingerprint: str
    scope: Scope

    def check(self) -> None:
        """Raise unless the file is there and can be read."""
        self.read(())

    def read(self, chunk_ids: Sequence[str]) -> dict[str, bytes]:
        """The bytes of those of ``chunk_ids`` that are there, as they were stored.

        Raises ``StoreUnavailableError`` without the file, ``CodecError`` for one of another kind.
        """
        if not self.file.is_file():
            raise Unavailable(
                f"cannot read {self.file}, where the exported session has its tensors: put it "
                "there, or import without tensors"
            )
        try:
            with safetensors.safe_open(self.file, framework="numpy") as opened:
                there = set(opened.keys())
                found = {i: opened.get_tensor(i) for i in chunk_ids if i in there}
        except Exception as error:  # the library's own class, which is no subclass of a narrower
            raise CodecError(f"{self.file} is not a safetensors file: {error}") from None
        return {chunk: np.asarray(values).tobytes() for chunk, values in found.items()}


@dataclass(frozen=True, slots=True)
class Export:
    """What an exported session's file holds."""

    session: str
    messages: list[Message]
    tensors: ExportedTensors | None = None


def write_export(
    path: Path,
    session: str,
    messages: Sequence[Message],
    tensors: tuple[Scope, str, Mapping[str, bytes]] | None = None,
) -> None:
    """Write a session to ``path``; ``tensors``: of which scope, by which model, by chunk id.

    Those go to the same path ending in ``.safetensors``. Raises ``StoreUnavailableError``.
    """
    header: dict[str, Any] = {"format": EXPORT_FORMAT, "version": 1, "session": session}
    try:
        if tensors is not None:
            scope, fingerprint, data = tensors
            file = path.with_suffix(".safetensors")
            if file == path:
                raise Unavailable(f"cannot write messages to {path}: its tensors would go there")
            save_file({c: np.frombuffer(b, np.uint8) for c, b in data.items()}, file)
            header["version"] = EXPORT_VERSION
            header["tensors"] = {
                "file": file.name,
                "fingerprint": fingerprint,
                "scope": scope.key,
            }
        lines = [header, *(asdict(message) for message in messages)]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error.strerror or error}") from error
    except safetensors.SafetensorError as error:
        raise Unavailable(f"cannot write the tensors beside {path}: {error}") from error


def read_export(path: Path) -> Export:
    """What `write_export` wrote, of any version that this release reads.

    Raises ``StoreUnavailableError`` or ``StoreFormatError``, naming file and line.
    """
    lines = read_lines(path, "exported session")
    header = _header(lines[0])
    if header is None:
        raise StoreFormatError(
            f"{path} is no exported session: its first line is not "
            f'{{"format": "{EXPORT_FORMAT}", "version": 1 or 2, ...}}'
        )
    messages = [_message(path, number, line) for number, line in enumerate(lines[1:], 2)]
    return Export(str(header["session"]), messages, _tensors(path, header))


def is_export(path: Path) -> bool:
    """Whether a file begins as an exported session does."""
    return _header(read_lines(path, "exported session")[0]) is not None


def read_lines(path: Path, what: str) -> list[str]:
    """The lines of a text file, split at line feeds only."""
    try:
        return path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StoreFormatError(f"{path} is no {what}: it is not UTF-8") from error


def said(messages: Sequence[Message]) -> list[tuple[str, str, str]]:
    """What makes two logs the same: ids, roles and texts."""
    return [(message.id, message.role, message.text) for message in messages]


def _header(line: str) -> dict[str, Any] | None:
    try:
        header: dict[str, Any] = json.loads(line)
        known = header["format"] == EXPORT_FORMAT and header["version"] in READ_VERSIONS
        return header if known and isinstance(header["session"], str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _message(path: Path, number: int, line: str) -> Message:
    try:
        fields = json.loads(line)
        message = Message(**{**fields, "cuts": tuple(fields["cuts"])})
        check_role(message.role)
        if message.text or message.role != "assistant":  # a model may have said nothing
            check_text(message.text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreFormatError(f"{path}:{number} holds no message: {error}") from error
    if not isinstance(message.id, str) or not message.id:
        raise InvalidMessageError(f"{path}:{number} holds a message without an id")
    return message


def _tensors(path: Path, header: Mapping[str, Any]) -> ExportedTensors | None:
    if "tensors" not in header:
        return None
    try:
        given = header["tensors"]
        name, fingerprint = given["file"], given["fingerprint"]
        if not isinstance(fingerprint, str) or name in ("", "..") or name != Path(name).name:
            raise ValueError(f"file {name!r} or fingerprint {fingerprint!r}")
        scope = Scope.from_key(given["scope"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreFormatError(f"{path}:1 names its tensors wrongly: {error}") from error
    return ExportedTensors(path.with_name(name), fingerprint, scope)
