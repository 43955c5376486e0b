"""`gateway tail`: the last exchanges by SQL, then new ones from the journals.

Following reads appended bytes only, so that it costs nothing while the gateway is idle.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gateway.cli.tables import on_one_line
from gateway.store.query import run_sql

# Columns of the view `exchanges`.
COLUMNS = (
    "started_at",
    "trace_id",
    "path",
    "model",
    "provider",
    "status_code",
    "outcome",
    "duration_ms",
    "input_tokens",
    "output_tokens",
    "retries",
    "error",
)
NARROW = 80
"""Columns of a terminal for which lines are shortened."""

WIDE = 120
"""Columns for whole lines."""

_POLL_SECONDS = 0.2
_READ_BYTES = 1024 * 1024
_END = b'"kind":"SERVER"'


def last(data: Path, count: int) -> list[dict[str, Any]]:
    """Return the newest `count` exchanges, oldest first. Raises QueryError."""
    sql = f"SELECT {', '.join(COLUMNS)}, span_id FROM exchanges ORDER BY started_at DESC LIMIT {count}"  # noqa: S608
    result = run_sql(data, sql, limit=count)
    return [dict(zip(result.columns, row, strict=True)) for row in reversed(result.rows)]


def exchange_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return a journal's row with the columns of the view `exchanges`."""
    started = datetime.fromtimestamp(row["start_ns"] / 1e9, UTC)
    duration = row.get("duration_ns")
    return {
        "started_at": started.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "trace_id": row["trace_id"],
        "path": row.get("path"),
        "model": row.get("request_model"),
        "provider": row.get("provider"),
        "status_code": row.get("http_status"),
        "outcome": row.get("outcome"),
        "duration_ms": None if duration is None else duration / 1e6,
        "input_tokens": row.get("input_tokens"),
        "output_tokens": row.get("output_tokens"),
        "retries": row.get("retries"),
        "error": row.get("error"),
        "span_id": row["span_id"],
    }


class Follower:
    """Reads the lines that are appended to the journals of a data folder from now on."""

    def __init__(self, data: Path) -> None:
        self._live = data / "live"
        self._offsets = {path: path.stat().st_size for path in self._live.glob("*.jsonl")}

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the exchanges that ended since the last call."""
        paths = sorted(self._live.glob("*.jsonl"))
        for path in paths:
            yield from self._appended(path)
        self._offsets = {path: offset for path, offset in self._offsets.items() if path in paths}

    def _appended(self, path: Path) -> Iterator[dict[str, Any]]:
        offset = self._offsets.get(path, 0)
        try:
            with path.open("rb") as file:
                file.seek(offset)
                rest = b""
                while data := file.read(_READ_BYTES):
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        offset += len(line) + 1
                        if line.startswith(b'{"t":"span"') and _END in line:
                            yield from self._parsed(line)
        except FileNotFoundError:
            return
        self._offsets[path] = offset

    @staticmethod
    def _parsed(line: bytes) -> Iterator[dict[str, Any]]:
        try:
            row = msgspec.json.decode(line)
            exchange = exchange_of(row) if row.get("kind") == "SERVER" else None
        except (msgspec.DecodeError, ValueError, KeyError, TypeError):
            return  # a damaged line: the sealer counts it
        if exchange is not None:
            yield exchange


def follow(follower: Follower, sleep: Callable[[float], None] = time.sleep) -> Iterator[dict[str, Any]]:
    """Yield exchanges as they end, forever."""
    while True:
        yield from follower.new()
        sleep(_POLL_SECONDS)


def line_header(*, narrow: bool = False) -> str:
    """Return the header of the columns of `line`."""
    text = f"{'time':<12} {'status':>6} {'ms':>8} {'in':>6} {'out':>6}  {'outcome':<14} "
    return text + ("model" if narrow else f"{'model':<28} trace_id")


def line(row: dict[str, Any], as_json: bool, *, narrow: bool = False) -> str:
    """Return an exchange as one line of text or JSON; `narrow`: within 80 columns, without trace id and error."""
    if as_json:
        return msgspec.json.encode({key: row[key] for key in COLUMNS}).decode()
    duration = row["duration_ms"]
    outcome = row["outcome"] or ""
    if row["retries"]:
        outcome += f" +{row['retries']}"
    text = (
        f"{row['started_at'][11:23]:<12} {_or_dash(row['status_code']):>6} "
        f"{'-' if duration is None else format(duration, '.1f'):>8} "
        f"{_or_dash(row['input_tokens']):>6} {_or_dash(row['output_tokens']):>6}  "
        f"{outcome:<14} "
    )
    model = row["model"] or row["path"] or "-"
    if narrow:
        return on_one_line(text + model)[:NARROW]
    text += f"{model:<28} {row['trace_id']}"
    return on_one_line(f"{text}  {row['error']}" if row["error"] else text)


def _or_dash(value: Any) -> str:
    return "-" if value is None else str(value)
