"""A widened model computes what the narrow one does, and can learn in what is new."""

from __future__ import annotations

import pytest
import torch

from tests.support.checkpoints import small_config, small_model
from vist2_memory.errors import InvalidInputError
from vist2_memory.training.widening import widen


def inputs() -> dict[str, torch.Tensor]:
    """A sequence with three visual tokens."""
    visual = small_config().visual_token_id
    ids = torch.tensor([[20, 21, visual, visual, visual, 22, 30, 25]])
    patches = torch.rand(1, 6, 64, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(1, 6, dtype=torch.bool)
    return {"input_ids": ids, "patches": patches, "patch_mask": mask}


def test_the_logits_stay_the_same() -> None:
    narrow = small_model()
    wide = widen(narrow, small_config(text={"hidden_size": 48, "intermediate_size": 64})).eval()
    assert wide.get_input_embeddings().weight.shape[1] == 48  # type: ignore[index]
    with torch.no_grad():
        expected, found = narrow(**inputs()).logits, wide(**inputs()).logits
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_what_is_new_has_gradients() -> None:
    wide = widen(small_model(), small_config(text={"hidden_size": 48, "intermediate_size": 64}))
    wide(**inputs()).logits.logsumexp(-1).sum().backward()
    layer = wide.language_model.model.layers[0]
    for matrix in (layer.self_attn.o_proj, layer.mlp.down_proj, wide.aligner.projection):
        assert matrix.weight.grad[32:].abs().max() > 0  # type: ignore[index, union-attr]


@pytest.mark.parametrize(
    "changes", [{"hidden_size": 16}, {"num_attention_heads": 8}, {"num_hidden_layers": 3}]
)
def test_nothing_else_may_differ(changes: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError, match="cannot widen"):
        widen(small_model(), small_config(text=changes))
