"""OTLP's export of traces, logs and metrics: requests are split into items, and responses are encoded.

An item is a span, a log record or a metric, with its resource and scope. A batch may have thousands of them. Only the
outer messages are walked here, which have the same fields for every signal, and items are decoded one at a time, so
that an invalid one costs no other one, and that protobuf never holds the interpreter's lock for long.
"""

import base64
import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import msgspec
from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from msgspec import Raw, Struct
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.dialects.wire.content_coding import mended
from gateway.errors import GatewayError
from gateway.tracing.ingest.otlp.values import TooManyError, spend

Encoding = Literal["protobuf", "json"]

CONTENT_TYPES: dict[Encoding, str] = {"protobuf": "application/x-protobuf", "json": "application/json"}

# Codes of google.rpc by HTTP status.
_CODES = {400: 3, 401: 16, 403: 7, 408: 4, 413: 8, 415: 3, 429: 8, 500: 13, 503: 14}
_UNKNOWN = 2


class UnreadableError(GatewayError):
    """The request is no valid OTLP; the message names the first error."""


class Signal(NamedTuple):
    """A kind of telemetry, with its names and messages in OTLP.

    Attributes:
        name: The last segment of the path.
        noun: The plural of its items, for messages.
        item: The message of an item.
        fields: The names of the request's, the resource's and the scope's lists.
        request: The message of a request.
        response: The message of a response.
        rejected: The field of a partial success.

    """

    name: str
    noun: str
    item: type[Message]
    fields: tuple[str, str, str]
    request: type[Message]
    response: type[Message]
    rejected: str

    @property
    def path(self) -> str:
        """The path of its requests."""
        return f"/v1/{self.name}"


TRACES = Signal(
    "traces",
    "spans",
    Span,
    ("resource_spans", "scope_spans", "spans"),
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
    "rejectedSpans",
)
LOGS = Signal(
    "logs",
    "log records",
    LogRecord,
    ("resource_logs", "scope_logs", "log_records"),
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
    "rejectedLogRecords",
)
METRICS = Signal(
    "metrics",
    "metrics",
    Metric,
    ("resource_metrics", "scope_metrics", "metrics"),
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
    "rejectedDataPoints",
)


class Source(NamedTuple):
    """The resource and the scope of the items that follow."""

    resource: Resource
    scope: InstrumentationScope
    resource_schema_url: str = ""
    scope_schema_url: str = ""


class Malformed(NamedTuple):
    """An item that cannot be stored; `reason` is for its sender."""

    reason: str


SourcedItem = tuple[Source, Any]
"""A source, and an item of the signal or Malformed."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
# About a second's work, however small they are. A Collector's default batch has 8,192 items, and each SDK's far fewer.
_PARTS_MAX = 50_000
# Objects of JSON, whose parser is slow: an attribute has two of them.
_OBJECTS_MAX = 600_000
_JSON_ITEM_VALUES, _OBJECT_VALUES = 8, 6
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


class _Parts:
    """Counts the fields of a request's outer messages: its resources, scopes and items."""

    def __init__(self, signal: Signal) -> None:
        self._noun = signal.noun
        self._left = _PARTS_MAX

    def take(self, count: int = 1) -> None:
        """Count some. Raises TooManyError."""
        self._left -= count
        if self._left < 0:
            what = f"{self._noun}, scopes and resources"
            raise TooManyError(f"there are more than {_PARTS_MAX} {what}; send fewer at once")


def items_in(body: bytes, signal: Signal, encoding: Encoding) -> Iterator[SourcedItem]:
    """Yield the items of a request. Raises UnreadableError and TooManyError, perhaps after some items."""
    return _items_in_json(body, signal) if encoding == "json" else _items_in_protobuf(body, signal)


def _items_in_protobuf(body: bytes, signal: Signal) -> Iterator[SourcedItem]:
    count = _Parts(signal)
    for number, of_resource in _fields(memoryview(body), count):
        if number != 1:
            continue
        resource, parts, resource_url = _outer(of_resource, Resource(), count)
        for part in parts:
            scope, items, scope_url = _outer(part, InstrumentationScope(), count)
            source = Source(resource, scope, resource_url, scope_url)
            for item in items:
                yield source, _decoded(item, signal)


