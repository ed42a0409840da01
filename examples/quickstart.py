"""Tell a session something, close the store, open it again, and ask.

Run it with ``python examples/quickstart.py``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from vist2_memory import Finished, TextDelta, VisualMemory


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'memory.db'}"

        with VisualMemory.open(url) as memory:
            session = memory.session("user-42")
            session.add("user", "My cat is called Miso. She is three years old.")
            session.add("assistant", "Miso is a lovely name for a cat.")

        with VisualMemory.open(url) as memory:  # as another process would, some days later
            session = memory.session("user-42")
            print(f"{len(session.messages())} messages are still there")
            for event in session.stream("What is my cat called?"):
                if isinstance(event, TextDelta):
                    print(event.text, end="", flush=True)
                elif isinstance(event, Finished):
                    usage = event.usage
                    print(
                        f"\n{usage.visual_tokens} visual tokens for {usage.text_tokens} text "
                        f"tokens, {usage.prompt_text_tokens} more read as text, "
                        f"{event.timing.total_s:.2f} s"
                    )


if __name__ == "__main__":
    main()
