from typing import Any

import pytest
from google.genai import types

from gateway.dialects.gemini.schema import json_schema


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": "TYPE_UNSPECIFIED", "description": "any"}, {"description": "any"}),
        ({"type": "INTEGER", "nullable": True}, {"type": ["integer", "null"]}),
        ({"type": "INTEGER", "nullable": False}, {"type": "integer"}),
        (
            {"type": "STRING", "format": "enum", "enum": ["a", "b"], "nullable": True},
            {"type": ["string", "null"], "enum": ["a", "b", None]},
        ),
        (
            {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}], "nullable": True},
            {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}]},
        ),
        (
            {"type": "ARRAY", "minItems": "1", "maxItems": 3, "items": {"type": "BOOLEAN"}, "example": [True]},
            {"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": "boolean"}, "examples": [[True]]},
        ),
        ({"any_of": [{"max_length": "5"}]}, {"anyOf": [{"maxLength": 5}]}),
        (
            {"defs": {"x": {"type": "STRING"}}, "properties": {"any_of": {"ref": "#/$defs/x"}}},
            {"$defs": {"x": {"type": "string"}}, "properties": {"any_of": {"$ref": "#/$defs/x"}}},
        ),
        ({"type": "OBJECT", "additionalProperties": False}, {"type": "object", "additionalProperties": False}),
        (
            {"type": ["STRING"], "properties": 7, "maxItems": "many", "enum": None},
            {"type": ["STRING"], "properties": {}, "maxItems": "many"},
        ),
        ("STRING", "STRING"),
        (None, None),
    ],
)
def test_geminis_schemas_are_json_schemas(schema: Any, expected: Any) -> None:
    """Each word of Gemini's own becomes the one that all others know; odd values stay as they are."""
    assert json_schema(schema) == expected


def test_properties_stand_in_the_order_that_is_asked_for() -> None:
    """The order in which the model is to write them is that of the properties; those it leaves out come last."""
    schema = {"properties": {"a": {}, "b": {}, "c": {}}, "propertyOrdering": ["c", "x", "a", "c", 7]}
    assert list(json_schema(schema)["properties"]) == ["c", "a", "b"]


def test_a_schema_that_has_no_end_is_left_as_it_is() -> None:
    """However deep a schema is, nothing raises."""
    schema: dict[str, Any] = {"type": "STRING"}
    for _ in range(300):
        schema = {"type": "ARRAY", "items": schema}
    assert json_schema(schema)["type"] == "array"


def test_the_package_agrees_on_what_a_schema_means() -> None:
    """The JSON Schema that google-genai makes of its own type is the same, but for its form of null."""
    schema = types.Schema.model_validate(
        {
            "type": "OBJECT",
            "properties": {
                "a": {"type": "STRING", "maxLength": 5},
                "b": {"type": "ARRAY", "items": {"type": "NUMBER"}},
            },
            "required": ["a"],
        }
    )
    ours = json_schema(schema.model_dump(mode="json", exclude_none=True, by_alias=True))
    assert ours == schema.json_schema.model_dump(mode="json", exclude_none=True, by_alias=True)
