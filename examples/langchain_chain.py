"""A LangChain chain that remembers: the prompt sends one message, the session has the rest.

Run it with ``python examples/langchain_chain.py``.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from langchain_vist2 import ChatVIST2


def main() -> None:
    prompt = ChatPromptTemplate.from_messages([("human", "{said}")])
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'memory.db'}"

        with closing(ChatVIST2(store=url, max_tokens=60)) as llm:
            chain = prompt | llm.bind(session_id="user-42") | StrOutputParser()
            print(chain.invoke({"said": "My cat is called Miso."}))

        with closing(ChatVIST2(store=url, max_tokens=60)) as llm:  # the store, opened again
            chain = prompt | llm.bind(session_id="user-42") | StrOutputParser()
            for text in chain.stream({"said": "What is my cat called?"}):
                print(text, end="", flush=True)
            print(f"\n{len(llm.memory.session('user-42').messages())} messages are kept")


if __name__ == "__main__":
    main()
