"""Aliases become candidates: what they may name, what their errors say, and in which order they are tried."""

import random
from collections import Counter
from itertools import permutations

import pytest
from msgspec import structs

from gateway.config.model import Alias
from gateway.config.model import Candidate as Settings
from gateway.errors import ConfigError
from gateway.proxy.routing.aliases import ordered, resolve
from tests.support.fleet import OURS, names, setup


def resolved(toml: str, name: str = "a") -> list[tuple[str, str | None]]:
    """Return what an alias comes to."""
    return names(setup(toml).aliases[name].candidates)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('{provider = "one", model = "m"}', ("one", "m")),
        ('{provider = "one", model = "two/m"}', ("one", "two/m")),
        ('"two/m"', ("two", "m")),
        ('{model = "two/m"}', ("two", "m")),
        ('"openai/gpt-5"', ("openai", "gpt-5")),
        ('"gpt-5"', ("openai", "gpt-5")),
        ('"claude-sonnet-5"', ("anthropic", "claude-sonnet-5")),
        ('"anthropic/claude-sonnet-5"', ("anthropic", "claude-sonnet-5")),
    ],
)
def test_how_a_candidate_may_be_named(said, expected):
    """By its provider and the model there; or as a request would name it: by a prefix, or by its maker's name."""
    assert resolved(f"[aliases.a]\ncandidates = [{said}]") == [expected]


def test_a_candidate_has_all_keys_of_its_provider_or_the_one_it_names():
    """Keys of a pool are told apart by number; a named key is shown alone, and no client's instead of it."""
    toml = '[aliases.a]\ncandidates = ["two/m", {provider = "two", model = "m", api_key_name = "mine"}]'
    pool, single = setup(toml).aliases["a"].candidates
    assert [(each.key_name, each.key) for each in pool.providers] == [("two#1", f"{OURS}-a"), ("two#2", f"{OURS}-b")]
    (only,) = single.providers
    assert (only.key, only.keys, only.key_name, only.takes_client_keys) == (OURS, (), "mine", False)


def test_aliases_stand_in_aliases():
    """Their candidates stand in their place, in their listed order, however deep."""
    toml = """
    [aliases.a]
    candidates = ["one/1", "b", "one/4"]
    [aliases.b]
    order = "random"
    candidates = ["c", "two/3"]
    [aliases.c]
    candidates = ["two/2"]
    """
    assert resolved(toml) == [("one", "1"), ("two", "2"), ("two", "3"), ("one", "4")]


def test_the_weight_of_an_alias_is_shared_among_its_candidates():
    """By their own weights."""
    toml = """
    [aliases.a]
    order = "weighted"
    candidates = [{model = "b", weight = 3.0}, {model = "one/z", weight = 1.0}]
    [aliases.b]
    candidates = [{model = "one/x", weight = 2.0}, {model = "one/y", weight = 4.0}]
    """
    found = setup(toml).aliases["a"].candidates
    assert [(each.model, each.weight) for each in found] == [("x", 1.0), ("y", 2.0), ("z", 1.0)]


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[aliases.a]\ncandidates = []", "$.aliases.a.candidates: the alias has no models"),
        ('[aliases.a]\ncandidates = ["a"]', "$.aliases.a.candidates: the aliases go in a circle (a -> a)"),
        (
            '[aliases.a]\ncandidates = ["b"]\n[aliases.b]\ncandidates = ["c"]\n[aliases.c]\ncandidates = ["b"]',
            "$.aliases.b.candidates: the aliases go in a circle (b -> c -> b)",
        ),
        ('[aliases.a]\ncandidates = ["one/m", "nobody"]', "$.aliases.a.candidates[1]: no provider is known for the"),
        ('[aliases.a]\ncandidates = [{model = ""}]', "$.aliases.a.candidates[0].model is empty"),
        ('[aliases.a]\ncandidates = [""]', "$.aliases.a.candidates[0].model is empty"),
        ('[aliases.a]\ncandidates = ["one/"]', "$.aliases.a.candidates[0]: 'one/' is only a prefix; write one/NAME"),
        (
            '[aliases.a]\ncandidates = [{provider = "onee", model = "m"}]',
            "$.aliases.a.candidates[0].provider: there is no provider 'onee'; did you mean 'one'?",
        ),
        (
            '[aliases.a]\ncandidates = [{provider = "one", model = "m", api_key_name = "yours"}]',
            "$.aliases.a.candidates[0].api_key_name: there is no key 'yours'; there are mine",
        ),
        (
            '[aliases.a]\ncandidates = [{model = "b", api_key_name = "mine"}]\n[aliases.b]\ncandidates = ["one/m"]',
            "$.aliases.a.candidates[0].api_key_name: 'b' is an alias",
        ),
    ],
)
def test_an_alias_that_cannot_work_is_named_by_its_path(toml, said):
    """In a circle, to nothing, to an unknown provider or key: the error says where, and what to write instead."""
    with pytest.raises(ConfigError) as raised:
        setup(toml)
    assert str(raised.value).startswith(said)
    assert OURS not in str(raised.value)


