"""Recall over small random models: what is asked how, where facts stand, what is refused."""

from __future__ import annotations

import json
import lzma
import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoints import save_small, small_config, small_model
from tests.support.tokenizers import token_ids
from vist2_memory.engine.torch import TorchEngine
from vist2_memory.errors import InvalidInputError, ModelError, ModelNotFoundError
from vist2_memory.training.evaluate import (
    evaluate_readback,
    evaluate_recall,
    recall,
    text_model,
    transcript_of,
)
from vist2_memory.training.evaluate.histories import source, told_at, values_of
from vist2_memory.training.evaluate.recall import History
from vist2_memory.training.evaluate.text_model import TextModel, settled
from vist2_memory.training.export import save_language_model
from vist2_memory.training.synthetic import Conversation, Question, generate, is_right
from vist2_memory.types import Context, Finished, GenerationParams

pytest_plugins = ("tests.support.fixtures",)

TALKS = [
    {
        "turns": [["user", "A table at Mandarin Wok?"], ["system", f"For {n} people, at {n}:45."]],
        "slots": {
            "restaurant_name": [[0, "Mandarin Wok" if n == 1 else f"Wok {n}"]],
            "party_size": [[1, str(n)]],
            "time": [[1, f"{n}:45"]],
        },
    }
    for n in range(1, 5)
]


