"""OTLP's trace export: requests are split into spans, each with its resource and scope, and responses are encoded.

A batch may have thousands of spans. Only the outer messages are walked here, and spans are decoded one at a time, so
that an invalid span costs no other one, and that protobuf never holds the interpreter's lock for long.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import msgspec
from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from msgspec import Raw, Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.dialects.wire.content_coding import mended
from gateway.errors import GatewayError

Encoding = Literal["protobuf", "json"]

CONTENT_TYPES: dict[Encoding, str] = {"protobuf": "application/x-protobuf", "json": "application/json"}

# Codes of google.rpc by HTTP status.
_CODES = {400: 3, 401: 16, 403: 7, 408: 4, 413: 8, 415: 3, 429: 8, 500: 13, 503: 14}
_UNKNOWN = 2


class UnreadableError(GatewayError):
    """The request is no valid OTLP; the message names the first error."""


class TooManyError(GatewayError):
    """The request has more spans than are accepted at once."""


class Source(NamedTuple):
    """The resource and the scope of the spans that follow."""

    resource: Resource
    scope: InstrumentationScope
    resource_schema_url: str = ""
    scope_schema_url: str = ""


class Malformed(NamedTuple):
    """A span that cannot be stored; `reason` is for its sender."""

    reason: str


SourcedSpan = tuple[Source, Span | Malformed]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
# Their positions take 20 MB of memory. A Collector's default batch has 8,192 spans, or more if a single request does.
_PARTS_MAX = 100_000


def spans_in_protobuf(body: bytes) -> Iterator[SourcedSpan]:
    """Yield the spans of a request in protobuf. Raises UnreadableError and TooManyError, after the spans before it."""
    for number, resource_spans in _fields(memoryview(body)):
        if number != 1:
            continue
        resource, parts, resource_url = _outer(resource_spans, Resource())
        for part in parts:
            scope, spans, scope_url = _outer(part, InstrumentationScope())
            source = Source(resource, scope, resource_url, scope_url)
            for span in spans:
                yield source, _decoded(span)


def _outer(message: memoryview, owner: Any) -> tuple[Any, list[memoryview], str]:
    """Split a ResourceSpans or a ScopeSpans into its owner (resource or scope), its parts and its schema URL."""
    parts: list[memoryview] = []
    url = ""
    for number, value in _fields(message):
        try:
            match number:
                case 1:
                    owner.MergeFromString(bytes(value))
                case 2:
                    if len(parts) == _PARTS_MAX:
                        raise TooManyError(f"there are more than {_PARTS_MAX} spans of one scope; send fewer at once")
                    parts.append(value)
                case 3:
                    url = bytes(value).decode()
        except (DecodeError, UnicodeDecodeError) as error:
            raise UnreadableError(f"a {type(owner).__name__} cannot be read: {error}") from None
    return owner, parts, url


def _decoded(span: memoryview) -> Span | Malformed:
    try:
        decoded: Span = Span.FromString(bytes(span))
    except DecodeError as error:
        return Malformed(f"it cannot be read ({error})")
    return decoded


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and value of a message's length-delimited fields, in order."""
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


def spans_in_json(body: bytes) -> Iterator[SourcedSpan]:
    """Yield the spans of a request in OTLP's JSON, which has hexadecimal ids. Raises UnreadableError."""
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
        ids = _pop_ids(value)
        links = [_pop_ids(link) for link in value.get("links") or ()]
        span: Span = json_format.ParseDict(value, Span(), ignore_unknown_fields=True)
        for message, own in ((span, ids), *zip(span.links, links, strict=True)):
            message.trace_id, message.span_id = own.get("traceId", b""), own.get("spanId", b"")
        span.parent_span_id = ids.get("parentSpanId", b"")
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        return Malformed(f"it cannot be read ({str(error)[:200]})")
    return span


def _pop_ids(value: dict[str, Any]) -> dict[str, bytes]:
    """Remove the ids of a span or a link, and return them as bytes."""
    return {name: bytes.fromhex(value.pop(name)) for name in _ID_BYTES if value.get(name)}


def encoding_of(content_type: str) -> Encoding | None:
    """Return the encoding of a Content-Type; None if OTLP has no such encoding."""
    media_type = content_type.partition(";")[0].strip().lower()
    for encoding, name in CONTENT_TYPES.items():
        if media_type in {name, name.replace("x-", "")}:
            return encoding
    return None


def success_response(encoding: Encoding, rejected: int = 0, reason: str = "") -> bytes:
    """Return the body of a response to a request that was stored, except for `rejected` spans (partial success)."""
    if encoding == "json":
        partial = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": reason}} if rejected else {}
        return msgspec.json.encode(partial)
    response = ExportTraceServiceResponse()
    if rejected:
        response.partial_success.CopyFrom(ExportTracePartialSuccess(rejected_spans=rejected, error_message=reason))
    encoded: bytes = response.SerializeToString()
    return encoded


def error_response(encoding: Encoding, status: int, message: str) -> bytes:
    """Return the body of a response with an HTTP error status, a google.rpc.Status."""
    code = _CODES.get(status, _UNKNOWN)
    if encoding == "json":
        return msgspec.json.encode({"code": code, "message": message})
    encoded: bytes = Status(code=code, message=message).SerializeToString()
    return encoded
