"""Targets: a client's path joined to the provider's, with each part there once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.routing import urls

BASES = ("/v1", "/openai/v1", "/v1/openai", "/api/v3", "/v1beta/openai", "/anthropic/v1", "/inference/v1")
segments = st.text("ab%2F-._~", min_size=1, max_size=6).filter(lambda text: not text.startswith("v1"))
rests = st.lists(segments, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))


@pytest.mark.parametrize("base", BASES)
@given(rest=rests, versions=st.integers(0, 3))
def test_a_version_stands_there_once(base: str, rest: str, versions: int) -> None:
    """Without, with and with a doubled `/v1`, and with the provider's whole own path, the target is the same."""
    assert urls.join(base, "/v1" * versions + rest) == base + rest
    assert urls.join(base, base + rest) == base + rest


@given(rest=rests)
def test_a_place_without_a_version_is_no_path_of_the_clients(rest: str) -> None:
    """Where the base says none, a segment that is called the same stays: it is the client's."""
    assert urls.join("/models", f"/models{rest}") == f"/models/models{rest}"
    assert urls.join("", f"/v1{rest}") == rest


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        ("", "/v1/models", "/v1/models"),
        ("", "/v1/v1/models", "/v1/models"),
        ("", "/models", "/models"),
        ("/x", "/v1/models", "/x/v1/models"),
        ("/x/v2", "/v1/models", "/x/v2/models"),
        ("", "//odd//v1/", "//odd//v1/"),
    ],
)
def test_where_the_base_says_no_version_the_client_does(base: str, path: str, expected: str) -> None:
    """Its path has one or has none."""
    assert urls.loose(base, path) == expected


NAMES = frozenset({"key", "access_token"})


@pytest.mark.parametrize(
    ("query", "keys", "rest"),
    [
        ("", [], ""),
        ("?", [], "?"),
        ("?alt=sse", [], "?alt=sse"),
        ("?key=a%2Bb+c", ["a+b c"], ""),
        ("?alt=sse&key=a", ["a"], "?alt=sse"),
        ("?key=a&alt=%73se&&x", ["a"], "?alt=%73se&&x"),
        ("?key=a&access_token=b&key=c", ["a", "b", "c"], ""),
        ("?key=", [], ""),
        ("?monkey=a&key2=b", [], "?monkey=a&key2=b"),
    ],
)
def test_keys_are_removed_from_a_query(query: str, keys: list[str], rest: str) -> None:
    """Every other byte of it stays."""
    assert urls.keys_in(query, NAMES) == keys
    assert urls.without_keys(query, NAMES) == rest


@pytest.mark.parametrize("query", ["", "?key=a", "?alt=sse"])
def test_an_endpoint_without_keys_in_its_query_has_none(query: str) -> None:
    """Without names there is nothing to find, and nothing is removed."""
    assert urls.keys_in(query, frozenset()) == []
    assert urls.without_keys(query, frozenset()) == query


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/openai/files", "/x/openai/files"),
        ("/openai/deployments/d/completions", "/x/openai/deployments/d/completions"),
        ("/openai/v1/files", None),
        ("/v1/files", None),
        ("/x/openai/files", None),
    ],
)
def test_a_path_below_the_root_is_below_the_host(path: str, expected: str | None) -> None:
    """It has all that follows the host, unless a version shows that it is meant below a dialect's path."""
    assert urls.below_root("/x/openai/v1", path, "/openai/") == expected
