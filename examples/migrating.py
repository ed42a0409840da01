"""From RedisChatMessageHistory and SummarizationMiddleware to visual memory.

Run it with the address of the server that has the old histories, and with that of the new store:

    python examples/migrating.py redis://localhost:6379/0 sqlite:///memory.db
"""

from __future__ import annotations

import sys

import redis
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder

from langchain_vist2 import ChatVIST2, Vist2ChatMessageHistory
from langchain_vist2.migration import import_redis_histories
from vist2_memory import VisualMemory


def main(old: str, new: str) -> None:
    """Take all histories over, and go on with each of them."""
    memory = VisualMemory.open(new)

    # 1. What was said so far. Every message comes along as it was: tool calls, ids, usage. The old
    #    keys stay; run it once more just before you switch, and only what is new is added.
    with redis.Redis.from_url(old) as client:
        taken = import_redis_histories(memory, client, key_prefix="message_store:")
    for session, new_messages in taken.items():
        print(f"{session}: {new_messages} new messages")

    # 2. A chain with history. Before:
    #        RedisChatMessageHistory(session_id, url=old)
    #    It is not trimmed or summarised any more: the model reads what is old as visual tokens.
    def history(session_id: str) -> BaseChatMessageHistory:
        return Vist2ChatMessageHistory(session_id, memory=memory)

    llm = ChatVIST2(store=new, max_tokens=24)
    prompt = ChatPromptTemplate.from_messages(
        [MessagesPlaceholder("history"), ("human", "{input}")]
    )
    for session in taken:
        question = "What is my cat called?"
        given = {"history": history(session).messages, "input": question}
        answer = (prompt | llm).invoke(given)
        history(session).add_messages([*prompt.invoke(given).to_messages()[-1:], answer])
        print(f"{session}: {answer.text}")
        print(f"  read as {answer.response_metadata['visual_tokens']} visual tokens")
    llm.close()
    memory.close()


if __name__ == "__main__":
    main(*sys.argv[1:3])
