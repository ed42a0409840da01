"""Synthetic conversations with recall questions, for training and for `vist2 eval recall`.

A conversation scatters facts over many turns of talk; each question asks for one of them, or for
something never said. Values are drawn from a huge open set, split in two by checksum, so that a
model must read them and cannot know them; wordings are split too. Needs no outside data.
"""

from vist2_memory.training.synthetic.conversation import generate
from vist2_memory.training.synthetic.dialogue import Conversation, Question, Split
from vist2_memory.training.synthetic.scoring import is_right

__all__ = ["Conversation", "Question", "Split", "generate", "is_right"]
