"""Facts in a provider's error body that decide on further attempts: a quota that is used up, a wait. Pure.

Each endpoint reads those of its own API. All of them are applied to any body, as APIs are served under other
dialects too: Google's errors come below OpenAI's paths, and hosts of many makers have their own words.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from gateway.dialects.wire.json import decode, fields, objects, text


class Failure(Struct, frozen=True, kw_only=True):
    """Facts of an error body.

    Attributes:
        exhausted: Whether a quota or credits are used up, so that no wait of minutes helps.
        wait: Seconds to wait before another attempt; None if the body names none.

    """

    exhausted: bool = False
    wait: float | None = None


NOTHING = Failure()

FailureReader = Callable[[Mapping[str, Any], str], Failure]
"""Reads an error: the object that has its fields, and its message ("" without one)."""

_DECODER = msgspec.json.Decoder()
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_UNITS |= {"millisecond": 1e-3, "second": 1.0, "minute": 60.0, "hour": 3600.0}
# "try again in 6m0s", "try again in 250ms", "retry in 34.07s", "retry after 26 seconds"
_TERM = r"\d{1,9}(?:\.\d{1,9})? ?(?:milliseconds?|seconds?|minutes?|hours?|ms|s|m|h)"
_WAIT = re.compile(rf"\b(?:try again|retry) (?:in|after) ((?:{_TERM})+)(?![a-z])", re.ASCII | re.IGNORECASE)
_TERMS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?([a-z]+)", re.ASCII | re.IGNORECASE)


def read_failure(body: bytes, readers: Iterable[FailureReader]) -> Failure:
    """Return the facts of an error body without content coding; `NOTHING` if it cannot be read. Never raises."""
    error = _error(decode(body, _DECODER))
    if not error:
        return NOTHING
    message = text(error.get("message")) or ""
    found = [reader(error, message) for reader in readers]
    waits = [each.wait for each in found if each.wait is not None]
    return Failure(exhausted=any(each.exhausted for each in found), wait=max(waits, default=None))


def words(error: Mapping[str, Any]) -> set[str]:
    """Return the words and numbers by which an error names its type."""
    named = (error.get(name) for name in ("type", "code", "status", "reason"))
    return {str(each) for each in named if isinstance(each, str | int)}


def wait_in(message: str) -> float | None:
    """Return the seconds after which a message asks to try again; None if it does not.

    >>> wait_in("Please try again in 1m2.5s."), wait_in("Please retry after 26 seconds.")
    (62.5, 26.0)
    """
    if (found := _WAIT.search(message)) is None:
        return None
    terms = _TERMS.findall(found[1].lower())
    return sum(float(number) * _UNITS[unit if unit in _UNITS else unit.removesuffix("s")] for number, unit in terms)


def _error(value: Any) -> dict[str, Any]:
    """Return the object that has an error's fields, wherever a body has it; an empty one if it has none."""
    if isinstance(value, list):  # Google's, in place of a stream
        value = next(objects(value), None)
    whole = fields(value)
    inner = whole.get("error", whole.get("detail"))
    if isinstance(inner, dict):
        return inner
    return {**whole, "message": inner} if isinstance(inner, str) else whole
