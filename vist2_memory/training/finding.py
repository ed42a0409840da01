"""An auxiliary task: while an answer is given, two layers look at the words that it is about.

Next-token loss says little about where to look: most of an answer follows from its first words, and
those follow from anything that stands beside the right place. Which place is right is known in
training. So at every token of an answer the attention of a few heads is raised where the quoted
words stand: in one layer on all of them, in the next on those that are said next. The loss changes
weights alone: nothing is added to the model, and a checkpoint is read as any other.

Source of the idea: attention that is supervised by known alignments, as translation had it (Liu et
al., arXiv 1609.04186); here the alignment is that of an answer with its place in memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.models.qwen3.modeling_qwen3 import apply_rotary_pos_emb

from vist2_memory.model.finder import Finder
from vist2_memory.training.batches import Batch


def finders_of(config: Any) -> tuple[Finder, Finder]:
    """Those of a language model with this configuration, a group of heads each.

    The one, in the middle, looks at all that is said; the other, a layer behind it where there is
    one, at what is said next.
    """
    heads, layers = config.num_attention_heads, config.num_hidden_layers
    group, middle = heads // config.num_key_value_heads, layers // 2
    behind = min(middle + 1, layers - 1)
    return Finder(middle, 0, group), Finder(behind, heads - group, heads)


def attention_on_sought(
    language_model: Any,
    hidden: Tensor,
    batch: Batch,
    allowed: Tensor,
    layer: int,
    sought: Tensor,
) -> Tensor:
    """The logarithm of each head's attention on what is sought, shape (seekers, heads).

    ``language_model``: a ``Qwen3Model``; ``hidden``: what enters its ``layer``, (batch, length,
    hidden size); ``allowed``: see ``masks.attention_allowed``; ``sought``: of the seekers of
    ``batch``, (seekers, 4), as one half of its own.
    """
    block = language_model.layers[layer]
    attention = block.self_attn
    width = attention.head_dim
    entering = block.input_layernorm(hidden)
    asking = entering.flatten(0, 1)[batch.seekers]  # (seekers, hidden size)
    queries = attention.q_norm(attention.q_proj(asking).unflatten(-1, (-1, width)))
    keys = attention.k_norm(attention.k_proj(entering).unflatten(-1, (-1, width)))
    cos, sin = language_model.rotary_emb(hidden, batch.position_ids)  # (batch, length, width)
    at = [part.flatten(0, 1)[batch.seekers] for part in (cos, sin)]
    queries, _ = apply_rotary_pos_emb(queries, queries, *at)  # (seekers, heads, width)
    keys, _ = apply_rotary_pos_emb(keys, keys, cos, sin, unsqueeze_dim=2)
    length, heads = hidden.shape[1], queries.shape[1]
    groups = keys.shape[2]
    rows = batch.seekers // length
    order = torch.arange(length, device=hidden.device)
    first, end, own_first, own_end = sought.T[..., None]  # (seekers, 1) each
    wanted = ((order >= first) & (order < end)) | ((order >= own_first) & (order < own_end))
    told = []
    for row in rows.unique():
        mine = rows == row
        asked = queries[mine].unflatten(1, (groups, heads // groups))
        scores = torch.einsum("sgqw,lgw->sgql", asked, keys[row]).flatten(1, 2).float()
        scores = scores * attention.scaling  # (seekers of the row, heads, length)
        seen = allowed[row, 0][batch.seekers[mine] % length]
        scores = scores.masked_fill(~seen[:, None], -torch.inf)
        on = scores.masked_fill(~wanted[mine][:, None], -torch.inf)
        told.append(on.logsumexp(-1) - scores.logsumexp(-1))
    return torch.cat(told)
