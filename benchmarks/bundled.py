"""Measure the bundled model, and write its tables into README.md and its card.

    python benchmarks/bundled.py run [NAME ...] [--data DATA]   # into benchmarks/results
    python benchmarks/bundled.py write                          # from there, between the marks

Every figure of the tables comes from a file of results, and its row names the command.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
README = ROOT / "README.md"
CARD = ROOT / "docs/models/vist2-tiny.md"
SEED = "--seed 12345"

RUNS = {
    "demo": "demo",
    "readback": "eval readback --data DATA/prose/dev.jsonl.xz --chunks 100 --by-kind",
    "recall-300": f"eval recall --conversations 40 {SEED} --history 300",
    "recall-1000": f"eval recall --conversations 20 {SEED} --history 1000",
    "recall-2000": f"eval recall --conversations 10 {SEED} --history 2000",
    "recall-4000": f"eval recall --conversations 5 {SEED} --history 4000",
    "recall-16000": f"eval recall --conversations 1 {SEED} --history 16000",
    "dialogues-1000": "eval recall --kind dialogues --data DATA/dialogues/sgd-test.jsonl.xz "
    f"--conversations 12 {SEED} --history 1000",
    "topics-4000": "eval recall --kind topics --data DATA/eval/longchat-topics-5.jsonl.xz "
    f"--conversations 20 {SEED} --history 4000",
}
"""The commands, after ``vist2`` and without ``--json``."""


def run(names: list[str], data: Path) -> None:
    """Run the commands called ``names`` and keep what they print."""
    for name in names or RUNS:
        arguments = RUNS[name].replace("DATA", str(data)).split()
        command = [sys.executable, "-m", "vist2_memory.cli", *arguments, "--json"]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        result(name).write_text(printed, encoding="utf-8")
        print(name, "done", flush=True)


def result(name: str) -> Path:
    return RESULTS / f"vist2-tiny-{name}.json"


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result(name).read_text(encoding="utf-8"))
    return found


def command(name: str) -> str:
    return f"`vist2 {RUNS[name]} --json`"


def share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def quoted(found: dict[str, Any]) -> str:
    """What sessions answer right, with the interval."""
    low, high = found["intervals95"]["exact_match_exact_quotes"]
    return f"{found['exact_match_exact_quotes']:.2f} ({low:.2f} to {high:.2f})"


def percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def recall_row(name: str, kind: str) -> str:
    found = load(name)
    low, high = found["interval95"]
    by_place = found["by_place"]
    unknown = found.get("unanswerable_accuracy")
    return (
        f"| {kind} | {round(found['history_text_tokens']):,} | {found['questions']} "
        f"| {found['exact_match']:.2f} ({low:.2f} to {high:.2f}) "
        f"| {quoted(found)} "
        f"| {share(by_place.get('visual tokens'))} | {share(by_place.get('text'))} "
        f"| {share(found['exact_match_without_memory'])} | {share(found['exact_match_truncated'])} "
        f"| {share(unknown)} | {found['compression_ratio']:.2f} | {found['context_ratio']:.2f} "
        f"| {command(name)} |"
    )


def card_tables() -> str:
    """Readback, recall and the demo, with counts, intervals and commands."""
    read, demo = load("readback"), load("demo")
    low, high = read["interval95"]
    kinds = [f"| {kind} | {percent(value)} |" for kind, value in read["by_kind"].items()]
    recalls = [name for name in RUNS if name.startswith("recall")]
    cached, again = demo["ttft_cached_s"], demo["ttft_uncached_s"]
    return "\n".join(
        [
            f"**Readback** ({command('readback')}): characters of authors it never saw that come "
            f"back right, at {read['compression_ratio']:.2f} text tokens "
            f"({read['characters_per_visual_token']:.1f} characters) a visual token. Prose: "
            f"{percent(read['character_accuracy'])} ({percent(low)} to {percent(high)}); "
            f"{percent(read['exact_chunks'])} of {read['chunks']} chunks without a fault.",
            "",
            "| kind of text | characters right |",
            "|---|---|",
            *kinds,
            "",
            "**Recall**: exact match on held-out values, names and wordings, and on real task "
            "dialogues it never saw. First from visual tokens alone, then with quotes held to the "
            "text, as a session answers; all other columns are of visual tokens alone.",
            "",
            "| questions on | text tokens of history | questions | exact match (95%) | with exact "
            "quotes (95%) | told in "
            "visual tokens | told in the text tail | without memory | truncated text | "
            '"I don\'t know" where right | compression | context ratio | command |',
            "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
            *(recall_row(name, "synthetic facts") for name in recalls),
            recall_row("dialogues-1000", "dialogue slots"),
            recall_row("topics-4000", "first topic (LongChat)"),
            "",
            f"**The demo** ({command('demo')}): **{demo['right']} of {demo['questions']}** "
            f"questions right; {demo['text_tokens']:,} text tokens in {demo['visual_tokens']} "
            f"visual tokens ({demo['compression_ratio']:.2f}, "
            f"{demo['characters_per_visual_token']:.1f} characters each); KV cache "
            f"{demo['kv_bytes'] / 1e6:.1f} MB against {demo['kv_bytes_text'] / 1e6:.1f} MB as "
            f"text. Time to first token with cached tensors is {cached / again:.2f} of the time "
            "with all of them encoded again (one run, interleaved).",
        ]
    )


def readme_table() -> str:
    """The few figures that a newcomer should know."""
    read, demo = load("readback"), load("demo")
    rows = [
        "| | | command |",
        "|---|---|---|",
        f"| text tokens for each visual token | {demo['compression_ratio']:.2f} "
        f"({demo['characters_per_visual_token']:.1f} characters) | {command('demo')} |",
        "| KV cache of the demo's week, against the same as text "
        f"| {demo['kv_bytes'] / demo['kv_bytes_text']:.2f} | {command('demo')} |",
        f"| characters of unseen prose read back right | {percent(read['character_accuracy'])} "
        f"| {command('readback')} |",
        f"| questions of the demo answered right | {demo['right']} of {demo['questions']} "
        f"| {command('demo')} |",
    ]
    for name in ("recall-300", "recall-1000", "recall-4000", "dialogues-1000"):
        found = load(name)
        what = "slots of real dialogues" if "dialogues" in name else "held-out facts"
        rows.append(
            f"| exact match on {what}, histories of {round(found['history_text_tokens']):,} text "
            f"tokens | {found['exact_match_exact_quotes']:.2f} as a session answers, "
            f"{found['exact_match']:.2f} from visual tokens alone (without memory "
            f"{share(found['exact_match_without_memory'])}, as much text as fits "
            f"{share(found['exact_match_truncated'])}) | {command(name)} |"
        )
    return "\n".join(rows)


def write(path: Path, text: str) -> None:
    """Put ``text`` between the marks of ``path``."""
    page = path.read_text(encoding="utf-8")
    new, count = re.subn(
        r"(<!-- measured -->\n).*(\n<!-- end -->)",
        lambda marks: marks[1] + text + marks[2],
        page,
        flags=re.DOTALL,
    )
    if count != 1:
        raise SystemExit(f"{path} must have one pair of marks, <!-- measured --> and <!-- end -->")
    path.write_text(new, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("do", choices=("run", "write"))
    parser.add_argument("names", nargs="*", metavar="NAME", help="of RUNS; default: all")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    if options.do == "run":
        run(options.names, options.data)
    else:
        write(README, readme_table())
        write(CARD, card_tables())


if __name__ == "__main__":
    main()
