"""Lists of models, as every dialect has them."""

import json
from typing import Any

import pytest
from anthropic.types import ModelInfo
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Model

from gateway.dialects.shared.model_list import Listed, read_models, write_model_page, write_models

OPENAIS = {"object": "list", "data": [{"id": "gpt-5", "object": "model", "created": 1, "owned_by": "system"}]}
ANTHROPICS = {"data": [{"type": "model", "id": "claude-x", "display_name": "X"}], "has_more": False}


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (OPENAIS, ["gpt-5"]),
        (ANTHROPICS, ["claude-x"]),
        ({"models": [{"name": "models/gemini-3", "version": "1"}]}, ["gemini-3"]),
        ({"models": [{"name": "llama3:latest", "model": "llama3:latest"}]}, ["llama3:latest"]),
        ({"models": [{"name": "tunedModels/mine"}]}, ["tunedModels/mine"]),
        ([{"id": "a/b", "object": "model"}], ["a/b"]),
        ({"data": [], "models": [{"name": "m"}]}, ["m"]),
        ({"data": []}, []),
        ([], []),
        ({"data": [{"id": 1}, {"id": ""}, {}, None, "x", {"id": "m"}]}, ["m"]),
        ({"data": None}, None),
        ({"error": {"message": "no"}}, None),
        ("models", None),
        (None, None),
    ],
)
def test_names_are_read_from_any_dialects_list(body: Any, names: list[str] | None) -> None:
    """And from a bare one; a body that is no list is distinguished from an empty list."""
    read = read_models(json.dumps(body).encode())
    assert (None if read is None else [model.name for model in read]) == names


KEYS = st.sampled_from(["data", "models", "id", "name", "model"])
VALUES = st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner))


@given(st.binary() | VALUES.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    """Any response of a provider is a list, or none."""
    for model in read_models(body) or []:
        assert model.name


def test_a_list_is_what_openais_sdk_reads() -> None:
    """Every entry has what its type wants."""
    body = write_models([Listed("a", "x"), Listed("y/b", "y")], 7.5)
    whole = json.loads(body)
    assert whole["object"] == "list"
    models = [Model.model_validate(each, strict=True) for each in whole["data"]]
    assert [(m.id, m.object, m.created, m.owned_by) for m in models] == [
        ("a", "model", 7, "x"),
        ("y/b", "model", 7, "y"),
    ]


def test_a_list_is_what_anthropics_sdk_reads() -> None:
    """Every entry has what its type wants, and the page is marked as the only one."""
    whole = json.loads(write_model_page([Listed("a", "x"), Listed("b", "y")], 7.5))
    assert [ModelInfo.model_validate(each).id for each in whole.pop("data")] == ["a", "b"]
    assert whole == {"has_more": False, "first_id": "a", "last_id": "b"}
    assert json.loads(write_model_page([], 0))["first_id"] is None


def test_what_a_provider_says_of_a_model_stays() -> None:
    """Under each name, for clients of the same API: how long a prompt may be, what it costs."""
    entry = {"id": "m", "object": "model", "created": 1, "owned_by": "o", "context_length": 8192}
    (kept,) = json.loads(write_models([Listed("x/m", "x", entry)], 7))["data"]
    assert kept == entry | {"id": "x/m"}
    (made,) = json.loads(write_model_page([Listed("x/m", "x", entry)], 7))["data"]
    assert (made["id"], made["display_name"], "context_length" in made) == ("x/m", "x/m", False)
    entry = {"type": "model", "id": "m", "display_name": "M", "created_at": "2026-01-01T00:00:00Z", "max_tokens": 5}
    (kept,) = json.loads(write_model_page([Listed("m", "x", entry)], 7))["data"]
    assert kept == entry | {"lifecycle": "active"}
    (made,) = json.loads(write_models([Listed("m", "x", entry)], 7))["data"]
    assert made == {"id": "m", "object": "model", "created": 7, "owned_by": "x"}
