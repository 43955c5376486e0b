"""Moments as people write them on a command line, and as they are shown. Pure."""

import re
from datetime import UTC, datetime, timedelta

from gateway.errors import GatewayError

_AGO = re.compile(r"(\d{1,6})\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MomentError(GatewayError):
    """A text is no moment; the message says how one is written."""


def moment(text: str, now_ns: int) -> int:
    """Return a moment as Unix nanoseconds: `90m`, `12h`, `1d`, `2w` ago, or an ISO date or time, in UTC if not said.

    Raises MomentError.

    >>> moment("1970-01-02", 0) == moment("1970-01-02T01:00+01:00", 0) == 86400 * 10**9
    True
    """
    if ago := _AGO.fullmatch(text.strip().lower()):
        return max(0, now_ns - int(ago[1]) * _SECONDS[ago[2]] * 10**9)
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise MomentError(
            f"{text!r} is no moment; write 90m, 12h, 1d or 2w (ago), or 2026-11-01 or 2026-11-01T08:30Z"
        ) from None
    since_epoch = (when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH
    return max(0, since_epoch // timedelta(microseconds=1) * 1000)


def iso(time_ns: int) -> str:
    """Return a moment as ISO 8601 in UTC.

    >>> iso(1_500_000_000)
    '1970-01-01T00:00:01.500000Z'
    """
    when = _EPOCH + timedelta(microseconds=time_ns // 1000)
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")