def _outer(message: memoryview, owner: Any, count: _Parts) -> tuple[Any, list[memoryview], str]:
    """Split a message of a resource or a scope into its owner, its parts and its schema URL."""
    parts: list[memoryview] = []
    url = ""
    for number, value in _fields(message, count):
        try:
            match number:
                case 1:
                    owner.MergeFromString(bytes(value))
                case 2:
                    parts.append(value)
                case 3:
                    url = bytes(value).decode()
        except (DecodeError, UnicodeDecodeError) as error:
            raise UnreadableError(f"a {type(owner).__name__} cannot be read: {error}") from None
    return owner, parts, url


def _decoded(item: memoryview, signal: Signal) -> Message | Malformed:
    try:
        decoded: Message = signal.item.FromString(bytes(item))
    except DecodeError as error:
        return Malformed(f"it cannot be read ({error})")
    return decoded


def _fields(message: memoryview, count: _Parts) -> Iterator[tuple[int, memoryview]]:
    """Yield number and value of a message's length-delimited fields, in order; all fields are counted."""
    at, end = 0, len(message)
    while at < end:
        count.take()
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == _LENGTH:
            length, at = _varint(message, at)
            if length > end - at:
                raise UnreadableError("the body is cut off within a field")
            yield number, message[at : at + length]
            at += length
        elif wire == _VARINT:
            _, at = _varint(message, at)
        elif wire in _FIXED:
            at += _FIXED[wire]
        else:
            raise UnreadableError(f"the body is no protobuf: there is no wire type {wire}")
    if at != end:
        raise UnreadableError("the body is cut off within a field")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        try:
            byte = message[at]
        except IndexError:
            raise UnreadableError("the body is cut off within a number") from None
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise UnreadableError("the body is no protobuf: a number does not end")


class _OfScope(Struct, rename="camel"):
    scope: dict[str, Any] | None = None
    spans: list[Raw] | None = None
    log_records: list[Raw] | None = None
    metrics: list[Raw] | None = None
    schema_url: str | None = None


class _OfResource(Struct, rename="camel"):
    resource: dict[str, Any] | None = None
    scope_spans: list[_OfScope] | None = None
    scope_logs: list[_OfScope] | None = None
    scope_metrics: list[_OfScope] | None = None
    schema_url: str | None = None


class _Request(Struct, rename="camel"):
    resource_spans: list[_OfResource] | None = None
    resource_logs: list[_OfResource] | None = None
    resource_metrics: list[_OfResource] | None = None


_decoder = msgspec.json.Decoder(_Request)


def _items_in_json(body: bytes, signal: Signal) -> Iterator[SourcedItem]:
    """Yield the items of a request in OTLP's JSON, which has hexadecimal ids."""
    if body.count(b"{") > _OBJECTS_MAX and _STRING.sub(b"", body).count(b"{") > _OBJECTS_MAX:
        raise TooManyError(f"there are more than {_OBJECTS_MAX} objects in JSON; send fewer {signal.noun} at once")
    count = _Parts(signal)
    try:
        try:
            request = _decoder.decode(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            request = _decoder.decode(mended(body))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"the body is no JSON of OTLP: {error}") from None
    resources, scopes, items = signal.fields
    groups = getattr(request, resources) or ()
    count.take(len(groups))
    for of_resource in groups:
        resource = _parsed(of_resource.resource or {}, Resource())
        parts = getattr(of_resource, scopes) or ()
        count.take(len(parts))
        for part in parts:
            scope = _parsed(part.scope or {}, InstrumentationScope())
            source = Source(resource, scope, of_resource.schema_url or "", part.schema_url or "")
            raws = getattr(part, items) or ()
            count.take(len(raws))
            for raw in raws:
                yield source, _item(raw, signal)


def _parsed(value: dict[str, Any], into: Message) -> Any:
    try:
        return json_format.ParseDict(value, into, ignore_unknown_fields=True)
    except (json_format.ParseError, RecursionError) as error:
        raise UnreadableError(f"a {type(into).__name__} cannot be read: {error}") from None


