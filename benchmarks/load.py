"""Many clients of a server process at once, and what it takes: `vist2 serve` on the bundled model
with a redis-server of its own, both on this machine.

    python benchmarks/load.py load --users 200 --minutes 3
    python benchmarks/load.py soak --users 24 --minutes 30

``load``: each client talks in a session of its own, reads each answer as it comes, and waits where
it is told 429 with Retry-After. Keys and server have their default settings; the clients have three
keys, so that some are always told to come again. ``soak``: clients also leave in the middle of
answers, Redis is ended in order or killed and comes back, and in the middle the server is told to
end and started again; a client that was cut off sends its question again under its Idempotency-Key.
After a number of turns it goes on in a new session.

Afterwards all logs are read and compared with what the clients said and were told (load_check.py),
and the server must be idle. Locust runs the clients. Writes benchmarks/results/load.json or
soak.json; ends with 1 where anything was lost, doubled, left over, or went wrong.
"""

from __future__ import annotations

# ruff: noqa: E402, I001
from gevent import monkey

monkey.patch_all()  # before anything else is imported: thousands of waits in one thread

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gevent
import requests
from locust.env import Environment

sys.path.insert(0, str(Path(__file__).parents[1]))

from load_check import check
from load_clients import Plan, Talker, Tally
from load_rough import Weather
from load_watch import Sample, Watch, summary
from tests.support.redis_servers import started
from tests.support.server_processes import ServerProcess

OUT = Path(__file__).parent / "results"
SAVING = ("--appendonly", "yes", "--appendfsync", "always")
IDLE_S = 120.0
"""Seconds until a server without clients must be idle."""


