"""Times on the command line: parsed to Unix nanoseconds, and written as ISO 8601. Pure.

A date alone is its midnight.
"""

import re
from datetime import UTC, datetime, timedelta

from gateway.errors import GatewayError

_AGO = re.compile(r"(\d{1,6})\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TimeError(GatewayError):
    """A text is not a time; the message lists the accepted forms."""


def unix_ns(text: str, now_ns: int) -> int:
    """Return a time in Unix nanoseconds: `90m`, `12h`, `1d`, `2w` ago, or an ISO date or time, in UTC by default.

    Raises TimeError.

    >>> unix_ns("1970-01-02", 0) == unix_ns("1970-01-02T01:00+01:00", 0) == 86400 * 10**9
    True
    """
    if ago := _AGO.fullmatch(text.strip().lower()):
        return max(0, now_ns - int(ago[1]) * _SECONDS[ago[2]] * 10**9)
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise TimeError(
            f"{text!r} is not a time; write 90m, 12h, 1d or 2w (ago), or 2026-11-01 or 2026-11-01T08:30Z"
        ) from None
    since_epoch = (time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH
    return max(0, since_epoch // timedelta(microseconds=1) * 1000)


def iso(time_ns: int) -> str:
    """Return a time in Unix nanoseconds as ISO 8601 in UTC.

    >>> iso(1_500_000_000)
    '1970-01-01T00:00:01.500000Z'
    """
    time = _EPOCH + timedelta(microseconds=time_ns // 1000)
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def period(where: str | None, since: str | None, until: str | None, now_ns: int) -> str:
    r"""Return the condition for spans of a period that also meet `where`, a condition of SQL. Raises TimeError.

    `since` is included and `until` is not; None leaves that end open. Both are parsed by `unix_ns`.
    `now_ns` is the current time in Unix nanoseconds.

    >>> period("kind = 'CLIENT'", "1970-01-01T00:00:01Z", None, 0)
    "start_ns >= 1000000000 AND (\nkind = 'CLIENT'\n)"
    """
    bounds = [
        f"start_ns {operator} {unix_ns(text, now_ns)}" for operator, text in ((">=", since), ("<", until)) if text
    ]
    return " AND ".join([*bounds, f"(\n{where or 'true'}\n)"])
