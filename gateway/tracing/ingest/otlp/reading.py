"""A request of OTLP, taken apart: spans one at a time, each with its resource and its scope.

A batch may have thousands of spans. The outer messages are walked through here, and only a span is ever decoded at
once: what is wrong with one does not concern the others, and a thread that reads is at no time long within protobuf.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from msgspec import Raw, Struct
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.dialects.wire.content_coding import mended
from gateway.errors import GatewayError


class UnreadableError(GatewayError):
    """The request is no OTLP; the message says where it stops to be."""


class TooManyError(GatewayError):
    """The request has more in it than is read at once."""


class Source(NamedTuple):
    """Whose spans those that follow are."""

    resource: Resource
    scope: InstrumentationScope
    resource_schema_url: str = ""
    scope_schema_url: str = ""


class Malformed(NamedTuple):
    """What stands where a span should; `why` is for who sent it."""

    why: str


Read = tuple[Source, Span | Malformed]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
# Where each is, is held in memory: 20 MB. A Collector's batch is of 8,192 where it is not told otherwise, or of more
# where one request takes it beyond that.
_PARTS_MAX = 100_000


def spans_in_protobuf(body: bytes) -> Iterator[Read]:
    """Give the spans of a request in protobuf. Raises UnreadableError and TooManyError, where it is met."""
    for number, resource_spans in _fields(memoryview(body)):
        if number != 1:
            continue
        resource, parts, resource_url = _outer(resource_spans, Resource())
        for part in parts:
            scope, spans, scope_url = _outer(part, InstrumentationScope())
            source = Source(resource, scope, resource_url, scope_url)
            for span in spans:
                yield source, _decoded(span)


def _outer(message: memoryview, of: Any) -> tuple[Any, list[memoryview], str]:
    """Take a ResourceSpans or a ScopeSpans apart: what it is of, decoded into `of`, its parts, its schema's URL."""
    parts: list[memoryview] = []
    url = ""
    for number, value in _fields(message):
        try:
            match number:
                case 1:
                    of.MergeFromString(bytes(value))
                case 2:
                    if len(parts) == _PARTS_MAX:
                        raise TooManyError(f"there are more than {_PARTS_MAX} spans of one scope; send fewer at once")
                    parts.append(value)
                case 3:
                    url = bytes(value).decode()
        except (DecodeError, UnicodeDecodeError) as error:
            raise UnreadableError(f"a {type(of).__name__} cannot be read: {error}") from None
    return of, parts, url


def _decoded(span: memoryview) -> Span | Malformed:
    try:
        read: Span = Span.FromString(bytes(span))
    except DecodeError as error:
        return Malformed(f"it cannot be read ({error})")
    return read


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Give the fields of a message that have a length, in order, by number."""
    at, end = 0, len(message)
    while at < end:
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


class _ScopeSpans(Struct, rename="camel"):
    scope: dict[str, Any] | None = None
    spans: list[Raw] | None = None
    schema_url: str | None = None


class _ResourceSpans(Struct, rename="camel"):
    resource: dict[str, Any] | None = None
    scope_spans: list[_ScopeSpans] | None = None
    schema_url: str | None = None


class _Request(Struct, rename="camel"):
    resource_spans: list[_ResourceSpans] | None = None


_decoder = msgspec.json.Decoder(_Request)
_ID_BYTES = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def spans_in_json(body: bytes) -> Iterator[Read]:
    """Give the spans of a request in OTLP's JSON: ids are hexadecimal there. Raises UnreadableError."""
    try:
        try:
            request = _decoder.decode(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            request = _decoder.decode(mended(body))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"the body is no JSON of OTLP: {error}") from None
    for resource_spans in request.resource_spans or ():
        resource = _parsed(resource_spans.resource or {}, Resource())
        for part in resource_spans.scope_spans or ():
            scope = _parsed(part.scope or {}, InstrumentationScope())
            source = Source(resource, scope, resource_spans.schema_url or "", part.schema_url or "")
            for raw in part.spans or ():
                yield source, _span(raw)


def _parsed(value: dict[str, Any], into: Message) -> Any:
    try:
        return json_format.ParseDict(value, into, ignore_unknown_fields=True)
    except (json_format.ParseError, RecursionError) as error:
        raise UnreadableError(f"a {type(into).__name__} cannot be read: {error}") from None


def _span(raw: Raw) -> Span | Malformed:
    try:
        value = msgspec.json.decode(raw, type=dict[str, Any])
        ids = _taken(value)
        links = [_taken(link) for link in value.get("links") or ()]
        span: Span = json_format.ParseDict(value, Span(), ignore_unknown_fields=True)
        for message, own in ((span, ids), *zip(span.links, links, strict=True)):
            message.trace_id, message.span_id = own.get("traceId", b""), own.get("spanId", b"")
        span.parent_span_id = ids.get("parentSpanId", b"")
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        return Malformed(f"it cannot be read ({str(error)[:200]})")
    return span


def _taken(value: dict[str, Any]) -> dict[str, bytes]:
    """Take the ids out of a span or a link."""
    return {name: bytes.fromhex(value.pop(name)) for name in _ID_BYTES if value.get(name)}
