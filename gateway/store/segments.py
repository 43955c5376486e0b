"""Segments, DuckDB files that journals are sealed into, and the view file, a database over them all.

Any DuckDB opens the view file and reads live rows, without a lock or a server: it lists segments and journals by path,
and is replaced as a whole whenever that list changes. Files are written for DuckDB 1.5 as well as 2.
"""

import fcntl
import glob
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import msgspec
from msgspec import Struct

from gateway.config.model import MIB
from gateway.errors import GatewayError
from gateway.store.ledger import Ledger, interrupted, lines, read_ledger
from gateway.store.views import (
    LEDGER,
    events_of,
    logs_of,
    quoted,
    received_of,
    relations,
    rows_of,
    schema,
    tables,
    typed,
)

VIEWS = "spans.duckdb"
# Prefix of a merged segment's name, and suffix of the file beside it that lists the segments it replaces.
MERGED = "merged-"
SOURCES = ".sources"

# By default 2.0 writes files that 1.5 cannot read.
STORAGE = "(STORAGE_VERSION 'v1.5.0', ROW_GROUP_SIZE 8192)"
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "256MB",
    "threads": 1,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
# Memory that sealing takes at least, and for each byte of the longest line, as measured with both versions.
_SEAL_BYTES, _SEAL_BYTES_PER_BYTE = 512 * MIB, 24


_CREATE = re.compile(r"\bCREATE (VIEW|MACRO|TABLE)\b")
_OBJECTS = "SELECT " + " + ".join(
    f"(SELECT count(DISTINCT {name}) FROM {function}() WHERE database_name = 'views' AND NOT internal)"
    for function, name in (
        ("duckdb_views", "view_name"),
        ("duckdb_functions", "function_name"),
        ("duckdb_tables", "table_name"),
    )
)


class StoreError(GatewayError):
    """A file of the store cannot be written; the message is DuckDB's."""


class SegmentInfo(Struct, frozen=True, kw_only=True):
    """Size and time of a segment: the Unix time at which it was sealed, soon after its newest row."""

    path: Path
    bytes: int
    newest: float


def store_files(data: Path) -> tuple[list[Path], list[Path]]:
    """Return the segments of a data folder, and the journals without a segment: together they are the store."""
    # Listed before the sources are read: a merged segment exists before its sources are hidden or removed.
    there = _files(data / "segments", ".duckdb")
    merged = {name for path in there for name in replaced_by(path)}
    sealed = {path.stem for path in there} | {name.removesuffix(".duckdb") for name in merged}
    segments = [path for path in there if path.name not in merged]
    return segments, [path for path in _files(data / "live", ".jsonl") if path.stem not in sealed]


