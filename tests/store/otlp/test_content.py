"""Content as values: messages and their parts, and tools of every dialect in one form."""

from typing import Any

import pytest

from gateway.store.otlp.content import flat, listed, nested, parts_of, renamed, text_of, texts_of

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def test_attributes_are_renamed_in_order():
    """A name without another stays."""
    assert list(renamed({"a": 1, "b": 2, "c": 3}, {"a": "x", "c": "z"}).items()) == [("x", 1), ("b", 2), ("z", 3)]


@pytest.mark.parametrize("attributes", [{"a": 1, "x": 2}, {"x": 2, "a": 1}])
def test_a_name_that_is_taken_is_not_overwritten(attributes):
    """Both values are still there, whichever comes first."""
    assert renamed(attributes, {"a": "x"}) == attributes


def test_two_names_for_one_lose_no_value():
    """The first attribute gets the new name, and the second keeps its own."""
    assert renamed({"a": 1, "b": 2}, {"a": "x", "b": "x"}) == {"x": 1, "b": 2}


@pytest.mark.parametrize("text", ['[{"a":1},{}]', b'[{"a":1},{}]'])
def test_a_list_of_objects_is_read_from_json(text):
    """Text and bytes alike."""
    assert listed(text) == [{"a": 1}, {}]


@pytest.mark.parametrize(
    "value", [None, 1, [{"a": 1}], "", "no JSON", "{}", "[1]", '[{"a":1},2]', b"\xff", "[" * 100_000]
)
def test_any_other_value_is_no_list_of_objects(value):
    """Wrong types, damaged JSON, and JSON that is nested too deep."""
    assert listed(value) is None


@pytest.mark.parametrize(
    ("message", "parts"),
    [({"parts": [{"a": 1}, 2, None]}, [{"a": 1}]), ({"parts": {"a": 1}}, []), ({"parts": "text"}, []), ({}, [])],
)
def test_parts_are_the_objects_of_a_list(message, parts):
    """Anything else in the place of a part is passed over."""
    assert parts_of(message) == parts


def test_texts_are_those_of_text_parts():
    """Reasoning, and content that is no text, are left out."""
    parts = [
        {"type": "text", "content": "a"},
        {"type": "reasoning", "content": "b"},
        {"type": "text", "content": {"c": 1}},
        {"type": "text"},
        {"type": "text", "content": ""},
    ]
    assert list(texts_of(parts)) == ["a", ""]


@pytest.mark.parametrize(("value", "text"), [("é", "é"), ({"a": 1}, '{"a":1}'), ([1.5], "[1.5]"), (None, "null")])
def test_values_become_text(value, text):
    """A text is unchanged, without quotes; other values are JSON."""
    assert text_of(value) == text


@pytest.mark.parametrize("schema", ["parameters", "input_schema", "inputSchema", "parametersJsonSchema"])
def test_every_name_of_a_schema_becomes_parameters(schema):
    """The other fields of the tool stay."""
    assert flat([{"name": "f", schema: SCHEMA, "strict": True}]) == [
        {"type": "function", "name": "f", "strict": True, "parameters": SCHEMA}
    ]


def test_parameters_that_are_there_are_not_replaced():
    """A second schema stays under its own name."""
    tool = {"type": "function", "name": "f", "parameters": SCHEMA, "input_schema": {}}
    assert flat([tool]) == [tool]


WRAPPED = {"function": {"type": "function"}, "custom": {"type": "custom"}, "toolSpec": {}}


@pytest.mark.parametrize(("wrapper", "beside"), WRAPPED.items(), ids=WRAPPED)
def test_a_wrapped_definition_is_unwrapped(wrapper, beside):
    """`function` and `custom` are OpenAI's, beside their type; `toolSpec` is Bedrock's."""
    (tool,) = flat([{**beside, wrapper: {"name": "f", "description": "d"}}])
    assert tool == {"type": "function", **beside, "name": "f", "description": "d"}


def test_a_wrapped_definition_that_clashes_stays_wrapped():
    """A field on both levels would be lost."""
    tool = {"type": "function", "name": "outer", "function": {"name": "inner"}}
    assert flat([tool]) == nested([tool]) == [tool]


@pytest.mark.parametrize("declarations", ["functionDeclarations", "function_declarations"])
def test_an_entry_with_several_functions_is_split(declarations):
    """Gemini lists functions in one entry, other tools beside them."""
    sent: dict[str, Any] = {declarations: [{"name": "f"}, {"name": "g", "parameters": {}}], "codeExecution": {}}
    assert flat([sent]) == [
        {"type": "function", "name": "f"},
        {"type": "function", "name": "g", "parameters": {}},
        {"type": "codeExecution", "name": "codeExecution", "codeExecution": {}},
    ]


def test_bedrocks_schema_is_unwrapped():
    """`inputSchema` holds `json`; a schema with another key beside it stays whole."""
    (tool,) = flat([{"toolSpec": {"name": "f", "inputSchema": {"json": SCHEMA}}}])
    assert tool["parameters"] == SCHEMA
    (other,) = flat([{"name": "f", "inputSchema": {"json": SCHEMA, "x": 1}}])
    assert other["parameters"] == {"json": SCHEMA, "x": 1}


def test_only_functions_are_nested():
    """Another type of tool has no `function`."""
    assert nested([{"name": "f"}, {"type": "custom", "custom": {"name": "c"}}]) == [
        {"type": "function", "function": {"name": "f"}},
        {"type": "custom", "name": "c"},
    ]
