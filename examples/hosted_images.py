"""A hosted model that reads its long memory off pages: old text as images, recent text as text.

Needs ``pip install langchain-openai`` and ``OPENAI_API_KEY`` (``OPENAI_BASE_URL`` for a server of
your own). Run it with ``python examples/hosted_images.py``.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from langchain_openai import ChatOpenAI

from langchain_vist2 import VisualHistory
from vist2_memory import VisualMemory


def main() -> None:
    llm = ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-4o"))
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'memory.db'}"
        with VisualMemory.open(url, model="pages:openai") as memory:
            session = memory.session("user-42")
            for day in range(1, 60):
                walks = "I walked to the harbour and read there until the rain came. " * 9
                session.add("user", f"Day {day}: {walks}")
                if day == 3:
                    session.add("user", "My parcel has the number PX-4471-Z8.")
                session.add("assistant", "A quiet day. I will remember it.")

            history = VisualHistory(session)
            chain = history | llm | history.answers()
            print(chain.invoke("What is the number of my parcel?").text)

            sent = session.deliver()
            print(
                f"{len(session.messages())} messages. Sent as pages: {len(sent.pages)}, which "
                f"count {sent.page_tokens} tokens for about "
                f"{sum(page.text_tokens for page in sent.pages)} tokens of text. "
                f"Sent as text: the newest {len(sent.recent)}"
            )


if __name__ == "__main__":
    main()
