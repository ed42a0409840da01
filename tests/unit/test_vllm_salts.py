"""What keeps apart what vLLM keeps, before and after something is forgotten."""

from __future__ import annotations

from vist2_memory.engine.vllm.salts import Salts


def test_owners_of_one_namespace_share_and_others_do_not() -> None:
    salts = Salts()
    assert salts.of("acme", "a") == salts.of("acme", "b") == "acme"
    assert salts.of("other", "c") == "other"


def test_what_is_forgotten_turns_the_salt_of_its_namespace_alone() -> None:
    salts = Salts()
    for owner, salt in (("a", "acme"), ("b", "acme"), ("c", "other")):
        salts.of(salt, owner)
    salts.forget("a")
    turned = salts.of("acme", "b")
    assert turned == salts.of("acme", "a") != "acme"
    assert turned.startswith("acme")
    assert salts.of("other", "c") == "other"
    salts.forget("a")
    assert salts.of("acme", "b") not in ("acme", turned)


def test_who_never_asked_has_nothing_that_was_kept() -> None:
    salts = Salts()
    salts.of("acme", "a")
    salts.forget("stranger")
    assert salts.of("acme", "a") == "acme"


def test_an_owner_that_is_not_remembered_turns_all_salts() -> None:
    salts = Salts(owners=2)
    for owner in ("a", "b", "c"):
        salts.of("acme", owner)
    salts.of("other", "d")
    salts.forget("a")
    assert salts.of("acme", "c") != "acme"
    assert salts.of("other", "d") != "other"
