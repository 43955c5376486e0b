"""Metadata of requests: the application, user, run, step and prompt to which a request belongs."""

import re
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec
from msgspec import Struct

from gateway.dialects.registry import TABLES
from gateway.errors import ExchangeError, Kind


class Metadata(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Metadata of a request; absent fields are None. `extra` is a JSON object."""

    application: str | None = None
    environment: str | None = None
    organization_id: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    workflow_id: str | None = None
    workflow_name: str | None = None
    run_id: str | None = None
    step_id: str | None = None
    step_index: int | None = None
    prompt_id: str | None = None
    prompt_version: int | None = None
    extra: dict[str, Any] | None = None


FIELDS = {
    "application": "application",
    "environment": "environment",
    "organization-id": "organization_id",
    "organization": "organization_id",
    "project-id": "project_id",
    "project": "project_id",
    "user-id": "user_id",
    "user": "user_id",
    "workflow-id": "workflow_id",
    "workflow-name": "workflow_name",
    "run-id": "run_id",
    "run": "run_id",
    "step-id": "step_id",
    "step": "step_id",
    "prompt-id": "prompt_id",
    "step-index": "step_index",
    "prompt-version": "prompt_version",
    "extra-meta": "extra",
}
"""The field of `Metadata` by the request option that sets it."""

INTEGERS = frozenset({"step_index", "prompt_version"})
"""Fields with whole numbers."""

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# Readers of the store decode metadata, and Python's own decoder follows some hundred levels.
DEEPEST = 64
"""Levels of nesting that metadata may have."""

_WHOLE = re.compile(r"-?[0-9]{1,9}")


def metadata_of(options: Mapping[str, tuple[str, str]]) -> Metadata:
    """Return the metadata in a request's options, (header, value) by name. Raises ExchangeError with the header."""
    metadata: dict[str, Any] = {}
    for name, (header, value) in options.items():
        field = FIELDS.get(name)
        if field == "extra":
            metadata[field] = json_option(header, value, dict[str, Any], "a JSON object")
        elif field in INTEGERS:
            if (number := whole_number(value)) is None:
                refuse_option(header, "expected a whole number")
            metadata[field] = number
        elif field is not None:
            if header in TABLES.uuid_headers and not UUID.fullmatch(value):
                refuse_option(header, "expected a UUID")
            metadata.setdefault(field, value)
    return Metadata(**metadata)


def whole_number(text: str) -> int | None:
    """Return a whole number of at most nine digits, None for any other text."""
    return int(text) if _WHOLE.fullmatch(text) else None


def json_option(header: str, value: str, kind: Any, expected: str) -> Any:
    """Return a header's value decoded as JSON of a type. Raises ExchangeError with the header and `expected`."""
    try:
        decoded = msgspec.json.decode(value, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as error:
        refuse_option(header, f"expected {expected}: {error}")
    if nested(decoded, DEEPEST):
        refuse_option(header, f"expected {expected}, nested {DEEPEST} levels deep at most")
    return decoded


def nested(value: Any, levels: int) -> bool:
    """Whether a JSON value is nested deeper than so many levels."""
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(levels == 1 or nested(each, levels - 1) for each in below if isinstance(each, dict | list))


def valid_extra(text: str) -> bool:
    """Whether the option `extra-meta` can be recorded: readers of the store decode it."""
    try:
        json_option("", text, dict[str, Any], "")
    except ExchangeError:
        return False
    return True


def refuse_option(header: str, reason: str) -> NoReturn:
    """Raise the ExchangeError of an invalid option."""
    raise ExchangeError(Kind.BAD_INPUT, f"{header}: {reason}", code="bad_option") from None
