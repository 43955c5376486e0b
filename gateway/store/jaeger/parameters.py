"""Parameters of Jaeger's API, parsed from query strings as Jaeger's query service parses them. Pure.

A `QueryString` has all values of each name. A value that cannot be parsed raises ParameterError.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

import msgspec
from msgspec import Struct

from gateway.errors import GatewayError

QueryString = Mapping[str, Sequence[str]]

# Defaults of Jaeger's query service, and the largest limit of its UI.
DEFAULT_LIMIT = 100
MOST_TRACES = 1500
_LOOKBACK_US = 48 * 3600 * 1_000_000
_DEPENDENCIES_MS = 24 * 3600 * 1000
# Times are clamped to the range of a TIMESTAMP, with a margin, and durations to that of a BIGINT.
_LATEST_US = 2**60
_LONGEST_NS = 2**62

_TRACE_ID = re.compile(r"[0-9a-f]{1,32}", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)"  # both signs of micro, as Go reads them
_DURATION = re.compile(rf"([+-]?)((?:{_PART})+|0)", re.ASCII)
_PARTS = re.compile(_PART, re.ASCII)
_BACK = re.compile(r"([0-9]{1,9})(s|m|h|d|w)", re.ASCII)
_BACK_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_tags_decoder = msgspec.json.Decoder(dict[str, str])


class ParameterError(GatewayError):
    """A parameter is invalid; the message names it."""


class Search(Struct, frozen=True, kw_only=True):
    """A search for traces with a span that meets all conditions, newest first.

    start_us, end_us: when that span began, Unix microseconds, both included. min_ns, max_ns: how long it took.
    """

    service: str | None = None
    operation: str | None = None
    tags: dict[str, str] = {}
    start_us: int
    end_us: int
    min_ns: int | None = None
    max_ns: int | None = None
    limit: int = DEFAULT_LIMIT


def trace_id(text: str) -> str:
    """Return a trace id as it is stored, in 32 hex digits; leading zeros may be missing in `text`."""
    if len(text) > 32:
        raise ParameterError(f"a trace id has 32 hex digits at most, not {text[:80]!r}")
    if not _TRACE_ID.fullmatch(text):
        raise ParameterError(f"a trace id is made of hex digits, not {text!r}")
    return text.lower().rjust(32, "0")


def trace_ids(query: QueryString) -> list[str]:
    """Return the ids in the parameter traceID, each once, in order."""
    ids = list(dict.fromkeys(trace_id(text) for text in query.get("traceID", ())))
    if len(ids) > MOST_TRACES:
        raise ParameterError(f"ask for {MOST_TRACES} traces at most by traceID, not {len(ids)}")
    return ids


def search(query: QueryString, now_us: int) -> Search:
    """Return the search of GET /api/traces: times in microseconds, durations in Go's notation."""
    service = _one(query, "service")
    if service is None:
        raise ParameterError("the parameter 'service' is required")
    end_us = _time(query, "end", now_us)
    # A UI sends `start` beside `lookback`; a person may not.
    back = _BACK.fullmatch(_one(query, "lookback") or "")
    back_us = int(back[1]) * _BACK_SECONDS[back[2]] * 1_000_000 if back else _LOOKBACK_US
    return _checked(
        Search(
            service=service,
            operation=_one(query, "operation"),
            tags=_tags(query.get("tag", ()), query.get("tags", ())),
            start_us=_time(query, "start", end_us - back_us),
            end_us=end_us,
            min_ns=_duration(query, "minDuration"),
            max_ns=_duration(query, "maxDuration"),
            limit=_limit(query, "limit"),
        )
    )


def search_v3(query: QueryString) -> Search:
    """Return the search of /api/v3/traces and /api/v3/trace-summaries: times as RFC 3339. No service means any."""
    start_us, end_us = (_rfc3339(query, f"query.startTime{which}") for which in ("Min", "Max"))
    if start_us >= end_us:
        raise ParameterError("query.startTimeMin must be before query.startTimeMax")
    depth = next(
        (name for name in ("query.searchDepth", "query.search_depth") if _one(query, name)), "query.num_traces"
    )
    return _checked(
        Search(
            service=_either(query, "query.serviceName")[1],
            operation=_either(query, "query.operationName")[1],
            tags=_tags((), query.get("query.attributes", ()), "query.attributes"),
            start_us=start_us,
            end_us=end_us,
            min_ns=_duration(query, _either(query, "query.durationMin")[0]),
            max_ns=_duration(query, _either(query, "query.durationMax")[0]),
            limit=_limit(query, depth),
        )
    )