def _item(raw: Raw, signal: Signal) -> Message | Malformed:
    try:
        value = msgspec.json.decode(raw, type=dict[str, Any])
        for each in _with_ids(value, signal):
            _encode_ids(each)
        attributes = value.pop("attributes", None) if isinstance(value.get("attributes"), list) else ()
        spend(_JSON_ITEM_VALUES + _OBJECT_VALUES * _objects(value))
        item: Any = json_format.ParseDict(value, signal.item(), ignore_unknown_fields=True)
        if attributes:
            item.attributes.extend(map(_pair, attributes))
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        return Malformed(f"it cannot be read ({str(error)[:200]})")
    return item


def _objects(value: Any) -> int:
    """Return the number of objects and of items in a JSON value, which the parser takes the same time for."""
    if isinstance(value, dict):
        return 1 + sum(map(_objects, value.values()))
    return len(value) + sum(map(_objects, value)) if isinstance(value, list) else 0


def _pair(value: Any) -> KeyValue:
    """Return an attribute. Those with one plain value, by far the most, are read in a tenth of the parser's time."""
    match value:
        case {"key": str(key), "value": {"stringValue": str(text), **others}} if not others and len(value) == 2:
            return KeyValue(key=key, value=AnyValue(string_value=text))
        case {"key": str(key), "value": {"boolValue": bool(flag), **others}} if not others and len(value) == 2:
            return KeyValue(key=key, value=AnyValue(bool_value=flag))
        case {"key": str(key), "value": {"intValue": str(digits), **others}} if (
            not others and len(value) == 2 and digits.isdecimal() and digits.isascii()
        ):
            return KeyValue(key=key, value=AnyValue(int_value=int(digits)))
    spend(_OBJECT_VALUES * _objects(value))
    pair: KeyValue = json_format.ParseDict(value, KeyValue(), ignore_unknown_fields=True)
    return pair


_IDS = ("traceId", "spanId", "parentSpanId")
_POINTS = ("gauge", "sum", "histogram", "exponentialHistogram")


def _with_ids(item: dict[str, Any], signal: Signal) -> Iterator[dict[str, Any]]:
    """Yield the objects of an item that may have ids: itself and a span's links, or a metric's exemplars."""
    if signal is not METRICS:
        yield item
        yield from item.get("links") or ()
        return
    for data in _POINTS:
        for point in (item.get(data) or {}).get("dataPoints") or ():
            yield from point.get("exemplars") or ()


def _encode_ids(value: dict[str, Any]) -> None:
    """Replace hexadecimal ids by base64, the form of bytes in the JSON of protobuf. Raises ValueError."""
    for name in _IDS:
        if value.get(name):
            value[name] = base64.b64encode(bytes.fromhex(value[name])).decode()


def encoding_of(content_type: str) -> Encoding | None:
    """Return the encoding of a Content-Type; None if OTLP has no such encoding."""
    media_type = content_type.partition(";")[0].strip().lower()
    for encoding, name in CONTENT_TYPES.items():
        if media_type in {name, name.replace("x-", "")}:
            return encoding
    return None


def success_response(signal: Signal, encoding: Encoding, rejected: int = 0, reason: str = "") -> bytes:
    """Return the body of a response to a request that was taken, except for `rejected` items (partial success)."""
    partial = {"partialSuccess": {signal.rejected: str(rejected), "errorMessage": reason}} if rejected else {}
    if encoding == "json":
        return msgspec.json.encode(partial)
    encoded: bytes = json_format.ParseDict(partial, signal.response()).SerializeToString()
    return encoded


def error_response(encoding: Encoding, status: int, message: str) -> bytes:
    """Return the body of a response with an HTTP error status, a google.rpc.Status."""
    code = _CODES.get(status, _UNKNOWN)
    if encoding == "json":
        return msgspec.json.encode({"code": code, "message": message})
    encoded: bytes = Status(code=code, message=message).SerializeToString()
    return encoded