def test_an_error_is_found_wherever_the_alias_is_used():
    """Nothing that is wrong is hidden by the order in which aliases are resolved."""
    bad = {"bad": Alias(candidates=["nobody"])}
    good = {"a": Alias(candidates=["bad"]), "b": Alias(candidates=[Settings(provider="one", model="m")])}
    for order in permutations([*bad, *good]):
        with pytest.raises(ConfigError, match=r"^\$\.aliases\.bad\.candidates\[0\]"):
            resolve({name: (bad | good)[name] for name in order}, {}, setup().providers)


FOUR = setup('[aliases.a]\ncandidates = ["one/1", "one/2", "one/3", "one/4"]').aliases["a"].candidates


def models(candidates) -> str:
    """Return the candidates' models."""
    return "".join(each.model for each in candidates)


def test_listed_is_as_it_is_written():
    """No chance has a part in it."""
    assert {models(ordered(FOUR, "listed", lambda _: None, random.Random(n))) for n in range(20)} == {"1234"}


def test_random_begins_anywhere_and_goes_on_in_the_listed_order():
    """Each place is begun at about as often, and what follows is the list, round."""
    rng = random.Random(4711)
    seen = Counter(models(ordered(FOUR, "random", lambda _: None, rng)) for _ in range(4000))
    assert set(seen) == {"1234", "2341", "3412", "4123"}
    assert all(900 < count < 1100 for count in seen.values())


def test_weighted_draws_without_putting_back():
    """Who is first, and who is second after whom, is by weight."""
    weighted = [structs.replace(each, weight=w) for each, w in zip(FOUR, (4.0, 3.0, 2.0, 1.0), strict=True)]
    rng = random.Random(4711)
    drawn = [models(ordered(weighted, "weighted", lambda _: None, rng)) for _ in range(20_000)]
    assert all(sorted(each) == list("1234") for each in drawn)
    first = Counter(each[0] for each in drawn)
    for model, share in zip("1234", (0.4, 0.3, 0.2, 0.1), strict=True):
        assert abs(first[model] / len(drawn) - share) < 0.015
    after_one = [each[1] for each in drawn if each[0] == "1"]
    for model, share in zip("234", (3 / 6, 2 / 6, 1 / 6), strict=True):
        assert abs(after_one.count(model) / len(after_one) - share) < 0.025


def test_fastest_begins_with_those_that_nobody_has_tried():
    """So that they are; then by the time to first byte, those last that never answered."""
    seconds = {"1": 0.5, "2": None, "3": 0.2, "4": float("inf")}
    found = ordered(FOUR, "fastest", lambda each: seconds[each.model or ""], random.Random(0))
    assert models(found) == "2314"
