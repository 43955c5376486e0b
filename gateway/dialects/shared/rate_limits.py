"""Rate limits in response headers: the remaining amount of each, and the time of its reset. Pure.

A provider reports several limits at once; a request can succeed again when all that are used up have been reset.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from msgspec import Struct

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TERM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)


class RateLimit(Struct, frozen=True, kw_only=True):
    """The two headers of one limit.

    Attributes:
        remaining: The lower-case name of the header with the remaining amount.
        reset: That of the header with the time of the reset.
        seconds: Reads the latter: its text and the Unix time -> seconds from now, or None if it is unreadable.

    """

    remaining: str
    reset: str
    seconds: Callable[[str, float], float | None]


def resets(headers: Mapping[str, str], limits: Iterable[RateLimit], now: float) -> list[float]:
    """Return the seconds until the reset of each limit that is used up, from headers by lower-case name.

    A limit without the header of the remaining amount counts as used up.
    """
    used_up = [each for each in limits if headers.get(each.remaining, "0").strip() == "0" and each.reset in headers]
    times = [each.seconds(headers[each.reset].strip(), now) for each in used_up]
    return [time for time in times if time is not None]


def go_duration(text: str) -> float | None:
    """Return the seconds of a Go duration; None for anything else.

    >>> go_duration("6m0s"), go_duration("120ms"), go_duration("6")
    (360.0, 0.12, None)
    """
    position, seconds = 0, 0.0
    for term in _TERM.finditer(text):
        if term.start() != position:
            return None
        position = term.end()
        seconds += float(term.group(1)) * _UNITS[term.group(2)]
    return seconds if text and position == len(text) else None


def until_rfc3339(text: str, now: float) -> float | None:
    """Return the seconds until a date with a zone (RFC 3339), 0 if it has passed; None for anything else.

    >>> until_rfc3339("1970-01-01T00:00:09Z", 7.0)
    2.0
    """
    try:
        date = datetime.fromisoformat(text)
        return max(0.0, date.timestamp() - now) if date.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
