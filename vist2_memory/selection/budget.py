"""How far a budget goes; knows only what each chunk costs."""

from __future__ import annotations

from collections.abc import Sequence


def newest_that_fit(costs: Sequence[int], budget: int) -> int:
    """How many chunks to leave out at the old end so that the rest costs at most ``budget``."""
    spent = 0
    for kept, cost in enumerate(reversed(costs)):
        spent += cost
        if spent > budget:
            return len(costs) - kept
    return 0


def share(session: int, documents: int, budget: int) -> tuple[int, int]:
    """Split ``budget`` between a session and the documents it includes.

    Each may use what the other leaves; when both want more, they get a half each.
    """
    half = budget // 2
    if session <= half:
        return session, budget - session
    if documents <= budget - half:
        return budget - documents, documents
    return half, budget - half
