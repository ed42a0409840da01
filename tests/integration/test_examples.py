"""The example about documents, on the bundled model."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "rag_over_a_folder.py"


@pytest.mark.timeout(240)
def test_questions_about_a_folder_read_the_right_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    main = runpy.run_path(str(EXAMPLE))["main"]
    main()
    said = capsys.readouterr().out
    assert said.startswith("6 files, ")
    library, attic = said.split("\n\n")[1:3]
    assert "read: library.txt, characters 0 to " in library
    assert "read: attic.txt, characters " in attic
    assert library.count("read: ") < 6
    assert "library.txt: 'The library." in said.split("A retriever finds:")[1]

    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "note.txt").write_text("The cat is called Miso.", encoding="utf-8")
    main(tmp_path, ("What is the cat called?",))
    assert "read: deep/note.txt, characters 0 to 23" in capsys.readouterr().out


@pytest.mark.timeout(240)
def test_a_chat_over_days_chooses_what_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLE.with_name("chat_with_history.py")))["main"]()
    recent, relevant, kept = capsys.readouterr().out.split("\n\n")[1:]
    assert "(recent)" in recent
    assert "(relevant)" in relevant
    for told in (recent, relevant):
        assert " 0 text tokens were left out" not in told
    assert kept == "82 messages are kept\n"
