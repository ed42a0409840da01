"""Files to documents. Knows file formats, nothing of memories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vist2_memory.errors import InvalidInputError
from vist2_memory.memory import Document
from vist2_memory.memory.validation import check_text

SUFFIXES = (".txt", ".md", ".jsonl")


def read_documents(path: Path) -> list[Document]:
    """The documents in ``path``: a text is one, a JSON lines file holds one on each line.

    Each knows its ``source``, the file's name; the other fields of a JSON line are metadata too.
    Raises ``InvalidInputError`` for a file of another kind or with what cannot be stored, and
    ``OSError`` for one that cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidInputError(f"{path} cannot be read: {', '.join(SUFFIXES)} files can")
    text = read_text(path)
    if suffix != ".jsonl":
        return [Document(check_text(text, f"document {path}"), {"source": path.name})]
    lines = enumerate(text.split("\n"), 1)
    return [_from_line(path, number, line) for number, line in lines if line.strip()]


def read_text(path: Path) -> str:
    """The text of a file; raises ``InvalidInputError`` when it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is not UTF-8 text: byte {error.start}") from error


def _from_line(path: Path, number: int, line: str) -> Document:
    where = f"{path}:{number}"
    try:
        fields: Any = json.loads(line)
    except ValueError as error:
        raise InvalidInputError(f"{where} is not JSON: {error}") from error
    if not isinstance(fields, dict) or "text" not in fields:
        raise InvalidInputError(f'{where} is not an object with a "text"')
    text = check_text(fields.pop("text"), f"document in {where}")
    return Document(text, {"source": path.name, **fields})
