"""What OTLP answers to a request with spans, in the encoding that the request came in."""

from typing import Literal

import msgspec
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

Encoding = Literal["protobuf", "json"]
CONTENT_TYPES: dict[Encoding, str] = {"protobuf": "application/x-protobuf", "json": "application/json"}

# Codes of google.rpc by the status of HTTP.
_CODES = {400: 3, 401: 16, 403: 7, 408: 4, 413: 8, 415: 3, 429: 8, 500: 13, 503: 14}


def encoding_of(content_type: str) -> Encoding | None:
    """Return the encoding that a Content-Type stands for; None for one that OTLP has not."""
    kind = content_type.partition(";")[0].strip().lower()
    for encoding, known in CONTENT_TYPES.items():
        if kind in {known, known.replace("x-", "")}:
            return encoding
    return None


def taken(encoding: Encoding, rejected: int = 0, why: str = "") -> bytes:
    """Return the answer to a request that is taken, but for `rejected` spans."""
    if encoding == "json":
        partial = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": why}} if rejected else {}
        return msgspec.json.encode(partial)
    answer = ExportTraceServiceResponse()
    if rejected:
        answer.partial_success.CopyFrom(ExportTracePartialSuccess(rejected_spans=rejected, error_message=why))
    encoded: bytes = answer.SerializeToString()
    return encoded


def refused(encoding: Encoding, status: int, why: str) -> bytes:
    """Return the answer to a request that is not taken; `status` is HTTP's."""
    code = _CODES.get(status, 2)
    if encoding == "json":
        return msgspec.json.encode({"code": code, "message": why})
    answer: bytes = Status(code=code, message=why).SerializeToString()
    return answer
