"""``vist2 demo``: the main job, shown as it happens."""

from __future__ import annotations

from dataclasses import asdict

import typer

from vist2_memory.cli.common import AsJson, Model, StoreURL, emit, note, progress_bar, show
from vist2_memory.demo import Answered, Asking, DemoEvent, DemoResult, Played, run_demo
from vist2_memory.types import TextDelta


def demo(as_json: AsJson = False, store: StoreURL = None, model: Model = None) -> None:
    """Play a week of conversation into a store, close it, and ask about it in a new process.

    Without --store it is a SQLite file in a temporary folder, whatever $VIST2_STORE says. The exit
    code is 0 when the demo ran, however many answers were right.
    """
    with progress_bar("play the conversation") as progress:
        events = run_demo(store, model, progress=progress)
        first = next(events)
    if not as_json:
        _show(first)
    for event in events:
        if not as_json:
            _show(event)
        elif isinstance(event, DemoResult):
            emit(asdict(event))


def _show(event: DemoEvent) -> None:
    if isinstance(event, Played):
        show(f"{event.messages} messages are in {event.store}, which is closed.")
        show("A new process opens it and asks:")
    elif isinstance(event, Asking):
        told = f"told on {event.question.day}" if event.question.day else "never told"
        show(f"\n{event.number}. {event.question.question}  ({told})")
        show(f"   expected: {event.question.expected}\n   answer:   ", newline=False)
    elif isinstance(event, TextDelta):
        show(event.text, newline=False)
    elif isinstance(event, Answered):
        mark = typer.style("right", fg="green") if event.right else typer.style("wrong", fg="red")
        typer.echo(f"\n   {mark}")
        for remark in event.degraded:
            note(remark)
        if event.left_out_tokens:
            note(f"the oldest {event.left_out_tokens} text tokens did not fit and were left out")
    else:
        _show_result(event)


def _show_result(result: DemoResult) -> None:
    saved = 1 - result.kv_bytes / max(1, result.kv_bytes_text)
    rows = (
        ("right answers", f"{result.right} of {result.questions}"),
        ("text tokens in memory", f"{result.text_tokens:,} (and {result.tail_tokens} still text)"),
        ("visual tokens", f"{result.visual_tokens:,} ({result.cached_visual_tokens:,} cached)"),
        ("compression ratio", f"{result.compression_ratio:.2f}"),
        ("characters per visual token", f"{result.characters_per_visual_token:.1f}"),
        (
            "KV cache",
            f"{result.kv_bytes / 2**20:.1f} MiB; as text {result.kv_bytes_text / 2**20:.1f} MiB "
            f"({saved:.0%} saved)",
        ),
        ("first token, tensors cached", f"{1000 * result.ttft_cached_s:.0f} ms"),
        ("first token, tensors encoded", f"{1000 * result.ttft_uncached_s:.0f} ms"),
        ("model", result.model),
    )
    typer.echo()
    for name, value in rows:
        show(f"{name:<30}{value}")
