"""OTLP's attribute values as JSON, and back. A value without a form in JSON becomes an object with one key.

    {"otlp.bytes": "AAE="}            bytes, in base64
    {"otlp.double": "NaN"}            or Infinity, or -Infinity
    {"otlp.entries": [["k", 1], ..]}  a list of keys and values with a repeated key, or one that begins with `otlp.`

An empty value is null.
"""

import base64
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from gateway.errors import GatewayError

_PREFIX = "otlp."
_BYTES, _DOUBLE, _ENTRIES = "otlp.bytes", "otlp.double", "otlp.entries"


VALUES_MAX = 500_000
"""The work that one request may cause, in values: about a second. 8,192 spans with 60 attributes each are within it."""

_left: ContextVar[list[int] | None] = ContextVar("left", default=None)


class TooManyError(GatewayError):
    """The request has more items, attributes or fields than are accepted at once."""


@contextmanager
def limited(most: int = VALUES_MAX) -> Iterator[None]:
    """Limit the number of values that are decoded in the block. Raises TooManyError from there."""
    token = _left.set([most])
    try:
        yield
    finally:
        _left.reset(token)


def spend(values: int) -> None:
    """Count work, in the time of so many values. Raises TooManyError if the limit is exceeded."""
    left = _left.get()
    if left is not None:
        left[0] -= values
        if left[0] < 0:
            raise TooManyError("there are too many items, attributes or fields; send fewer at once")


def decode_attributes(pairs: Sequence[KeyValue]) -> dict[str, Any]:
    """Return attributes as a JSON object. OTLP forbids repeated keys; of several the last one counts."""
    spend(1 + len(pairs))
    return {pair.key: decode_value(pair.value) for pair in pairs}


def decode_value(value: AnyValue) -> Any:
    """Return a value as JSON."""
    kind = value.WhichOneof("value")
    if kind == "string_value":  # by far the most
        return value.string_value
    match kind:
        case None:
            return None
        case "double_value":
            number = value.double_value
            return number if math.isfinite(number) else {_DOUBLE: _name(number)}
        case "bytes_value":
            return {_BYTES: base64.b64encode(value.bytes_value).decode()}
        case "array_value":
            spend(len(value.array_value.values))
            return [decode_value(each) for each in value.array_value.values]
        case "kvlist_value":
            spend(len(value.kvlist_value.values))
            pairs = [(pair.key, decode_value(pair.value)) for pair in value.kvlist_value.values]
            entries = dict(pairs)
            plain = len(entries) == len(pairs) and not any(key.startswith(_PREFIX) for key in entries)
            return entries if plain else {_ENTRIES: [list(pair) for pair in pairs]}
        case _:
            return getattr(value, kind)


def encode_value(value: Any) -> AnyValue:
    """Return the OTLP value of a JSON value: the inverse of `decode_value`."""
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
            return AnyValue(array_value=ArrayValue(values=[encode_value(each) for each in value]))
        case {"otlp.bytes": str(text)}:
            return AnyValue(bytes_value=base64.b64decode(text))
        case {"otlp.double": str(text)}:
            return AnyValue(double_value=float(text))
        case {"otlp.entries": list(pairs)}:
            return AnyValue(kvlist_value=KeyValueList(values=_pairs(pairs)))
        case _:
            return AnyValue(kvlist_value=KeyValueList(values=_pairs(value.items())))


def encode_attributes(values: Mapping[str, Any]) -> list[KeyValue]:
    """Return the OTLP attributes of a JSON object: the inverse of `decode_attributes`."""
    return _pairs(values.items())


def _pairs(items: Iterable[Sequence[Any]]) -> list[KeyValue]:
    return [KeyValue(key=key, value=encode_value(value)) for key, value in items]


def _name(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"
