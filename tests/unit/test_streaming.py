"""Texts that are read while they are needed: every format, every text once, the place in them."""

from __future__ import annotations

import gzip
import json
import lzma
import random
from pathlib import Path

import pytest
import zstandard

from vist2_memory.errors import InvalidInputError
from vist2_memory.training import streaming
from vist2_memory.training.data import Passages, find_files, read_texts
from vist2_memory.training.streaming import StreamedPassages

TEXTS = [f"text {i}: " + f"{i} line\n" * (5 + i % 7) for i in range(40)]


def write(folder: Path, texts: list[str] = TEXTS) -> list[Path]:
    """``texts`` over files of every kind."""
    lines = [json.dumps({"text": text}) + "\n" for text in texts]
    (folder / "a.jsonl").write_text("".join(lines[:10]))
    with gzip.open(folder / "b.jsonl.gz", "wt") as packed:
        packed.writelines(lines[10:20])
    with lzma.open(folder / "c.jsonl.xz", "wt") as packed:
        packed.writelines(lines[20:30])
    frames = ["".join(lines[30:35]), "".join(lines[35:])]
    pack = zstandard.ZstdCompressor().compress
    (folder / "d.jsonl.zst").write_bytes(b"".join(pack(frame.encode()) for frame in frames))
    return find_files(folder)


def test_every_kind_of_file_is_read(tmp_path: Path) -> None:
    files = write(tmp_path)
    assert [text for file in files for text in read_texts(file)] == TEXTS
    (tmp_path / "e.txt.gz").write_bytes(gzip.compress(b"plain"))
    assert list(read_texts(tmp_path / "e.txt.gz")) == ["plain"]


def test_a_long_text_comes_in_pieces_that_end_with_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(TEXTS))
    pieces = list(read_texts(tmp_path / "a.txt", 100))
    assert "".join(pieces) == "".join(TEXTS)
    assert len(pieces) > 5
    assert all(piece.endswith("\n") for piece in pieces)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.jsonl.xz", "a.jsonl"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff nothing of the kind")
    with pytest.raises(InvalidInputError, match=name):
        list(read_texts(tmp_path / name))


def test_each_text_is_read_whole_and_once_before_any_is_read_again(tmp_path: Path) -> None:
    passages = StreamedPassages(write(tmp_path), seed=1, open_texts=8)
    rng = random.Random(0)
    seen = "".join(sorted(passages.draw(rng, 10_000) for _ in range(len(TEXTS) - 8)))
    assert all(seen.count(f"text {i}: ") <= 1 for i in range(40))
    assert seen.count("text ") == len(TEXTS) - 8
    short = StreamedPassages(write(tmp_path), seed=1, open_texts=1)
    first = "".join(short.draw(rng, 7) for _ in range(200))
    assert all(first.count(text) == 1 for text in TEXTS[20:21] if text in first)
    assert sum(text in first for text in TEXTS) >= 5, "a text goes on where it was left"


def test_processes_share_the_texts(tmp_path: Path) -> None:
    files = write(tmp_path)
    rng = random.Random(0)
    shares = []
    for which in range(3):
        passages = StreamedPassages(files, seed=1, open_texts=1, process=(which, 3))
        shares.append({passages.draw(rng, 10_000) for _ in range(12)})
    assert len(set.union(*shares)) == sum(map(len, shares))


def test_a_stream_goes_on_from_its_place(tmp_path: Path) -> None:
    files = write(tmp_path)
    passages = StreamedPassages(files, seed=1, open_texts=4)
    rng = random.Random(0)
    for count in (3, 90, 400):  # in the first reading of the files, and in later ones
        for _ in range(count):
            passages.draw(rng, 30)
        place, state = json.loads(json.dumps(passages.place())), rng.getstate()
        again = StreamedPassages(files, seed=1, open_texts=4)
        again.go_to(place)
        expected = [passages.draw(rng, 30) for _ in range(150)]
        rng.setstate(state)
        assert [again.draw(rng, 30) for _ in range(150)] == expected


def test_a_place_in_other_data_is_refused(tmp_path: Path) -> None:
    files = write(tmp_path)
    place = StreamedPassages(files, open_texts=2).place()
    fewer = StreamedPassages(files[:2], open_texts=2)
    with pytest.raises(InvalidInputError, match="begun with the files"):
        fewer.go_to(place)
    with pytest.raises(InvalidInputError, match="begun without --stream"):
        fewer.go_to(None)
    with pytest.raises(InvalidInputError, match="go on with --stream"):
        Passages(TEXTS).go_to(place)


def test_no_more_than_the_open_texts_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "PIECE", 50)
    (tmp_path / "a.txt").write_text("a line of a book\n" * 5000)
    passages = StreamedPassages([tmp_path / "a.txt"], open_texts=3)
    assert sum(len(text.text) for text in passages._open) < 3 * 70
    assert passages.draw(random.Random(0), 30) == "a line of a book\na line of a b"


def test_texts_too_short_for_the_passages_are_an_error_and_no_endless_search(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.txt").write_text("Hm.")
    passages = StreamedPassages([tmp_path / "a.txt"], open_texts=2)
    rng = random.Random(0)
    with pytest.raises(InvalidInputError, match="too short"):
        any(passages.draw(rng, 500) == "enough" for _ in range(2000))
    (tmp_path / "a.txt").write_text(" \n")
    with pytest.raises(InvalidInputError, match="no text"):
        StreamedPassages([tmp_path / "a.txt"])
