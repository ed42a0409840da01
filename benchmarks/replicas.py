"""Two replicas against one, each on one core, and what bounds the ratio.

    python benchmarks/replicas.py run --store redis://127.0.0.1:6379/0 [--seconds 40] [--rounds 3]

Ray Serve runs two applications, of one replica and of two, on the bundled model; each replica's
threads are pinned to one core. They are loaded in turns by a process of its own, which holds
sessions that stream answers, four turns each. The proxy, the store, Ray itself and the load tool
run wherever there is room, and their processor time is measured apart: on a machine with as many
cores as replicas they take from the replicas, which ``bound`` in the result reckons.

    python benchmarks/replicas.py affinity --store redis://127.0.0.1:6379/0 [--tokens 3500]

What it gains that a session stays with its replica: of sessions of so many text tokens, the second
turn, at the replica of the first one or at another, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "replicas.json"
TURNS = 4
TOKENS = 64
APPS = {"one": 1, "two": 2}
TOLD = "My cat is called Miso, and she was born in May in a small village near the sea."


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(required=True)
    whole = commands.add_parser("run", help="measure, and write benchmarks/results/replicas.json")
    whole.add_argument("--store", required=True, help="a Redis that nobody else uses")
    whole.add_argument("--seconds", type=float, default=40.0, help="of each load")
    whole.add_argument("--rounds", type=int, default=3)
    whole.add_argument("--sessions", type=int, default=16, help="that stream at once")
    whole.add_argument("--out", type=Path, default=RESULT)
    whole.set_defaults(command=measure)
    stays = commands.add_parser("affinity", help="write benchmarks/results/affinity.json")
    stays.add_argument("--store", required=True, help="a Redis that nobody else uses")
    stays.add_argument("--tokens", type=int, default=3500, help="of the history, about")
    stays.add_argument("--turns", type=int, default=12, help="sessions of each kind")
    stays.add_argument("--out", type=Path, default=RESULT.with_name("affinity.json"))
    stays.set_defaults(command=affinity)
    part = commands.add_parser("load", help="the load alone, which `run` starts")
    part.add_argument("--url", required=True)
    part.add_argument("--seconds", type=float, required=True)
    part.add_argument("--sessions", type=int, required=True)
    part.set_defaults(command=lambda given: print(json.dumps(asyncio.run(load(given)))))
    given = parser.parse_args()
    given.command(given)


# ---------------------------------------------------------------------------------- the load


async def load(given: argparse.Namespace) -> dict[str, Any]:
    """Stream answers until the time is over; those that end in it count."""
    done: list[tuple[float, float, str]] = []  # seconds to the first byte, and in all; replica
    failed: list[str] = []
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=given.url, timeout=120, limits=limits) as client:
        began = time.monotonic()
        ends = began + given.seconds

        async def one_after_the_other(number: int) -> None:
            turn = 0
            while time.monotonic() < ends:
                session = f"{os.getpid()}-{number}-{turn // TURNS}"
                try:
                    answer = await _answer(client, session, turn)
                except (httpx.HTTPError, ValueError) as error:
                    failed.append(repr(error))
                    continue
                turn += 1
                if time.monotonic() < ends:
                    done.append(answer)

        await asyncio.gather(*map(one_after_the_other, range(given.sessions)))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "answers": len(done),
        "answers_by_replica": {
            name: sum(one[2] == name for one in done) for name in sorted({one[2] for one in done})
        },
        "failed": failed[:5],
        "first_byte_s": _percentiles([one[0] for one in done]),
        "answer_s": _percentiles([one[1] for one in done]),
        "cpu_s": usage.ru_utime + usage.ru_stime,
    }


async def _answer(client: httpx.AsyncClient, session: str, turn: int) -> tuple[float, float, str]:
    question = f"{TOLD} What is she called, and how old is she now? This is question {turn}."
    body = {
        "messages": [{"role": "user", "content": question}],
        "max_tokens": TOKENS,
        "temperature": 1.0,
        "seed": turn,
        "stream": True,
    }
    began, first, last = time.monotonic(), 0.0, b""
    headers = {"X-Session-Id": session}
    async with client.stream("POST", "v1/chat/completions", json=body, headers=headers) as reply:
        if reply.status_code != 200:
            raise ValueError(f"status {reply.status_code}")
        async for piece in reply.aiter_raw():
            first = first or time.monotonic() - began
            last = (last + piece)[-20:]
    if b"[DONE]" not in last:
        raise ValueError("the stream ended before its answer")
    return first, time.monotonic() - began, reply.headers["x-replica"]


def _percentiles(values: list[float]) -> dict[str, float]:
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49], 3), "p99": round(cuts[98], 3)}


# ------------------------------------------------------------------------------- the measurement


def measure(given: argparse.Namespace) -> None:
    """Start all, load both applications in turns, and write what was found."""
    cores = sorted(os.sched_getaffinity(0))[: max(APPS.values())]
    if len(cores) < max(APPS.values()):
        sys.exit(f"two replicas need two cores; this machine has {len(cores)}")
    with _served(given.store, APPS) as url:
        for app in APPS:
            _pin(app, cores)
            _load(f"{url}/{app}/", 5, given.sessions)  # all that is made once is made now
        runs: dict[str, list[dict[str, Any]]] = {app: [] for app in APPS}
        for number in range(given.rounds):
            for app in sorted(APPS, reverse=bool(number % 2)):
                runs[app].append(_run(app, url, given))
                print(app, json.dumps(runs[app][-1]), flush=True)
    result = _result(given, runs)
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("ratio", "bound", "cpu_s_per_answer")}))


def affinity(given: argparse.Namespace) -> None:
    """Time first tokens of a session that stays and of one that moves, and write them."""
    kinds: dict[str, list[dict[str, Any]]] = {"stays": [], "moves": []}
    with _served(given.store, {"two": 2}) as url, httpx.Client(timeout=120) as client:
        favourite: dict[str, str] = {}
        while len(favourite) < 2:
            name = f"s{time.monotonic_ns()}"
            reply = client.get(f"{url}/two/healthz", headers={"X-Session-Id": name})
            favourite.setdefault(reply.headers["x-replica"], name)
        first, second = favourite.values()
        for number in range(given.turns):
            for kind in sorted(kinds, reverse=bool(number % 2)):
                session = f"{kind}-{os.getpid()}-{number}"
                where = f"{url}/two/v1/sessions/{session}/messages"
                # Texts of their own, as what is read of one text serves all sessions that have it.
                text = " ".join([f"{session}: {TOLD}"] * (given.tokens // 30))
                told = {"role": "user", "content": text}
                client.post(where, json={"messages": [told]}).raise_for_status()
                _turn(client, f"{url}/two/", session, first)
                at = first if kind == "stays" else second
                kinds[kind].append(_turn(client, f"{url}/two/", session, at))
    medians = {
        kind: statistics.median(one["first_token_s"] for one in found)
        for kind, found in kinds.items()
    }
    result = {
        "ratio": round(medians["moves"] / medians["stays"], 2),
        "first_token_s": {kind: round(seconds, 4) for kind, seconds in medians.items()},
        "tokens": given.tokens,
        "model": "vist2-tiny",
        "turns": kinds,
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("ratio", "first_token_s")}))


def _turn(client: httpx.Client, url: str, session: str, at: str) -> dict[str, Any]:
    """A short answer at the replica that the header has chosen, in the router's spelling alone."""
    body = {
        "messages": [{"role": "user", "content": "What is she called?"}],
        "session_id": session,
        "max_tokens": 8,
    }
    reply = client.post(f"{url}v1/chat/completions", json=body, headers={"X_Session_Id": at})
    reply.raise_for_status()
    said = reply.json()["vist2"]
    return {
        "replica": reply.headers["x-replica"],
        "first_token_s": said["timing"]["first_token_s"],
        "visual_tokens": said["usage"]["visual_tokens"],
        "reused_tokens": said["usage"]["reused_tokens"],
    }


