"""Values of OTLP are encoded as JSON without loss."""

import json
import math

import pytest
from hypothesis import given
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue, KeyValueList

from gateway.tracing.ingest.otlp.values import (
    TooManyError,
    decode_attributes,
    decode_value,
    encode_attributes,
    encode_value,
    limited,
)
from tests.support.otlp_spans import pairs, values


@given(values)
def test_a_value_is_the_same_after_a_round_trip(value):
    """Any value of OTLP is encoded as JSON, and decoded to the same value."""
    assert encode_value(json.loads(json.dumps(decode_value(value), allow_nan=False))) == value


def test_values_without_a_form_in_json():
    """Bytes, NaN, repeated keys, keys with our prefix and empty values are wrapped, or null."""
    nan = encode_value(decode_value(AnyValue(double_value=math.nan)))
    assert math.isnan(nan.double_value)
    assert decode_value(AnyValue(bytes_value=b"\0\1")) == {"otlp.bytes": "AAE="}
    assert decode_value(AnyValue()) is None
    twice = AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="a", value=AnyValue(int_value=n)) for n in (1, 2)]))
    assert decode_value(twice) == {"otlp.entries": [["a", 1], ["a", 2]]}
    ours = AnyValue(kvlist_value=pairs({"otlp.bytes": AnyValue(string_value="AAE=")}))
    for value in (twice, ours):
        assert encode_value(decode_value(value)) == value


def test_attributes_are_an_object():
    """Of a repeated key, which OTLP forbids, the last value counts."""
    given = [KeyValue(key="a", value=AnyValue(int_value=1)), KeyValue(key="a", value=AnyValue(bool_value=True))]
    assert decode_attributes(given) == {"a": True}
    assert encode_attributes({"a": True, "b": [1.5, None]}) == [
        KeyValue(key="a", value=AnyValue(bool_value=True)),
        KeyValue(key="b", value=encode_value([1.5, None])),
    ]


def test_the_number_of_values_is_limited():
    """Within a limit, attributes and the items of arrays and maps are counted; without one nothing is."""
    nested = encode_value([1, [2, 3], {"a": 4}])
    with limited(6):
        assert decode_value(nested) == [1, [2, 3], {"a": 4}]
    with limited(5), pytest.raises(TooManyError):
        decode_value(nested)
    with limited(1), pytest.raises(TooManyError):
        decode_attributes([KeyValue(key="a")])
    assert decode_attributes([KeyValue(key="a")]) == {"a": None}
