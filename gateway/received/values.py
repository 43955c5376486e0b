"""OTLP's values as JSON values, and back. What JSON has no form for stands in an object of one key that begins `otlp.`.

    {"otlp.bytes": "AAE="}            bytes, in base64
    {"otlp.double": "NaN"}            or Infinity, or -Infinity
    {"otlp.entries": [["k", 1], ..]}  keys and values that can be no object: one comes twice, or looks like ours

A value that says nothing is null.
"""

import base64
import math
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

_OURS = "otlp."
_BYTES, _DOUBLE, _ENTRIES = "otlp.bytes", "otlp.double", "otlp.entries"


def attributes_in(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Return attributes as a JSON object. OTLP forbids a key to come twice; where one does, the last one stands."""
    return {pair.key: value_in(pair.value) for pair in pairs}


def value_in(value: AnyValue) -> Any:
    """Return a value as JSON."""
    kind = value.WhichOneof("value")
    match kind:
        case None:
            return None
        case "double_value":
            number = value.double_value
            return number if math.isfinite(number) else {_DOUBLE: _name(number)}
        case "bytes_value":
            return {_BYTES: base64.b64encode(value.bytes_value).decode()}
        case "array_value":
            return [value_in(each) for each in value.array_value.values]
        case "kvlist_value":
            pairs = [(pair.key, value_in(pair.value)) for pair in value.kvlist_value.values]
            made = dict(pairs)
            plain = len(made) == len(pairs) and not any(key.startswith(_OURS) for key in made)
            return made if plain else {_ENTRIES: [list(pair) for pair in pairs]}
        case _:
            return getattr(value, kind)


def value_of(value: Any) -> Any:
    """Return what a JSON value stands for: `value_in` undone, but for its type. Entries become a mapping."""
    match value:
        case list():
            return [value_of(each) for each in value]
        case {"otlp.bytes": str(text)}:
            return base64.b64decode(text)
        case {"otlp.double": str(text)}:
            return float(text)
        case {"otlp.entries": list(pairs)}:
            return {key: value_of(each) for key, each in pairs}
        case dict():
            return {key: value_of(each) for key, each in value.items()}
        case _:
            return value


def attributes_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as the SDK has them, of those in JSON. It has no form for a value that says nothing."""
    return {key: value_of(value) for key, value in values.items() if value is not None}


def _name(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"
