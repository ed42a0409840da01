"""The preset and the recipe of vist2-nano: what it offers."""

from __future__ import annotations

from vist2_memory.model.compose import count_parameters
from vist2_memory.model.presets import preset
from vist2_memory.training.stages import RECIPES


def test_the_preset_is_small_and_has_a_geometry_for_each_ratio() -> None:
    config = preset("nano")
    assert 20e6 < sum(count_parameters(config).values()) < 24e6, "24 MB with a byte a weight"
    strips = sorted(each.patches_per_strip for each in config.sketch_geometries)
    assert strips == [1, 2, 3, 4, 5]
    # 64 tokens of a vocabulary of 16,384 are some 270 characters of prose, hardly ever 600
    assert min(each.max_cells for each in config.sketch_geometries) >= 600
    for stage in RECIPES["nano"]:
        stage.strip_shares(0, strips)


def test_the_longest_memories_of_the_recipe_can_be_read_in_every_geometry() -> None:
    config = preset("nano")
    most = max(stage.chunks[1] for stage in RECIPES["nano"])
    costs = [each.visual_tokens(64 * 4) for each in config.sketch_geometries]
    assert most * max(costs) < config.max_visual_tokens
