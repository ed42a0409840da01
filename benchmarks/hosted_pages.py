"""What a full page costs a hosted model, over what its text would: by provider, as JSON.

    python benchmarks/hosted_pages.py --data DATA/prose/dev.jsonl.xz

Nothing is asked: tokens of pages are counted by the providers' published rules
(`vist2_memory/engine/providers.py`), tokens of text are estimated as the engine estimates them.
"""

from __future__ import annotations

import argparse
import json
from itertools import islice
from pathlib import Path

from vist2_memory.engine.pages import PageEngine
from vist2_memory.engine.providers import PROVIDERS
from vist2_memory.training.data import read_texts

TEXTS, CHARACTERS = 4, 100_000
"""How many texts, and how much of each."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="A file of texts.")
    texts = [text[:CHARACTERS] for text in islice(read_texts(parser.parse_args().data), TEXTS)]
    found = {}
    for name in PROVIDERS:
        engine = PageEngine(name)
        chunks = [chunk for text in texts for chunk in engine.chunker.cut(text)]
        text_tokens, page_tokens = sum(c.tokens for c in chunks), sum(map(engine.cost, chunks))
        found[name] = {"pages": len(chunks), "text_to_page_tokens": text_tokens / page_tokens}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