def _files(folder: Path, suffix: str) -> list[Path]:
    """Return the files of a suffix. Raises OSError if the folder cannot be read: that is not an empty store."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == suffix)
    except FileNotFoundError:
        return []


def replaced_by(segment: Path) -> list[str]:
    """Return the names of the segments that a merged one replaces; none for a segment of a journal."""
    if not segment.name.startswith(MERGED):
        return []
    try:
        names: list[str] = msgspec.json.decode(segment.with_suffix(SOURCES).read_bytes(), type=list[str])
    except FileNotFoundError:  # they are gone
        return []
    return names


def seal(journal: Path, segment: Path) -> Ledger:
    """Seal a journal that no worker writes to into a segment. Idempotent, after a kill at any moment as well.

    Raises StoreError, OSError.
    """
    unfinished = segment.with_suffix(".tmp")
    with clean(unfinished):
        ledger = _write_segment(journal, unfinished)
        replace_by(unfinished, segment)
    return ledger


def _write_segment(journal: Path, unfinished: Path) -> Ledger:
    ledger, open_starts = read_ledger(journal)
    sources = [journal]
    if open_starts or ledger.damaged_lines:
        more = unfinished.with_suffix(".tmp.jsonl")
        with more.open("wb") as file:
            # DuckDB skips a damaged line, but not one that is longer than its limit.
            if ledger.damaged_lines:
                sources.clear()
                file.writelines(raw for raw, line in lines(journal) if line is not None)
            file.writelines(b"\n" + msgspec.json.encode(interrupted(start)) for start in open_starts)
        sources.append(more)
    longest = ledger.longest_line + MIB
    memory = (_SEAL_BYTES + _SEAL_BYTES_PER_BYTE * longest) // MIB
    with duckdb.connect(":memory:", config=CONFIG | {"memory_limit": f"{memory}MiB"}) as con:
        con.execute(f"SET temp_directory = {quoted(unfinished.with_suffix('.tmp.spill'))}")
        con.execute(f"ATTACH {quoted(unfinished)} AS segment {STORAGE}")
        con.execute(f"CREATE TABLE segment.spans AS {rows_of(sources, longest)}")
        for table, read, count in (
            ("events_raw", events_of, ledger.events),
            ("received_spans", received_of, ledger.received),
            ("received_logs", logs_of, ledger.logs),
        ):
            # Most journals have none: they need not be read again.
            rows = f"AS {read(sources, longest)}" if count else f"({typed(tables()[table])})"
            con.execute(f"CREATE TABLE segment.{table} {rows}")
        con.execute(f"CREATE TABLE segment.ledger ({typed(LEDGER)})")
        values = [getattr(ledger, name) for name in LEDGER]
        values[list(LEDGER).index("dropped_by_reason")] = msgspec.json.encode(ledger.dropped_by_reason).decode()
        con.execute(f"INSERT INTO segment.ledger VALUES ({', '.join('?' * len(values))})", values)
        con.execute("DETACH segment")
    return ledger


@contextmanager
def clean(unfinished: Path) -> Iterator[None]:
    """Remove an unfinished file before and after, with DuckDB's log and spill folder beside it.

    Raises StoreError for what DuckDB raises.
    """
    try:
        _discard(unfinished)
        yield
    except duckdb.Error as error:
        raise StoreError(str(error)) from error
    finally:
        _discard(unfinished)


def _discard(unfinished: Path) -> None:
    for leftover in unfinished.parent.glob(f"{glob.escape(unfinished.name)}*"):
        remove(leftover)


def remove(leftover: Path) -> None:
    """Remove a file or a folder."""
    if leftover.is_dir():
        shutil.rmtree(leftover, ignore_errors=True)
    else:
        leftover.unlink(missing_ok=True)


def publish(data: Path, segments: Sequence[Path], journals: Sequence[Path]) -> None:
    """Replace the view file by one over these files, named by their absolute paths. Raises StoreError, OSError.

    DuckDB opens a file by its name again after it has read the header, so a reader may have the header of the old file
    and the blocks of the new one ("No more data remaining in MetadataReader"). That works if the new file is a copy of
    the old one with one more checkpoint: as after a crash, the blocks of the checkpoint before are still there, and the
    reader gets the old views.
    """
    published, unfinished = data / VIEWS, data / f"{VIEWS}.tmp"
    new = relations(segments, journals)
    with clean(unfinished):
        if not _revise(published, unfinished, new):
            _discard(unfinished)
            _write_views(unfinished, [*schema(), *new])
        # A write-ahead log left by another session belongs to the old file; a reader would replay it into the new one.
        (data / f"{VIEWS}.wal").unlink(missing_ok=True)
        digest = _digest(unfinished.read_bytes())
        replace_by(unfinished, published)
        _written[published] = digest


# Digests of the view files that this process wrote last: only their relations are written again, not the whole schema.
_written: dict[Path, bytes] = {}


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _revise(published: Path, unfinished: Path, new: Sequence[str]) -> bool:
    """Copy the published view file and replace its views in one checkpoint; return False if it has to be made anew."""
    try:
        content = published.read_bytes()
        unfinished.write_bytes(content)
        if _written.get(published) == _digest(content):
            return _write_views(unfinished, new, options="")
        views = [_CREATE.sub(r"CREATE OR REPLACE \1", each, count=1) for each in schema()]
        # More objects than these: it is of another version, or of another session.
        return _write_views(unfinished, [*views, *new], options="", objects=len(views))
    except (OSError, duckdb.Error):  # there is none, or it is damaged
        return False


def _write_views(file: Path, new: Sequence[str], *, options: str = STORAGE, objects: int | None = None) -> bool:
    """Execute statements in a database, in one transaction; return whether it has so many objects then, if given."""
    with duckdb.connect(":memory:", config=CONFIG) as con:
        con.execute(f"ATTACH {quoted(file)} AS views {options}")
        con.execute("USE views")
        con.execute("BEGIN")
        for statement in new:
            con.execute(statement)
        con.execute("COMMIT")
        found = (objects,) if objects is None else con.execute(_OBJECTS).fetchone()
        con.execute("USE memory")
        con.execute("DETACH views")
    return found == (objects,)


def intact(data: Path) -> bool:
    """Return whether the view file can be opened: it exists, no process holds it for writing, and it has no log.

    DuckDB's command line holds it for writing unless it is started with `-readonly`, and shuts out all others.
    """
    if (data / f"{VIEWS}.wal").exists():
        return False
    try:
        fd = os.open(data / VIEWS, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def expired(
    segments: Iterable[SegmentInfo], now: float, max_age: float | None, max_bytes: int | None
) -> list[SegmentInfo]:
    """Return the segments to retire, oldest first: older than `max_age` seconds, or in excess of `max_bytes`."""
    oldest_first = sorted(segments, key=lambda info: (info.newest, info.path))
    left = sum(info.bytes for info in oldest_first)
    gone = []
    for info in oldest_first:
        too_old = max_age is not None and now - info.newest > max_age
        too_much = max_bytes is not None and left > max_bytes
        if not (too_old or too_much):
            break
        gone.append(info)
        left -= info.bytes
    return gone


def replace_by(unfinished: Path, final: Path) -> None:
    """Give a finished file its name, so that it is whole or absent even after a crash of the machine.

    In this order: its content is on disk before its name is, and its name before anything that follows from it.
    """
    sync(unfinished)
    unfinished.replace(final)
    sync(final.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on disk (fsync)."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
