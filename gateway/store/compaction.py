"""Compaction: small segments merged into large ones, since a query opens every file, and may open some hundreds.

Segments of an older version are rewritten with the columns of this one.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb
import msgspec

from gateway.store.segments import CONFIG, SOURCES, STORAGE, SegmentInfo, clean, replace_by, sync
from gateway.store.views import quoted, tables, typed

MIB = 1024 * 1024
SMALL_BYTES = 64 * MIB
"""Size from which a segment is not merged."""
MERGED_BYTES = 256 * MIB
"""Limit on the sum of the sizes of merged segments."""
ENOUGH = 24
"""Number of small segments of a day that are merged at once; the rest are merged once the day is over."""
_DAY = 86400.0
_MEMORY = "1GiB"

COLUMNS_MARK = str(tables())
"""Columns of segments of this version: if the mark file in the folder has the same, none needs a check."""


def due(segments: Iterable[SegmentInfo], now: float) -> list[SegmentInfo]:
    """Return the segments to merge next, oldest first; none if there is nothing to gain. Pure.

    A merge stays within a day, so that the retention by age can retire one day after the other.
    """
    days: dict[int, list[SegmentInfo]] = {}
    for info in sorted(segments, key=lambda each: (each.newest, each.path)):
        if info.bytes < SMALL_BYTES:
            days.setdefault(int(info.newest // _DAY), []).append(info)
    for day, small in sorted(days.items()):
        if len(small) >= ENOUGH or (len(small) > 1 and day < int(now // _DAY)):
            return _as_many_as_fit(small)
    return []


def _as_many_as_fit(small: list[SegmentInfo]) -> list[SegmentInfo]:
    chosen: list[SegmentInfo] = []
    for info in small:
        if sum(each.bytes for each in chosen) + info.bytes > MERGED_BYTES and len(chosen) > 1:
            break
        chosen.append(info)
    return chosen


def merge(sources: Sequence[Path], merged: Path) -> None:
    """Merge segments, oldest first, into one that replaces them from then on. Idempotent after a kill.

    Their list is on disk before the merged segment has its name: without the list, every row would be there twice.
    Raises StoreError, OSError.
    """
    unfinished, names = merged.with_suffix(".tmp"), merged.with_suffix(SOURCES)
    with clean(unfinished):
        _copy(sources, unfinished)
        names.write_bytes(msgspec.json.encode([path.name for path in sources]))
        sync(names)
        sync(names.parent)
        replace_by(unfinished, merged)


def modernize(segment: Path) -> bool:
    """Rewrite a segment of an older version with the columns of this one; return whether it was. Raises as `merge`."""
    unfinished = segment.with_suffix(".tmp")
    with clean(unfinished):
        with duckdb.connect(":memory:", config=CONFIG) as con:
            if _tables_of(con, segment) == {table: list(columns) for table, columns in tables().items()}:
                return False
        _copy([segment], unfinished)
        replace_by(unfinished, segment)
    return True


def _tables_of(con: duckdb.DuckDBPyConnection, segment: Path) -> dict[str, list[str]]:
    """Return the tables of a segment, and their columns in order."""
    con.execute(f"ATTACH {quoted(segment)} AS checked (READ_ONLY)")
    found = con.execute(
        "SELECT table_name, list(column_name ORDER BY column_index) FROM duckdb_columns() "
        "WHERE database_name = 'checked' GROUP BY table_name"
    ).fetchall()
    con.execute("DETACH checked")
    return dict(found)


def _copy(sources: Sequence[Path], unfinished: Path) -> None:
    """Copy the rows of segments into a new one, whose time is that of the newest: the retention reads it."""
    newest = max(path.stat().st_mtime for path in sources)
    with duckdb.connect(":memory:", config=CONFIG | {"memory_limit": _MEMORY}) as con:
        con.execute(f"SET temp_directory = {quoted(unfinished.with_suffix('.tmp.spill'))}")
        con.execute(f"ATTACH {quoted(unfinished)} AS segment {STORAGE}")
        existing = {source: _tables_of(con, source) for source in sources}
        for table, columns in tables().items():
            con.execute(f"CREATE TABLE segment.{table} ({typed(columns)})")
            for source in sources:
                if table not in existing[source]:
                    continue
                rows = f"FROM read_duckdb({quoted(source)}, table_name = '{table}')"
                con.execute(f"INSERT INTO segment.{table} BY NAME SELECT * {rows}")
                con.execute("CHECKPOINT segment")
        con.execute("DETACH segment")
    os.utime(unfinished, (newest, newest))
