"""Keys and values kept between generations: what is taken over, copied, dropped."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from tests.support.checkpoints import small_model
from vist2_memory.engine.kv import KVCache
from vist2_memory.engine.prefixes import FEW, Entry, Item, Prefixes, tokens_of

MODEL = small_model().language_model
PLENTY = 2**30
LONG: list[Item] = list(range(100, 130))
CHUNK: Item = ("fingerprint", "chunk", 6)


def prefixes(budget: int = PLENTY, goes_on: bool = False) -> Prefixes:
    return Prefixes(budget, lambda: KVCache(MODEL), lambda held, now: goes_on)


def read(entry: Entry, items: Sequence[Item], fixed: int = 0) -> Entry:
    """What a generation does: run what is not there yet."""
    torch.manual_seed(0)
    entry.cache.append(torch.randn(tokens_of(items) - len(entry.cache), 32))
    entry.items[:] = items
    entry.fixed = fixed
    return entry


def kept(store: Prefixes, items: Sequence[Item], salt: str = "", owner: str = "") -> Entry:
    entry = read(store.begin(salt, owner, items), items)
    store.finish(entry)
    return entry


def test_what_goes_on_is_read_in_place() -> None:
    store = prefixes()
    first = kept(store, LONG)
    second = store.begin("", "", [*LONG, 7, 8])
    assert second is first
    assert len(second.cache) == len(LONG)


@pytest.mark.parametrize("items", [LONG, LONG[:20], [*LONG[:-2], CHUNK]])
def test_at_least_one_token_is_left_to_be_run(items: list[Item]) -> None:
    store = prefixes()
    kept(store, items)
    assert len(store.begin("", "", items).cache) == tokens_of(items) - 1


def test_a_few_tokens_may_be_lost_to_the_next_generation_more_are_copied() -> None:
    for lost, taken in ((FEW, True), (FEW + 1, False)):
        store = prefixes()
        first = kept(store, LONG)
        second = store.begin("", "", [*LONG[: len(LONG) - lost], 7, 8])
        assert (second is first) == taken
        assert len(second.cache) == len(LONG) - lost
        assert len(first.cache) == (len(second.cache) if taken else len(LONG))


def test_what_the_engine_says_goes_on_is_taken_over_whatever_is_lost() -> None:
    store = prefixes(goes_on=True)
    first = kept(store, LONG)
    assert store.begin("", "", [*LONG[:10], CHUNK]) is first
    assert len(first.cache) == 10


def test_of_a_running_generation_only_what_stays_is_copied() -> None:
    store = prefixes()
    running = read(store.begin("", "", LONG), LONG, fixed=20)
    second = store.begin("", "", [*LONG, 7])
    assert second is not running
    assert len(second.cache) == 20
    assert len(running.cache) == len(LONG)


def test_the_longest_common_beginning_is_found() -> None:
    store = prefixes()
    for length in (3, 20, 12):
        kept(store, [*LONG[:length], *range(50)])
    assert len(store.begin("", "", LONG).cache) == 20


def test_another_salt_shares_nothing() -> None:
    store = prefixes()
    kept(store, LONG, "acme")
    assert len(store.begin("other", "", LONG).cache) == 0
    assert len(store.begin("acme", "", LONG).cache) == len(LONG) - 1


def test_chunks_of_other_fingerprints_share_nothing() -> None:
    store = prefixes()
    kept(store, [CHUNK, 1])
    assert len(store.begin("", "", [("another", "chunk", 6), 1]).cache) == 0
    assert len(store.begin("", "", [("fingerprint", "other", 6), 1]).cache) == 0


def test_beyond_the_budget_the_longest_unused_goes_first() -> None:
    one = kept(prefixes(), LONG).cache.allocated
    store = prefixes(budget=2 * one)
    texts = [[i, *LONG] for i in range(3)]
    for text in texts[:2]:
        kept(store, text)
    store.finish(read(store.begin("", "", [*texts[0], 5]), [*texts[0], 5]))  # used again
    kept(store, texts[2])
    assert 0 < store.nbytes <= 2 * one
    assert [len(store.begin("", "", text).cache) for text in texts] == [30, 0, 30]


def test_without_a_budget_nothing_is_kept() -> None:
    store = prefixes(budget=0)
    kept(store, LONG)
    assert len(store) == store.nbytes == 0


@pytest.mark.parametrize("running", [True, False])
def test_what_is_forgotten_is_not_found_and_not_kept_when_it_ends(running: bool) -> None:
    store = prefixes()
    entry = read(store.begin("", "mine", LONG), LONG, fixed=20)
    kept(store, [7, *LONG], owner="yours")
    if not running:
        store.finish(entry)
    store.forget("mine")
    assert len(store.begin("", "yours", LONG).cache) == 0
    store.finish(entry)
    assert len(store.begin("", "yours", LONG).cache) == 0
    assert len(store.begin("", "yours", [7, *LONG]).cache) == 30


def test_after_closing_nothing_is_kept() -> None:
    store = prefixes()
    running = read(store.begin("", "", LONG), LONG)
    kept(store, [7, *LONG])
    store.close()
    store.finish(running)
    kept(store, LONG)
    assert len(store) == store.nbytes == 0


def test_a_prefill_that_failed_is_not_kept() -> None:
    store = prefixes()
    kept(store, LONG)
    entry = store.begin("", "", LONG)  # short of its last token, which is never run
    store.finish(entry)
    assert len(store) == 0
