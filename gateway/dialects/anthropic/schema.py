"""JSON schemas as Anthropic's structured outputs and strict tools take them: a part of the standard. Pure.

Source: Anthropic's page on structured outputs, and its SDK's changes to schemas. Refused constraints go into
the description, which the model may heed, and are named.
"""

from typing import Any

import msgspec

from gateway.dialects.shared.writer import Dropped

Json = dict[str, Any]

_KEPT = frozenset(
    "$ref $defs definitions type enum const anyOf allOf properties required items title description default pattern "
    "additionalProperties".split()
)
_FORMATS = frozenset("date-time time date duration email hostname uri ipv4 ipv6 uuid".split())
_MAPS = frozenset({"$defs", "definitions", "properties"})
_LISTS = frozenset({"anyOf", "allOf"})
_DEEP = 64


def fitted(schema: Any, path: str, dropped: Dropped) -> Json:
    """Return a schema that is not refused."""
    return _fitted(schema, path, dropped, 0) if isinstance(schema, dict) else {"type": "object"}


def _fitted(schema: Json, path: str, dropped: Dropped, depth: int) -> Json:
    fit: Json = {}
    refused: Json = {}
    for key, value in schema.items():
        name = "anyOf" if key == "oneOf" and "anyOf" not in schema else key
        if depth > _DEEP or not _takes(name, value):
            refused[key] = value
        elif name in _MAPS and isinstance(value, dict):
            fit[name] = {k: _inner(v, path, dropped, depth) for k, v in value.items()}
        elif name in _LISTS and isinstance(value, list):
            fit[name] = [_inner(v, path, dropped, depth) for v in value]
        else:
            fit[name] = _inner(value, path, dropped, depth) if name == "items" else value
    if fit.get("type") == "object" or "properties" in fit:
        if fit.get("additionalProperties", False) is not False:
            dropped.add(f"{path}: additionalProperties")
        fit["additionalProperties"] = False
    if refused:
        for key in refused:
            dropped.add(f"{path}: {key}")
        constraints = ", ".join(f"{key}: {msgspec.json.encode(value).decode()}" for key, value in refused.items())
        before = fit.get("description")
        fit["description"] = (
            f"{before}\n\n{{{constraints}}}" if isinstance(before, str) and before else f"{{{constraints}}}"
        )
    return fit


def _inner(value: Any, path: str, dropped: Dropped, depth: int) -> Any:
    return _fitted(value, path, dropped, depth + 1) if isinstance(value, dict) else value


def _takes(key: str, value: Any) -> bool:
    if key == "minItems":
        return value in (0, 1)
    return value in _FORMATS if key == "format" and isinstance(value, str) else key in _KEPT
