"""What a model can do, in numbers: reading its visual tokens out, answering from them, going on,
calling functions.

Every figure comes with an interval of 95%, or as None with the reason why. The data is never
trained on: recall draws held-out values, names and wordings, readback reads what file it is given.
docs/quality.md says what each figure means.
"""

from vist2_memory.text.distance import distance
from vist2_memory.training.evaluate.calls import evaluate_calls
from vist2_memory.training.evaluate.perplexity import evaluate_perplexity
from vist2_memory.training.evaluate.readback import evaluate_readback
from vist2_memory.training.evaluate.recall import evaluate_recall, transcript_of
from vist2_memory.training.evaluate.scores import Progress
from vist2_memory.training.evaluate.text_model import ANSWER_TOKENS

__all__ = [
    "ANSWER_TOKENS",
    "Progress",
    "distance",
    "evaluate_calls",
    "evaluate_perplexity",
    "evaluate_readback",
    "evaluate_recall",
    "transcript_of",
]
