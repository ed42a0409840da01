"""Which chunks enter the context when the budget of visual tokens is short.

``choosing`` is the rule that holds for every choice, ``policies`` are the ways to choose, ``bm25``
is how relevant a text is to a question. Nothing here knows a store, an engine or a session.
"""

from vist2_memory.selection.budget import newest_that_fit, share
from vist2_memory.selection.choosing import Candidate, Policy, Selection, choose
from vist2_memory.selection.policies import (
    POLICIES,
    by_score,
    find_policy,
    mixed,
    recent,
    relevant,
)

__all__ = [
    "POLICIES",
    "Candidate",
    "Policy",
    "Selection",
    "by_score",
    "choose",
    "find_policy",
    "mixed",
    "newest_that_fit",
    "recent",
    "relevant",
    "share",
]