def run(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One run; what is to be told of it."""
    redis = started(folder / "redis", *SAVING)
    (folder / "server").mkdir()
    server = ServerProcess(folder / "server", redis.url, *args.serve)
    keys = (server.key, server.other_key, server.new_key("third"))
    try:
        server.start(within_s=300.0)
        return measured(args, server, redis, keys)
    except BaseException:
        print(server.log[-5000:], file=sys.stderr)
        raise
    finally:
        server.stop()
        redis.stop()


def measured(
    args: argparse.Namespace, server: ServerProcess, redis: Any, keys: tuple[str, ...]
) -> dict[str, Any]:
    rough = args.what == "soak"
    watch = Watch(lambda: server.process.pid if server.process else None, args.every)
    before = idle(server, watch)
    tally = Tally()
    plan = Plan(
        keys,
        until=time.monotonic() + 60 * args.minutes,
        turns=args.turns if rough else 0,
        deletes=args.deletes if rough else 0.0,
        leaves=args.leaves if rough else 0.0,
        rough=rough,
        seed=args.seed,
    )
    talking = type("Talking", (Talker,), {"plan": plan, "tally": tally, "host": server.url})
    clients = Environment(user_classes=[talking])
    runner = clients.create_local_runner()
    weather = Weather(server, redis, args.minutes, args.restarts, args.seed) if rough else None
    began = time.monotonic()
    runner.start(args.users, spawn_rate=args.users / args.ramp)
    gevent.sleep(args.ramp + 1)
    while runner.user_count:
        gevent.sleep(1.0)
    took = time.monotonic() - began
    if weather is not None:
        weather.settle()
    runner.quit()
    after = idle(server, watch)
    watch.stop()
    compared, wrong = check(server.url, tally.conversations)
    errors = dict(tally.errors)
    errors |= {row["msg"]: row["count"] for row in runner.exceptions.values()}
    told = {
        "command": "python benchmarks/load.py " + " ".join(sys.argv[1:]),
        "machine": machine(),
        "clients": args.users,
        "seconds": round(took, 1),
        "turns": len(tally.turn),
        "turns_of_a_client": spread([len(talk.turns) for talk in tally.conversations]),
        "answered_tokens_per_second": round(tally.tokens / took, 1),
        "first_byte_seconds": percentiles(tally.first_byte),
        "turn_seconds": percentiles(tally.turn),
        "retries": dict(tally.retries),
        "left": tally.cancelled,
        "errors": errors,
        "compared": {**compared, "compared_and_deleted": tally.deleted},
        "wrong": tally.wrong + wrong,
        "server": [summary(life, args.warm) for life in watch.lives],
        "idle": {"before": before, "after": after},
        "logged": logged(server),
    }
    return told | ({"events": weather.events} if weather is not None else {})


def idle(server: ServerProcess, watch: Watch) -> dict[str, Any]:
    """What the server holds when nobody asks for anything; waits for it."""
    deadline = time.monotonic() + IDLE_S
    headers = {"Authorization": f"Bearer {server.key}"}
    while True:
        reply = requests.get(f"{server.url}/metrics", headers=headers, timeout=30)
        rows = dict(row.rsplit(" ", 1) for row in reply.text.splitlines() if row[:1] != "#")
        found = {name: int(float(rows[f"vist2_{name}"])) for name in ("running", "queue_length")}
        sample = watch.now()
        if not any(found.values()) or time.monotonic() > deadline:
            break
        gevent.sleep(0.5)
    gevent.sleep(3.0)  # threads of the last answers end
    sample = watch.now()
    assert isinstance(sample, Sample), "the server has ended"
    return {**found, "threads": sample.threads, "files": sample.files}


def logged(server: ServerProcess) -> dict[str, int]:
    """How many lines the server logged of each kind that is out of the ordinary."""
    found: dict[str, int] = {}
    for line in server.log.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            found["no JSON"] = found.get("no JSON", 0) + 1
            continue
        if row["level"] not in ("INFO", "DEBUG"):
            name = f"{row['level']} {row['logger']}: {row['message'][:80]} {row.get('error', '')}"
            found[name.strip()] = found.get(name.strip(), 0) + 1
    return found


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {f"p{n}": round(cuts[n - 1], 3) for n in (50, 95, 99)} | {"most": round(max(seconds), 3)}


def spread(counts: Sequence[int]) -> dict[str, float]:
    return {"least": min(counts), "median": statistics.median(counts), "most": max(counts)}


def machine() -> str:
    model = next(
        (
            row.partition(":")[2].strip()
            for row in Path("/proc/cpuinfo").read_text().splitlines()
            if row.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} cores, shared with clients and Redis; {model}"


def is_good(told: dict[str, Any]) -> bool:
    """Whether nothing was lost, doubled, left over, or went wrong."""
    after, events = told["idle"]["after"], told.get("events", ())
    return (
        told["turns"] > 0
        and not told["wrong"]
        and not told["errors"]
        and not after["running"]
        and not after["queue_length"]
        and all(event.get("exit_status", 0) == 0 for event in events)
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("load", "soak"))
    parser.add_argument("--users", type=int, default=200, help="clients at once")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument(
        "--ramp", type=float, default=5.0, help="seconds until all clients are there"
    )
    parser.add_argument(
        "--warm", type=float, default=60.0, help="seconds before memory must be flat"
    )
    parser.add_argument("--every", type=float, default=2.0, help="seconds between looks at memory")
    parser.add_argument("--turns", type=int, default=12, help="soak: turns of a session")
    parser.add_argument(
        "--deletes", type=float, default=0.75, help="soak: share of sessions deleted at their end"
    )
    parser.add_argument("--leaves", type=float, default=0.15, help="soak: share of answers left")
    parser.add_argument(
        "--restarts", type=float, default=90.0, help="soak: seconds between Redis's"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--serve", nargs=argparse.REMAINDER, default=[], help="options of vist2 serve"
    )
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vist2-load-"))
    try:
        told = run(args, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    out = args.out or OUT / f"{args.what}.json"
    out.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps({**told, "server": "..."}, indent=1))
    return 0 if is_good(told) else 1


if __name__ == "__main__":
    sys.exit(main())