@contextmanager
def _served(store: str, apps: dict[str, int]) -> Iterator[str]:
    """The applications, of so many replicas each, on a port of this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    paths = [str(ROOT), str(ROOT / "integrations"), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    import ray
    from ray import serve

    from ray_vist2 import ReplicaOptions, build_app

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="vb", ignore_cleanup_errors=True) as folder:
        ray.init(
            num_cpus=8,  # as many as are asked for; cores are pinned below
            object_store_memory=200 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=folder,
        )
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        try:
            for app, replicas in apps.items():
                options = ReplicaOptions(store=store, replicas=replicas)
                serve.run(build_app(options), name=app, route_prefix=f"/{app}")
            yield f"http://127.0.0.1:{port}"
        finally:
            serve.shutdown()
            ray.shutdown()


def _processes() -> dict[str, list[int]]:
    """Process ids by what they are."""
    import ray

    found: dict[str, list[int]] = {"proxy": [], "ray": [], **{app: [] for app in APPS}}
    for actor in ray._private.state.actors().values():
        if actor["State"] == "ALIVE":
            _, _, what = actor["Name"].partition("SERVE_REPLICA::")
            kind = what.split("#")[0] if what else "ray"
            found["proxy" if "PROXY" in actor["Name"] else kind].append(actor["Pid"])
    node = ray._private.worker._global_node
    for parts in node.all_processes.values():
        found["ray"] += [part.process.pid for part in parts]
    return found


def _pin(app: str, cores: list[int]) -> None:
    """Keep all threads of each replica, and those that they will start, on one core."""
    for pid, core in zip(_processes()[app], cores, strict=False):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})


def _cpu_s(pids: list[int]) -> float:
    """Processor time that these processes have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _used(app: str, store: str) -> dict[str, float]:
    import redis

    found = _processes()
    with redis.Redis.from_url(store) as client:
        info = client.info("cpu")
    return {
        "replicas": _cpu_s(found[app]),
        "proxy": _cpu_s(found["proxy"]),
        "ray": _cpu_s(found["ray"]),
        "store": info["used_cpu_user"] + info["used_cpu_sys"],
    }


