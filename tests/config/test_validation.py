"""Wrong values: each error begins with the path of the value, and names the valid keys or values."""

from typing import Any

import pytest

from gateway.config.model import Config, Provider
from gateway.config.validation import convert
from gateway.errors import ConfigError

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"port": "x"}, "$.port: Expected `int`, got `str`"),
    ({"providers": 3}, "$.providers: Expected `table`, got `int`"),
    ({"prot": 1}, "$.prot: there is no such key; did you mean `port`?"),
    ({"providers": {"a": {}, "b.c": {"timeout": "x"}}}, "$.providers.b.c.timeout: Expected `float | null`, got `str`"),
    ({"providers": {"a": {"headers": {"x": "y", "z": 1}}}}, "$.providers.a.headers.z: Expected `str`, got `int`"),
    # `timeout` is a key of providers, not of circuits.
    ({"circuit": {"timeout": 1}}, "$.circuit.timeout: there is no such key; there are failures, open_seconds, max_"),
    ({"providers": {"a": {"timeuot": 1}}}, "$.providers.a.timeuot: there is no such key; did you mean `timeout`?"),
    ({"aliases": {"a": {}}}, "$.aliases.a: the key `candidates` is missing"),
    (
        {"aliases": {"a": {"candidates": ["x", {"model": "m", "wieght": 1}]}}},
        "$.aliases.a.candidates[1].wieght: there is no such key; did you mean `weight`?",
    ),
    ({"aliases": {"a": {"candidates": [3]}}}, "$.aliases.a.candidates[0]: Expected `str | table`, got `int`"),
    (
        {"aliases": {"a": {"candidates": [], "order": "x"}}},
        "$.aliases.a.order: not a value that this can have; there are listed, random, weighted, fastest",
    ),
    ({"retry": {"increase": {"multiplier": 2}}}, "$.retry.increase: the key `type` is missing"),
    (
        {"retry": {"increase": {"type": "additive", "amount": 1.0, "multiplier": 2}}},
        "$.retry.increase.multiplier: there is no such key; there are type, amount",
    ),
    (
        {"retry": {"increase": {"type": "no"}}},
        "$.retry.increase.type: not a value that this can have; there are constant, exponential, additive",
    ),
]


@pytest.mark.parametrize(("raw", "said"), WRONG, ids=[said.partition(":")[0] for _, said in WRONG])
def test_an_error_names_the_very_value(raw, said):
    """The path is whole, with the names of entries; suggestions are keys of the same table."""
    with pytest.raises(ConfigError) as caught:
        convert(raw, Config)
    assert str(caught.value).startswith(said)


def test_one_entry_can_be_read_alone():
    """An entry that is converted alone has its full path in errors."""
    assert convert({"base_url": "http://x"}, Provider, "$.providers.a") == Provider(base_url="http://x")
    with pytest.raises(ConfigError, match=r"^\$\.providers\.a\.prefix: Expected `str | null`, got `int`$"):
        convert({"prefix": 1}, Provider, "$.providers.a")


def test_no_value_is_repeated():
    """No error repeats a value, which may be a key in the wrong place."""
    for raw in (
        {"providers": {"a": {"dialect": 1, "prefix": ["planted"]}}},
        {"retry": {"increase": {"type": "planted"}}},
        {"retry": {"increase": "planted"}},
        {"port": "planted"},
        {"api_keys": {"a": ["planted"]}},
    ):
        with pytest.raises(ConfigError) as caught:
            convert(raw, Config)
        assert "planted" not in str(caught.value)