def operations(query: QueryString) -> tuple[str, str | None]:
    """Return the service and the kind of span (None: any) of /api/operations."""
    service = _one(query, "service")
    if service is None:
        raise ParameterError("the parameter 'service' is required")
    return service, _either(query, "spanKind")[1]


def dependencies(query: QueryString, now_ms: int) -> tuple[int, int, str | None]:
    """Return the first and the last microsecond of /api/dependencies, and the service or None for all."""
    end = _integer(query, "endTs", now_ms)
    start = end - _integer(query, "lookback", _DEPENDENCIES_MS)
    return _clamped(start * 1000), _clamped(end * 1000), _one(query, "service")


def check_hints(query: QueryString) -> None:
    """Check the times that may come with a trace's id.

    They are only hints: Grafana sends milliseconds instead of microseconds, and shows a trace in whatever period is on
    the screen.
    """
    _time(query, "start", 0)
    _time(query, "end", 0)


def _checked(search: Search) -> Search:
    if search.min_ns and search.max_ns and search.max_ns < search.min_ns:
        raise ParameterError("'maxDuration' should be greater than 'minDuration'")
    return search


def _one(query: QueryString, name: str) -> str | None:
    """Return a parameter's first value, None if it is missing or empty."""
    values = query.get(name, ())
    return values[0] or None if values else None


def _either(query: QueryString, name: str) -> tuple[str, str | None]:
    """Return the name and the value of a parameter that has an older name as well, with underscores."""
    value = _one(query, name)
    if value is not None:
        return name, value
    older = re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)
    return older, _one(query, older)


def _integer(query: QueryString, name: str, default: int) -> int:
    text = _one(query, name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text):
        raise ParameterError(f"cannot read the parameter {name!r}: {text[:80]!r} is not a whole number")
    return int(text)


def _time(query: QueryString, name: str, default: int) -> int:
    return _clamped(_integer(query, name, default))


def _clamped(us: int) -> int:
    return max(0, min(us, _LATEST_US))


def _limit(query: QueryString, name: str) -> int:
    return max(1, min(_integer(query, name, DEFAULT_LIMIT), MOST_TRACES))


def _rfc3339(query: QueryString, canonical: str) -> int:
    """Return a time in Unix microseconds."""
    name, text = _either(query, canonical)
    if text is None:
        raise ParameterError(f"the parameter {canonical} is required")
    try:
        # A plus sign that was not escaped arrives as a space.
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ParameterError(f"cannot read the parameter {name!r}: {text[:80]!r} is not a time of RFC 3339")
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return _clamped((since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds)


def _duration(query: QueryString, name: str) -> int | None:
    """Return a duration like `1.5s`, `100ms` or `1h2m` in nanoseconds; None if it is missing or 0, as in Jaeger."""
    text = _one(query, name)
    if text is None:
        return None
    found = _DURATION.fullmatch(text) if len(text) <= 100 else None
    if found is None:
        raise ParameterError(
            f"cannot read the parameter {name!r}: {text[:80]!r} is not a duration such as 1.5s or 100ms"
        )
    try:
        total = sum((Decimal(number) * _UNITS[unit] for number, unit in _PARTS.findall(found[2])), Decimal(0))
    except InvalidOperation:  # more digits than Decimal keeps
        total = Decimal(_LONGEST_NS)
    nanoseconds = int(min(total, Decimal(_LONGEST_NS)))
    return (-nanoseconds if found[1] == "-" else nanoseconds) or None


def _tags(simple: Sequence[str], encoded: Sequence[str], name: str = "tags") -> dict[str, str]:
    """Return the tags of `key:value` and of JSON objects of strings; `encoded` may be either."""
    tags: dict[str, str] = {}
    for text in encoded:
        if text.lstrip().startswith("{") or ":" not in text:
            try:
                tags |= _tags_decoder.decode(text or "{}")
            except (msgspec.DecodeError, UnicodeError) as error:
                raise ParameterError(f"the parameter {name!r} is a JSON object of strings: {error}") from None
        else:
            tags |= _pair(text)
    for text in simple:
        tags |= _pair(text)
    return tags


def _pair(text: str) -> dict[str, str]:
    key, colon, value = text.partition(":")
    if not colon:
        raise ParameterError(f"the parameter 'tag' is key:value, not {text[:80]!r}")
    return {key: value}
