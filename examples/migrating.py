"""From RedisChatMessageHistory and SummarizationMiddleware to visual memory.

Run it with the address of the server that has the old histories, and with that of the new store:

    python examples/migrating.py redis://localhost:6379/0 sqlite:///memory.db
"""

from __future__ import annotations

import sys
from typing import Any

import redis
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import HumanMessage, RemoveMessage
from langchain_core.prompts import ChatPromptTemplate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.message import REMOVE_ALL_MESSAGES

from langchain_vist2 import ChatVIST2, Vist2ChatMessageHistory, VisualMemoryMiddleware
from langchain_vist2.history.migration import import_redis_histories, unsummarized_messages
from vist2_memory import VisualMemory

QUESTION = "What is my cat called?"


def histories(old: str, memory: VisualMemory, llm: ChatVIST2) -> None:
    """Chains with a history in Redis."""
    # Every message comes along as it was: tool calls, ids, usage. The old keys stay; run it once
    # more just before you switch, and only what is new is added.
    with redis.Redis.from_url(old) as client:
        taken = import_redis_histories(memory, client, key_prefix="message_store:")

    for session_id, new in taken.items():
        # Where a chain wants a history: RedisChatMessageHistory(session_id, url=old) becomes
        history = Vist2ChatMessageHistory(session_id, memory=memory)
        print(f"{session_id}: {new} new messages, {len(history.messages)} in all")

        # With ChatVIST2 a chain needs none: the prompt loses its placeholder, and nothing has to be
        # trimmed or summarized. What is old is read as visual tokens.
        prompt = ChatPromptTemplate.from_messages([("human", "{input}")])
        answer = (prompt | llm.bind(session_id=session_id)).invoke({"input": QUESTION})
        tokens = answer.response_metadata["visual_tokens"]
        print(f"{session_id}: {answer.text!r}, with {tokens} visual tokens read")


def agents(memory: VisualMemory, llm: ChatVIST2) -> None:
    """An agent whose older messages were summarized."""
    checkpointer = InMemorySaver()  # yours, with the threads that are in it
    config: Any = {"configurable": {"thread_id": "thread-1"}}
    before = create_agent(
        FakeListChatModel(responses=["Noted."]),
        checkpointer=checkpointer,
        middleware=[
            SummarizationMiddleware(
                model=FakeListChatModel(responses=["They spoke about the garden."]),
                trigger=("messages", 6),
                keep=("messages", 2),
            )
        ],
    )
    for text in ("My cat is called Miso.", "She sleeps in the garden.", "It rains.", "A lot."):
        before.invoke({"messages": [HumanMessage(text)]}, config)
    print(f"thread-1: {len(before.get_state(config).values['messages'])} messages and a summary")

    # The same checkpointer and the same threads, with another middleware.
    after = create_agent(
        llm,
        checkpointer=checkpointer,
        middleware=[VisualMemoryMiddleware(memory, keep_recent=("messages", 2))],
    )
    # What was replaced by summaries is in earlier states, and can be put back, once for a thread.
    whole = unsummarized_messages(after.get_state_history(config))
    after.update_state(config, {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), *whole]})
    state = after.invoke({"messages": [HumanMessage(QUESTION)]}, config)
    print(f"thread-1: {len(state['messages'])} messages, the first {whole[0].text!r}")
    print(f"thread-1: {state['messages'][-1].text!r}")


def main(old: str, new: str) -> None:
    """Both, one after the other."""
    with VisualMemory.open(new) as memory:
        llm = ChatVIST2(model=memory.engine, store=memory.store, max_tokens=24)
        histories(old, memory, llm)
        agents(memory, llm)
        llm.close()


if __name__ == "__main__":
    main(*sys.argv[1:3])
