"""TODO gateway/tracing/metadata.py."""

import re
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec
from msgspec import Struct

from gateway.errors import ExchangeError, Kind


class Metadata(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a request belongs to. `extra` is a JSON object."""

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
"""What a request belongs to: the field of `Metadata` that an option sets."""


INTEGERS = frozenset({"step_index", "prompt_version"})


# The seed's are UUIDs; ours are any text.
_IDS = frozenset({"run-id", "step-id"})


UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


_WHOLE = re.compile(r"-?[0-9]{1,9}")


def metadata_of(said: Mapping[str, tuple[str, str]]) -> Metadata:
    """Return what headers say a request belongs to. Raises ExchangeError that names the header."""
    metadata: dict[str, Any] = {}
    for name, (header, value) in said.items():
        field = FIELDS.get(name)
        if field == "extra":
            metadata[field] = _json(header, value, dict[str, Any], "a JSON object")
        elif field in INTEGERS:
            if (number := whole_number(value)) is None:
                _refuse(header, "expected a whole number")
            metadata[field] = number
        elif field is not None:
            if name in _IDS and header.startswith("x-chronicle-") and not UUID.fullmatch(value):
                _refuse(header, "expected a UUID")
            metadata.setdefault(field, value)
    return Metadata(**metadata)


def whole_number(text: str) -> int | None:
    """Return a number as a column of whole numbers holds it; None for what is none."""
    return int(text) if _WHOLE.fullmatch(text) else None


def _json(header: str, value: str, kind: Any, expected: str) -> Any:
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        _refuse(header, f"expected {expected}: {error}")


def _refuse(where: str, why: str) -> NoReturn:
    raise ExchangeError(Kind.BAD_INPUT, f"{where}: {why}", code="bad_option") from None
