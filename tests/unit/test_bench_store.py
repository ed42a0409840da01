"""``vist2 bench store``: what it prints, on stores of every kind, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from vist2_memory.benchmark.drivers import RedisDriver, SQLiteDriver, driver_of
from vist2_memory.benchmark.store import measure_store
from vist2_memory.cli import app
from vist2_memory.model.presets import SOURCES

pytest_plugins = ("tests.support.fixtures",)


def test_the_figures_of_redis_are_all_there(redis_server: Any, checkpoint: Path) -> None:
    seen: list[tuple[int, int]] = []
    figures = measure_store(
        redis_server.url,
        megabytes=(0.05, 0.1),
        repeats=2,
        text_tokens=150,
        model=str(checkpoint),
        chunks=20,
        progress=lambda done, of: seen.append((done, of)),
    )
    json.dumps(figures)
    assert seen[-1] == (4, 4)
    assert figures["read_ratio_to_raw"] > 0
    assert figures["write_ratio_to_raw"] > 0
    assert figures["load_16k_s"] > 0
    assert figures["loaded"]["text_tokens"] >= 150
    sizes = figures["bytes_per_1k_text_tokens"]
    assert 0 < sizes["payload"] < sizes["stored"]
    assert sizes["log"] > 0
    assert set(figures["kv_cache_ratio"]) == set(SOURCES) == {"0.6B", "1.7B", "4B", "8B"}
    for ratios in figures["kv_cache_ratio"].values():
        assert 1.5 < ratios["int8"] / ratios["bfloat16"] < 2.5
    # They depend on sizes alone, whatever the machine does.
    assert figures["kv_cache_ratio"]["0.6B"]["bfloat16"] >= 200
    assert figures["kv_cache_ratio"]["0.6B"]["int8"] >= 360
    assert figures["kv_cache_ratio"]["8B"]["int8"] >= 110
    assert [size["chunks"] for size in figures["by_size"]] == [2, 4]
    for size in figures["by_size"]:
        low, high = size["range"]["read_with_codec_ratio_to_raw"]
        assert low <= size["read_with_codec_ratio_to_raw"] <= high
    client = redis.Redis.from_url(redis_server.url)
    assert client.dbsize() == 0  # nothing is left
    client.close()


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_where_a_figure_cannot_be_had_it_is_null(
    kind: str, tmp_path: Path, checkpoint: Path
) -> None:
    url = f"sqlite:///{tmp_path}/memory.db" if kind == "sqlite" else "memory://"
    if kind == "memory":
        with pytest.raises(ValueError, match="keeps nothing"):
            measure_store(url)
        return
    figures = measure_store(
        url, megabytes=(0.05,), repeats=1, text_tokens=150, model=str(checkpoint), chunks=2
    )
    assert figures["read_ratio_to_raw"] > 0
    assert figures["bytes_per_1k_text_tokens"]["payload"] > 0
    assert figures["bytes_per_1k_text_tokens"]["stored"] is None
    assert figures["kv_cache_ratio"]["8B"] == {"bfloat16": None, "int8": None}
    assert "server" in figures["reason"]
    assert [path.name for path in tmp_path.iterdir()] == ["memory.db"]


def test_drivers_are_those_of_one_place_alone(redis_server: Any, tmp_path: Path) -> None:
    drivers = [driver_of(f"{redis_server.url}?deadline=3"), driver_of(f"sqlite:///{tmp_path}/m.db")]
    assert [type(driver) for driver in drivers] == [RedisDriver, SQLiteDriver]
    assert driver_of("redis+cluster://localhost:1") is None
    items = {str(n): bytes([n]) * 300_000 for n in range(20)}  # three batches
    for driver in drivers:
        assert driver is not None
        driver.put(items)
        assert driver.get([*items, "x"]) == [*items.values(), None]
        driver.close()


def test_the_command_prints_json(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def measured(url: str, **options: Any) -> dict[str, Any]:
        del options["progress"]
        asked.append((url, options))
        return {"read_ratio_to_raw": 0.9}

    monkeypatch.setattr("vist2_memory.benchmark.store.measure_store", measured)
    sizes = ["--megabytes", "0.5", "--megabytes", "2", "--repeats", "3", "--text-tokens", "100"]
    result = CliRunner().invoke(app, ["bench", "store", "--store", "redis://x", *sizes, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"read_ratio_to_raw": 0.9}
    options = {"megabytes": (0.5, 2.0), "repeats": 3, "text_tokens": 100}
    assert asked == [("redis://x", options)]
