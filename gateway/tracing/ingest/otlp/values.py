"""OTLP's values as JSON values, and back. What JSON has no form for stands in an object of one key that begins `otlp.`.

    {"otlp.bytes": "AAE="}            bytes, in base64
    {"otlp.double": "NaN"}            or Infinity, or -Infinity
    {"otlp.entries": [["k", 1], ..]}  keys and values that can be no object: one comes twice, or looks like ours

A value that says nothing is null.
"""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

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


def value_of(value: Any) -> AnyValue:
    """Return what a JSON value stands for: `value_in` undone."""
    match value:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
        case list():
            return AnyValue(array_value=ArrayValue(values=[value_of(each) for each in value]))
        case {"otlp.bytes": str(text)}:
            return AnyValue(bytes_value=base64.b64decode(text))
        case {"otlp.double": str(text)}:
            return AnyValue(double_value=float(text))
        case {"otlp.entries": list(pairs)}:
            return AnyValue(kvlist_value=KeyValueList(values=_pairs(pairs)))
        case _:
            return AnyValue(kvlist_value=KeyValueList(values=_pairs(value.items())))


def attributes_of(values: Mapping[str, Any]) -> list[KeyValue]:
    """Return attributes as OTLP has them, of those in JSON."""
    return _pairs(values.items())


def _pairs(items: Iterable[Sequence[Any]]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value_of(value)) for key, value in items]


def _name(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"