def _machine_busy_s() -> float:
    """Processor time of all that runs on this machine."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    busy = sum(map(int, fields[:3])) + sum(map(int, fields[5:8]))
    return busy / os.sysconf("SC_CLK_TCK")


def _run(app: str, url: str, given: argparse.Namespace) -> dict[str, Any]:
    before, began, busy = _used(app, given.store), time.monotonic(), _machine_busy_s()
    told = _load(f"{url}/{app}/", given.seconds, given.sessions)
    took = time.monotonic() - began
    busy = _machine_busy_s() - busy
    used = {what: now - before[what] for what, now in _used(app, given.store).items()}
    used["load"] = told.pop("cpu_s")
    others = max(0.0, busy - sum(used.values()))
    return {
        "answers_per_s": told["answers"] / given.seconds,
        **told,
        "wall_s": round(took, 2),
        "cpu_s": {what: round(seconds, 2) for what, seconds in used.items()},
        "cpu_s_of_others": round(others, 2),
    }


def _load(url: str, seconds: float, sessions: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "load", "--url", url]
    command += ["--seconds", str(seconds), "--sessions", str(sessions)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# -------------------------------------------------------------------------------- what it means


def _result(given: argparse.Namespace, runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """``bound``: what two cores can do for two replicas, over what one does for one replica.

    One replica has a core; what else there is runs on the other. Two share theirs with all else,
    so that an answer takes the sum of all processor time from two cores.
    """
    ratios = [
        two["answers_per_s"] / one["answers_per_s"]
        for one, two in zip(runs["one"], runs["two"], strict=True)
    ]
    each = {
        app: {
            what: sum(run["cpu_s"][what] for run in found)
            / max(1, sum(run["answers"] for run in found))
            for what in found[0]["cpu_s"]
        }
        for app, found in runs.items()
    }
    all_else = sum(seconds for what, seconds in each["two"].items() if what != "replicas")
    return {
        "settings": {
            "seconds": given.seconds,
            "rounds": given.rounds,
            "sessions": given.sessions,
            "tokens": TOKENS,
            "model": "vist2-tiny",
            "cores": os.cpu_count(),
        },
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "bound": round(2 * each["one"]["replicas"] / (each["two"]["replicas"] + all_else), 3),
        "bound_with_cores_of_their_own": round(
            2 * each["one"]["replicas"] / each["two"]["replicas"], 3
        ),
        "cpu_s_per_answer": {
            app: {what: round(seconds, 4) for what, seconds in found.items()}
            for app, found in each.items()
        },
        "runs": runs,
    }


if __name__ == "__main__":
    main()
