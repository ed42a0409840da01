"""A memory that another process opens again."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.engines import CountingEngine, Script
from tests.support.memories import ANSWER, in_a_process, output_of
from vist2_memory import VisualMemory

pytest_plugins = ("tests.support.fixtures",)

REOPEN = """
import json, sys
from pathlib import Path
from tests.support.engines import CountingEngine
from vist2_memory import VisualMemory
from vist2_memory.memory.recollection import recollect
engine = CountingEngine(Path(sys.argv[2]))
with VisualMemory.open(sys.argv[1], model=engine) as memory:
    session = memory.session("a")
    chunks = [[chunk.id, chunk.text] for chunk in session.chunks()]
    found = recollect(memory.store, engine, session.scope, session.chunks())
print(json.dumps([chunks, len(engine.encoded), len(found.visual)]))
"""


def test_a_new_process_finds_the_words_of_the_assistant_in_visual_memory(
    url: str, checkpoint: Path, script: Script
) -> None:
    script.say(ANSWER)
    with VisualMemory.open(url, model=CountingEngine(checkpoint)) as memory:
        session = memory.session("a")
        session.ask("What is my cat called?")
        chunks = [[chunk.id, chunk.text] for chunk in session.chunks()]
    found, encoded, visual = json.loads(output_of(in_a_process(REOPEN, url, str(checkpoint))))
    assert found == chunks
    assert encoded == 0
    assert visual == len(chunks)
    assert "Your cat is called Miso" in "".join(text for _, text in found)
