"""A chat over days: closed in between, and longer than its context, with a look at what is read.

Run it with ``python examples/chat_with_history.py``. The bundled model is very small and often
answers wrongly; what is shown is how much of the talk it read, chosen in two ways.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

from langchain_core.messages import AIMessage, HumanMessage

from langchain_vist2 import ChatVIST2

DAYS = (
    "I walked to the harbour today and watched the boats. The wind was cold.",
    "It rained all day, so I stayed in and read by the fire.",
    "We had soup and bread, and talked about the summer.",
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{Path(folder) / 'memory.db'}"

        with closing(ChatVIST2(store=store, session_id="diary", max_tokens=40)) as llm:
            print(llm.invoke("My cat is called Miso.").text)
            session = llm.memory.session("diary")
            for day in range(40):  # weeks of talk, without answers to keep the example short
                session.add("user", f"Day {day}. {DAYS[day % len(DAYS)]}")
                session.add("assistant", "Thank you for telling me.")

        with closing(ChatVIST2(store=store, session_id="diary", max_tokens=40)) as llm:
            diary = llm.memory.session("diary")
            question = HumanMessage("What is my cat called?")
            for how in ("recent", "relevant"):
                diary.branch(how)  # a copy for each, so that neither hears the other's answer
                reply: AIMessage = llm.invoke([question], session_id=how, budget=200, selection=how)
                told = reply.response_metadata
                print(
                    f"\n{question.text} ({how}) {reply.text}\n  {told['visual_tokens']} visual "
                    f"tokens for {told['text_tokens']} text tokens were read, "
                    f"{told['left_out_tokens']} text tokens were left out"
                )
            print(f"\n{len(diary.messages())} messages are kept")


if __name__ == "__main__":
    main()
