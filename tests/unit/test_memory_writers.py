"""Several threads and processes write to one session."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from tests.support.memories import ROOT, TALK, engine_of, output_of, plain, said, tell, whole
from vist2_memory import VisualMemory
from vist2_memory.text.transcript import write

pytest_plugins = ("tests.support.fixtures",)


def test_two_threads_add_every_message_once_and_cut_it_once(url: str) -> None:
    memory = plain(store=url)
    session = memory.session("a")

    def add(who: str) -> None:
        for number in range(12):
            session.add("user", f"{who} counts {number} bees in Lisbon", id=f"{who}{number}")

    threads = [threading.Thread(target=add, args=(who,)) for who in ("Anna", "Miso")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_counted(url, memory, ("Anna", "Miso"), 12)


COUNT = """
import sys
from tests.support.plain import PlainEngine
from vist2_memory import VisualMemory
assert "torch" not in sys.modules
with VisualMemory.open(sys.argv[1], model=PlainEngine()) as memory:
    session = memory.session("a")
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(30):
        who = sys.argv[2]
        session.add("user", f"{who} counts {number} bees in Lisbon", id=f"{who}{number}")
"""


def test_two_processes_add_to_one_session_at_once_and_nothing_is_lost_or_cut_twice(
    url: str,
) -> None:
    memory = plain(store=url)
    path = os.pathsep.join([str(ROOT), *sys.path])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COUNT, url, who],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        for who in ("Anna", "Miso")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        output_of(process)
    check_counted(url, memory, ("Anna", "Miso"), 30)


def check_counted(url: str, memory: VisualMemory, names: tuple[str, str], each: int) -> None:
    """Every message is there once, each writer's in order, and all readers see the same cuts."""
    session = memory.session("a")
    texts = [text for _, text in said(session)]
    for who in names:
        own = [text for text in texts if text.startswith(who)]
        assert own == [f"{who} counts {number} bees in Lisbon" for number in range(each)]
    assert len(texts) == 2 * each
    chunks = session.chunks()
    ends = [end for message in session.messages() for end in message.cuts]
    assert ends == [chunk.start + len(chunk.text) for chunk in chunks]
    assert whole(session) == write(said(session))  # type: ignore[arg-type]
    assert all(chunk.tokens == 8 for chunk in chunks)
    with plain(store=url) as again:
        assert again.session("a").chunks() == chunks


def test_a_session_deleted_and_begun_anew_by_another_is_not_mixed_with_the_old_one(
    url: str,
) -> None:
    with plain(store=url) as here, plain(store=url) as there:
        mine = tell(here.session("a"))
        there.session("a").delete()
        new = [("user", f"Something else, {n}.") for n in range(len(TALK) + 1)]
        tell(there.session("a"), new)
        mine.ask("What do you know?")
        assert said(mine)[:-2] == new
        shown = {tokens.chunk_id for tokens in engine_of(here).contexts[0].visual}
        assert shown <= {chunk.id for chunk in there.session("a").chunks()}, "deleted words came up"
