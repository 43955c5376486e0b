"""Gemini's own form of a schema, a part of OpenAPI's, as the JSON schema that all others take."""

from typing import Any

from gateway.dialects.gemini.read_parts import camel
from gateway.dialects.wire.json import fields

# Deeper ones are left as they are.
_DEPTH_MAX = 60

_COUNTS = frozenset("minItems maxItems minLength maxLength minProperties maxProperties".split())
_RENAMED = {"defs": "$defs", "ref": "$ref"}
_OF_GEMINI = frozenset({"nullable", "propertyOrdering", "example"})


def json_schema(schema: Any, depth: int = 0) -> Any:
    """Return a schema as JSON schema.

    Types lose their capitals, `nullable` becomes a type, and properties stand in the order of `propertyOrdering`.
    Counts may be strings, as protobuf's JSON has whole numbers of 64 bits.
    """
    if not isinstance(schema, dict) or depth > _DEPTH_MAX:
        return schema
    written: dict[str, Any] = {}
    renamed = {camel(key): value for key, value in schema.items() if value is not None}
    for key, value in renamed.items():
        if key == "type":
            if value != "TYPE_UNSPECIFIED":
                written["type"] = value.lower() if isinstance(value, str) else value
        elif key == "properties":
            written[key] = _properties(fields(value), renamed.get("propertyOrdering"), depth)
        elif key in {"items", "additionalProperties"}:
            written[key] = json_schema(value, depth + 1)
        elif key in {"anyOf", "prefixItems"} and isinstance(value, list):
            written[key] = [json_schema(each, depth + 1) for each in value]
        elif key == "defs":
            written["$defs"] = {name: json_schema(each, depth + 1) for name, each in fields(value).items()}
        elif key in _COUNTS:
            written[key] = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 19 else value
        elif key == "format" and value == "enum":
            continue
        elif key not in _OF_GEMINI:
            written[_RENAMED.get(key, key)] = value
    if "example" in renamed:
        written["examples"] = [renamed["example"]]
    return _nullable(written) if renamed.get("nullable") is True else written


def _properties(properties: dict[str, Any], order: Any, depth: int) -> dict[str, Any]:
    names = [name for name in order if isinstance(name, str) and name in properties] if isinstance(order, list) else []
    names = list(dict.fromkeys([*names, *properties]))
    return {name: json_schema(properties[name], depth + 1) for name in names}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    elif isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    return schema
