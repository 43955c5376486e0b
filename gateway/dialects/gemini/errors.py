"""Errors of Google's APIs: a code, a message, and one of gRPC's words. Pure.

Source: google.rpc.Code, whose comments have the HTTP status of each word, and AIP-193.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.dialects.shared.failure import Failure
from gateway.dialects.wire.json import fields, objects

_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
# The status that each word is sent with.
_STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "DATA_LOSS": 500,
    "UNKNOWN": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

# Other dialects' words for an error in the middle of a stream, which has no status.
_STREAMED = {
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "overloaded_error": 503,
    "server_overloaded": 503,
    "throttlingException": 429,
    "serviceUnavailableException": 503,
    "timeout_error": 504,
    "invalid_request_error": 400,
    "validationException": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
}


def status_word(status: int) -> str:
    """Return Google's word for a status."""
    return _WORDS.get(status) or ("INVALID_ARGUMENT" if status < 500 else "INTERNAL")


def write_error(status: int, message: str, word: str | None, request_id: str) -> bytes:
    """Write an error body. A provider's own word that is none of Google's is put in the details."""
    ours = word if word in _STATUSES else status_word(status)
    details: list[dict[str, Any]] = []
    if word and word != ours:
        details.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": word})
    if request_id:
        details.append({"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": request_id})
    error: dict[str, Any] = {"code": status, "message": message, "status": ours}
    return msgspec.json.encode({"error": error | ({"details": details} if details else {})})


def error_fields(word: str | None, message: str | None) -> dict[str, Any]:
    """Return an error that came without a status."""
    status = _STATUSES.get(word or "") or _STREAMED.get(word or "", 500)
    ours = word if word in _STATUSES else status_word(status)
    return {"code": status, "message": message or word or "the stream broke off", "status": ours}


def error_body(word: str | None, message: str | None) -> bytes:
    """Write the same as a body."""
    return msgspec.json.encode({"error": error_fields(word, message)})


_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s", re.ASCII)
# Quotas by the day: "GenerateRequestsPerDayPerProjectPerModel-FreeTier".
_DAILY = re.compile(r"per_?(day|month)|daily", re.IGNORECASE)
_DEPLETED = re.compile(r"your prepayment credits are depleted", re.IGNORECASE)


def read_failure(error: Mapping[str, Any], message: str) -> Failure:
    """Read the details of an error: its RetryInfo's delay, and a used up quota of a day or of an account.

    Source: google.rpc.RetryInfo, QuotaFailure and ErrorInfo; a duration is JSON as protobuf writes it, such as
    "1.200s".
    """
    exhausted, wait = _DEPLETED.match(message) is not None, None
    for detail in objects(error.get("details")):
        kind = str(detail.get("@type", "")).rpartition("/")[2]
        if kind == "google.rpc.RetryInfo" and (delay := _DURATION.fullmatch(str(detail.get("retryDelay", "")))):
            wait = float(delay[1])
        elif kind == "google.rpc.QuotaFailure":
            quotas = [str(each.get("quotaId", "")) for each in objects(detail.get("violations"))]
            exhausted = exhausted or any(_DAILY.search(each) for each in quotas)
        elif kind == "google.rpc.ErrorInfo":
            quota = str(fields(detail.get("metadata")).get("quota_limit", ""))
            exhausted = exhausted or detail.get("reason") == "QUOTA_EXHAUSTED" or _DAILY.search(quota) is not None
    return Failure(exhausted=exhausted, wait=wait)
