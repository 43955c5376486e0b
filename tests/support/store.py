"""Journals and stores for tests, written line by line as a worker writes them, and asked by any DuckDB's own means."""

import resource
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from gateway.store.segments import publish, seal, store_files
from gateway.store.views import relations, schema

START_NS = 1_700_000_000_000_000_000

Line = dict[str, Any]


def span(t: str, kind: str, span_id: str, **columns: Any) -> Line:
    """Return one line about a span."""
    return {"t": t, "kind": kind, "span_id": span_id, "trace_id": "0a" * 16, "start_ns": START_NS} | columns


def header(worker: str = "w0") -> Line:
    """Return a journal's first line."""
    return {"t": "journal", "version": 1, "worker": worker, "pid": 1, "started_ns": START_NS, "resource": {}}


def exchange(number: int, *, ended: bool = True, **columns: Any) -> list[Line]:
    """Return the lines of an exchange with one attempt; without its end it is in flight, or was interrupted."""
    root, child = f"{number:016x}", f"f{number:015x}"
    lines = [
        span("start", "SERVER", root, path="/v1/chat/completions"),
        span("span", "CLIENT", child, parent_span_id=root, name="chat m", outcome="ok", **columns),
        span("span", "SERVER", root, path="/v1/chat/completions", outcome="ok", duration_ns=5_000_000, attempts=1),
    ]
    return lines if ended else lines[:1]


def encoded(lines: Iterable[Line]) -> bytes:
    """Return lines as a worker appends them."""
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def journal(data: Path, lines: Iterable[Line] | bytes, name: str = "w0-1") -> Path:
    """Write a journal that nobody holds."""
    path = data / "live" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lines if isinstance(lines, bytes) else encoded(lines))
    return path


def sealed(data: Path, lines: Iterable[Line] | bytes, name: str = "w0-0") -> Path:
    """Make a segment; its journal is gone."""
    path = journal(data, lines, name)
    segment = data / "segments" / f"{name}.duckdb"
    segment.parent.mkdir(exist_ok=True)
    seal(path, segment)
    path.unlink()
    return segment


def small(data: Path) -> Path:
    """Make a store of two sealed exchanges and one live, publish it, and return its folder."""
    sealed(data, [header(), *exchange(1), *exchange(2)])
    journal(data, [header(), *exchange(3)])
    publish(data, *store_files(data))
    return data


Ask = Callable[[str], tuple[list[str], list[tuple[Any, ...]]]]


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """Return a database with all views, whose relations are replaced for each use: views take a while to create."""
    con = duckdb.connect()
    for statement in schema():
        con.execute(statement)
    return con


@contextmanager
def views(segments: Sequence[Path] = (), journals: Sequence[Path] = ()) -> Iterator[Ask]:
    """Yield a function that queries the views over these files, and returns columns and rows. One use at a time."""
    con = _database()
    for statement in relations(segments, journals):
        con.execute(statement)

    def ask(sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        cursor = con.execute(sql)
        return [column[0] for column in cursor.description or ()], cursor.fetchall()

    yield ask


def over(
    sql: str, segments: Sequence[Path] = (), journals: Sequence[Path] = ()
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Ask the views over these files once; return the columns and the rows."""
    with views(segments, journals) as ask:
        return ask(sql)


@contextmanager
def no_file_may_grow(beyond: int = 1) -> Iterator[None]:
    """Let every write to a file of this process fail beyond so many bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (beyond, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
