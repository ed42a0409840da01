"""From LangChain's other ways to remember: histories, and threads that were summarized.

Each history becomes the session of the same name, its messages equal to what LangChain reads there.
Done again, as when an application wrote on meanwhile, only what is new is added.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.messages import BaseMessage

from vist2_memory import VisualMemory
from vist2_memory.errors import InvalidInputError, StoreFormatError
from vist2_memory.memory.histories import read_part


def import_redis_histories(
    memory: VisualMemory, client: Any, *, key_prefix: str = "message_store:"
) -> dict[str, int]:
    """Take in what ``RedisChatMessageHistory`` keeps; by session, how many messages were new.

    ``client``: a client of redis-py for that server. ``key_prefix``: as it was given there; what
    follows it in a key is the session's name. Nothing is deleted there. Raises
    ``StoreFormatError`` for a list of another kind, and ``ConflictError`` for a session that holds
    another conversation; the sessions before it were taken in by then.
    """
    pattern = re.sub(r"[*?\[\]\\]", r"\\\g<0>", key_prefix) + "*"
    found = sorted(map(_text, client.scan_iter(match=pattern, count=1000)))
    return {
        key.removeprefix(key_prefix): _import(
            memory, key, key.removeprefix(key_prefix), reversed(client.lrange(key, 0, -1))
        )
        for key in found
    }


def import_sql_histories(
    memory: VisualMemory, connection: Any, *, table: str = "message_store"
) -> dict[str, int]:
    """Take in what ``SQLChatMessageHistory`` keeps; by session, how many messages were new.

    ``connection``: one of a Python database driver, as ``sqlite3.connect`` or SQLAlchemy's
    ``engine.raw_connection()`` give it. Raises as :func:`import_redis_histories` does.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", table):
        raise InvalidInputError(f"table={table!r} is not allowed: letters, digits, _ and .")
    cursor = connection.cursor()
    cursor.execute(f"SELECT session_id, message FROM {table} ORDER BY id")
    sessions: dict[str, list[Any]] = {}
    for session, message in cursor.fetchall():
        sessions.setdefault(str(session), []).append(message)
    cursor.close()
    return {
        name: _import(memory, f"session {name!r} of {table}", name, messages)
        for name, messages in sessions.items()
    }


def unsummarized_messages(states: Iterable[Any]) -> list[BaseMessage]:
    """The whole conversation of a thread in which ``SummarizationMiddleware`` replaced a part.

    ``states``: what ``agent.get_state_history(config)`` gives, newest first. A checkpointer keeps
    the earlier states, and in them what was replaced. Summaries are left out, and so is what
    was removed otherwise, or said in another branch of the thread.
    """
    whole: dict[str | None, BaseMessage] = {}
    before: dict[str | None, BaseMessage] = {}
    for state in reversed(_one_branch(states)):
        now = {message.id: message for message in state.values.get("messages", ())}
        if not any(_is_summary(message) and id not in before for id, message in now.items()):
            for removed in before.keys() - now.keys():
                whole.pop(removed, None)
        whole |= now
        before = now
    return [message for message in whole.values() if not _is_summary(message)]


def _one_branch(states: Iterable[Any]) -> list[Any]:
    """The newest of ``states`` and those that led to it, newest first."""
    branch: list[Any] = []
    for state in states:
        if not branch or _checkpoint(branch[-1].parent_config) == _checkpoint(state.config):
            branch.append(state)
    return branch


def _checkpoint(config: Mapping[str, Any] | None) -> Any:
    return None if config is None else config["configurable"].get("checkpoint_id")


def _is_summary(message: BaseMessage) -> bool:
    return message.additional_kwargs.get("lc_source") == "summarization"


def _import(memory: VisualMemory, where: str, name: str, written: Iterable[Any]) -> int:
    """Take in messages as ``message_to_dict`` gives them, or the JSON of it, oldest first."""
    parts = []
    for number, one in enumerate(written, 1):
        try:
            message = one if isinstance(one, Mapping) else json.loads(one)
            parts.append(read_part(message, "langchain"))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StoreFormatError(
                f"{where}: message {number} is none of LangChain's: {error}"
            ) from error
    return memory.import_messages(name, parts)


def _text(key: bytes | str) -> str:
    return key.decode("utf-8") if isinstance(key, bytes) else key
