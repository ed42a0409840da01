"""What sessions take in Redis beside their tensors, and how long it takes to list them.

    python benchmarks/sessions.py --store redis://127.0.0.1:6379/0 [--sessions 20000] [--messages 8]

For docs/scale.md. Needs an empty Redis that nobody else uses; messages have some 50 text tokens.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import redis

from vist2_memory.store import open_store
from vist2_memory.store.base import Scope
from vist2_memory.types import Message

RESULT = Path(__file__).parent / "results" / "sessions.json"
TEXT = "My cat is called Miso, and she was born in May in a small village near the sea. " * 3


def main() -> None:
    """Fill the store, and write what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--messages", type=int, default=8)
    given = parser.parse_args()
    with redis.Redis.from_url(given.store) as client, open_store(given.store) as store:
        if client.dbsize():
            raise SystemExit("this Redis is not empty")
        empty, began, cpu = _memory(client), time.perf_counter(), _cpu_s(client)
        for number in range(given.sessions):
            scope = Scope("scale", "session", f"user-{number}")
            for turn in range(0, given.messages, 2):
                said = [
                    Message(role, TEXT, f"{number}-{turn}-{role}", time=1.0)
                    for role in ("user", "assistant")
                ]
                for message in said:  # a question is logged before its answer
                    store.append(scope, [message])
        appends = given.sessions * given.messages
        wrote, cpu = time.perf_counter() - began, _cpu_s(client) - cpu
        began = time.perf_counter()
        listed = len(store.scopes("scale", "session"))
        took = time.perf_counter() - began
        index = client.memory_usage("vist2:{scale}:scopes", samples=0)
        bytes_each = (_memory(client) - empty) / given.sessions
    result = {
        "sessions": given.sessions,
        "messages": given.messages,
        "characters": given.messages * len(TEXT),
        "bytes_per_session": round(bytes_each),
        "bytes_per_session_in_the_namespaces_index": round(index / given.sessions),
        "appends_per_s_of_one_client": round(appends / wrote),
        "server_cpu_s_per_append": round(cpu / appends, 7),
        "list_s": round(took, 3),
        "list_s_per_million": round(took / listed * 1e6, 1),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def _memory(client: redis.Redis) -> int:
    found: int = client.info("memory")["used_memory_dataset"]
    return found


def _cpu_s(client: redis.Redis) -> float:
    found = client.info("cpu")
    return float(found["used_cpu_user"] + found["used_cpu_sys"])


if __name__ == "__main__":
    main()
