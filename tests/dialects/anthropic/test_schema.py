from copy import deepcopy
from typing import Any

import anthropic
import pytest

from gateway.dialects.anthropic.schema import fitted
from gateway.dialects.shared.writer import Dropped

NESTED = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 3, "format": "phone"},
        "many": {"type": "array", "items": {"type": "object", "properties": {}}, "minItems": 2, "maxItems": 4},
        "one": {"oneOf": [{"type": "integer", "minimum": 1}, {"$ref": "#/$defs/x"}]},
    },
    "$defs": {"x": {"type": "object", "properties": {}, "additionalProperties": True}},
    "required": ["name"],
}


@pytest.mark.parametrize(
    ("schema", "fits", "dropped"),
    [
        (
            {"type": "object", "properties": {"a": {"type": "string"}}},
            {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False},
            [],
        ),
        (
            {"type": "integer", "description": "A count", "minimum": 1},
            {"type": "integer", "description": "A count\n\n{minimum: 1}"},
            ["s: minimum"],
        ),
        ({"type": "string", "format": "phone"}, {"type": "string", "description": '{format: "phone"}'}, ["s: format"]),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}, []),
        ({"type": ["string", "null"], "enum": ["a", None]}, {"type": ["string", "null"], "enum": ["a", None]}, []),
        (
            {"type": "array", "items": {"type": "object"}, "minItems": 1},
            {
                "type": "array",
                "items": {"type": "object", "additionalProperties": False},
                "minItems": 1,
            },
            [],
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            {"type": "object", "additionalProperties": False},
            ["s: additionalProperties"],
        ),
        (
            {"properties": {"a": 7}, "x": {}},
            {
                "properties": {"a": 7},
                "additionalProperties": False,
                "description": "{x: {}}",
            },
            ["s: x"],
        ),
        (7, {"type": "object"}, []),
    ],
)
def test_schemas_become_those_that_are_taken(schema: Any, fits: dict[str, Any], dropped: list[str]) -> None:
    """Objects are closed; refused constraints go into the description, and are named."""
    names = Dropped()
    assert fitted(schema, "s", names) == fits
    assert names.names == dropped


def test_the_sdk_finds_nothing_to_change_any_more() -> None:
    """Anthropic's SDK fits schemas likewise: it leaves ours as they are."""
    before = deepcopy(NESTED)
    fits = fitted(NESTED, "s", Dropped())
    assert anthropic.transform_schema(fits) == fits
    assert before == NESTED


def test_depth_has_an_end() -> None:
    """A schema that nests without end costs no more than a limit."""
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(200):
        schema = {"type": "array", "items": schema}
    names = Dropped()
    fitted(schema, "s", names)
    assert names.names == ["s: items", "s: type"] or set(names.names) == {"s: items", "s: type"}