@pytest.fixture(autouse=True)
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random models never stop by themselves."""
    for module in (recall, text_model):
        monkeypatch.setattr(module, "ANSWER_TOKENS", 6)


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    return packed(tmp_path / "talks.jsonl.xz", TALKS)


def packed(path: Path, rows: list[dict[str, Any]]) -> Path:
    with lzma.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


@pytest.fixture
def reader(checkpoint: Path) -> TorchEngine:
    return TorchEngine(checkpoint, device="cpu")


@pytest.fixture
def twin(tmp_path: Path) -> Path:
    save_language_model(small_model(seed=5), tmp_path / "twin")
    return tmp_path / "twin"


def asking(value: str, turn: int) -> Question:
    return Question("What?", f"It is {value}.", value, "name", True, turn)


def test_where_a_fact_is_told() -> None:
    said = (("user", "Hm \ue000, well."), ("assistant", "It is Miso now. Miso!"))
    conversation = Conversation(said, ())
    transcript = "\ue000Hm \ue00f0, well.\ue001It is Miso now. Miso!"
    assert told_at(conversation, asking("miso", 1)) == transcript.index("Miso")
    assert told_at(conversation, Question("?", "No.", "", "unanswerable", False, -1)) == -1


def test_a_history_holds_what_a_session_would_read(tmp_path: Path) -> None:
    folder = save_small(tmp_path / "model", small_config(max_visual_tokens=20))
    engine = TorchEngine(folder, device="cpu", keep_recent_chunks=1)
    conversation = generate(random.Random(1), characters=400, split="heldout")
    past = History(engine, conversation)
    text = transcript_of(engine, conversation).text
    assert past.left_out
    assert past.visual_tokens <= 20
    parts = [*(c.text for c in past.left_out), *(c.text for c in past.chunks)]
    assert "".join(parts) + past.transcript.tail == text
    kept_from = sum(len(chunk.text) for chunk in past.left_out)
    places = [past.place(offset) for offset in range(len(text))]
    assert places.index("visual tokens") == kept_from
    assert places.index("text") == past.transcript.tail_start
    assert places[0] == "left out"
    assert len(token_ids(past.newest(9))) == 9
    assert text.endswith(past.newest(9))
    assert past.newest(0) == ""
    assert past.newest(10**6) == text


def test_baselines_answer_as_the_engine_does_when_all_text_stays_text(
    checkpoint: Path, reader: TorchEngine
) -> None:
    unfolded = TorchEngine(checkpoint, device="cpu", keep_recent_chunks=500)
    model = TextModel.inside(reader)
    memory = model.prefill("My cat is called Miso.")
    for prompt in ("What is my cat called?", "Who?"):
        context = Context("", (), "My cat is called Miso." + prompt)
        *_, last = unfolded.generate(context, GenerationParams(max_tokens=6))
        assert isinstance(last, Finished)
        answer = model.answer(memory, prompt)
        assert answer == last.text if not settled(answer) else last.text.startswith(answer)
        assert answer


def test_answers_end_where_they_are_too_long_to_be_right(
    reader: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall, "ANSWER_TOKENS", 40)
    monkeypatch.setattr(recall, "settled", lambda answer: len(answer) > 3)
    past = History(reader, generate(random.Random(1), characters=300, split="heldout"))
    assert 3 < len(past.in_visual_memory()("Who?")) < 30


def test_recall_of_synthetic_conversations(reader: TorchEngine, twin: Path) -> None:
    figures = evaluate_recall(reader, conversations=2, seed=1, history=150, twin=twin)
    promised = (
        "exact_match exact_match_without_memory exact_match_truncated text_twin_exact_match "
        "text_twin_truncated_exact_match"
    )
    for name in promised.split():
        low, high = figures["intervals95"][name]
        assert 0 <= low <= figures[name] <= high <= 1
    assert figures["interval95"] == figures["intervals95"]["exact_match"]
    for name in ("by_kind", "by_age", "by_place"):
        assert sum(figures["counts"][name].values()) == figures["questions"]
    assert set(figures["by_place"]) <= {"visual tokens", "text", "left out"}
    assert (figures["twin"], figures["left_out_share"]) == ("twin", 0)
    json.dumps(figures)


def test_what_was_not_measured_is_none_and_says_why(reader: TorchEngine) -> None:
    figures = evaluate_recall(reader, conversations=1, seed=1, history=150, baselines=False)
    assert figures["exact_match_truncated"] is None
    assert "--skip-baselines" in figures["not_measured"]["exact_match_truncated"]
    assert figures["text_twin_exact_match"] is None
    assert "--twin" in figures["not_measured"]["text_twin_exact_match"]


def test_recall_of_real_dialogues_tells_new_values_apart(
    reader: TorchEngine, talks: Path, tmp_path: Path
) -> None:
    seen = packed(tmp_path / "seen.jsonl.xz", TALKS[:1])
    assert values_of(seen) == {"mandarin wok", "1", "1:45"}
    figures = evaluate_recall(
        reader, conversations=1, seed=3, history=64, kind="dialogues", data=talks, seen=seen
    )
    assert set(figures["by_kind"]) <= {"dialogue", "changed"}
    assert set(figures["by_novelty"]) <= {"never seen in training", "seen in training"}
    assert figures["unanswerable_accuracy"] is None
    assert figures["questions"] > 0


def test_dialogues_without_slots_and_bad_choices_are_refused(tmp_path: Path, talks: Path) -> None:
    with pytest.raises(InvalidInputError, match="give --data"):
        source("dialogues")
    with pytest.raises(InvalidInputError, match="made, not read"):
        source("synthetic", talks)
    bare = packed(tmp_path / "bare.jsonl.xz", [{"turns": [["user", "Hm."]], "slots": {}}])
    with pytest.raises(InvalidInputError, match="no slots"):
        source("dialogues", bare)


RECORD = (
    "At the beginning of each topic, the USER will say 'I would like to discuss the topic of "
    "<TOPIC>'. Now the record start. USER: I would like to discuss the topic of the psychology of "
    "creativity. \n ASSISTANT: Sure! \n USER: Let's discuss the topic of bees. \n ASSISTANT: Bees "
    "it is. Now the record ends. What is the first topic we discussed? Only give me the name."
)


def test_topics_are_asked_as_far_as_a_record_is_read(tmp_path: Path) -> None:
    row = {"prompt": RECORD, "topics": ["The psychology of creativity", "Bees"]}
    draw = source("topics", packed(tmp_path / "topics.jsonl.xz", [row, row]))
    whole, part = draw(random.Random(0), 10**6), draw(random.Random(0), 70)
    assert [role for role, _ in whole.messages] == ["user", "assistant"] * 2
    assert whole.messages[3] == ("assistant", "Bees it is.")
    assert part.messages == whole.messages[:2]
    (question,) = part.questions
    assert question.text == "What is the first topic we discussed?"
    assert told_at(part, question) == 1 + RECORD.split("USER: ")[1].index("psychology")
    assert is_right(question, "The psychology of creativity.")
    assert not is_right(question, "The psychology of creativity, then bees.")
    with pytest.raises(InvalidInputError, match="--conversations 2 at most"):
        draw(random.Random(0), 64)
    bad = packed(tmp_path / "bad.jsonl.xz", [row, {"prompt": "Hm.", "topics": ["a"]}])
    with pytest.raises(InvalidInputError, match=r"bad\.jsonl\.xz:2 holds no record"):
        source("topics", bad)


def test_a_twin_that_does_not_fit_is_refused(
    reader: TorchEngine, checkpoint: Path, twin: Path, qwen3: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no config\.json"):
        TextModel.load(tmp_path / "none", reader)
    with pytest.raises(ModelError, match="'vist2': a Qwen3 is needed"):
        TextModel.load(checkpoint, reader)
    with pytest.raises(ModelError, match="another vocabulary"):
        TextModel.load(qwen3, reader)
    with pytest.raises(InvalidInputError, match="2048 positions"):
        evaluate_recall(reader, conversations=1, history=9000, twin=twin)


PROSE = "The old harbour lay quiet in the grey morning, and nobody spoke of the night before. "


def test_readback_by_kind(reader: TorchEngine, tmp_path: Path) -> None:
    data = tmp_path / "a.txt"
    data.write_text(PROSE * 5)
    figures = evaluate_readback(reader, data, chunks=2, by_kind=True)
    assert list(figures["by_kind"]) == ["prose", "dialogue", "code", "numbers and identifiers"]
    assert figures["by_kind"]["prose"] == figures["character_accuracy"]
    assert figures["counts"]["by_kind"]["prose"] == figures["characters"]
    assert 0 <= figures["exact_lines"] <= 1
    assert figures["interval95"][0] <= figures["character_accuracy"] <= figures["interval95"][1]
    json.dumps(figures)


def test_a_ratio_that_the_geometry_does_not_give_is_refused_by_name(
    reader: TorchEngine, tmp_path: Path
) -> None:
    data = tmp_path / "a.txt"
    data.write_text(PROSE * 5)
    plain = evaluate_readback(reader, data, chunks=1)
    assert "by_kind" not in plain
    offered = round(plain["compression_ratio"], 1)
    figures = evaluate_readback(reader, data, chunks=1, ratio=offered)
    assert figures["ratio"] == offered
    assert figures["by_kind"]
    with pytest.raises(InvalidInputError, match=f"here it offers --ratio {offered:.2g}"):
        evaluate_readback(reader, data, chunks=1, ratio=offered + 4)
