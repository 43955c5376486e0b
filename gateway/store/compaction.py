"""Many small segments become one large one, since a query opens every file of the store, and may open some hundred.

Which are merged is pure. Those of an older version are written anew with this one's columns.
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
"""A segment of this size is large enough to stay as it is."""
MERGED_BYTES = 256 * MIB
"""No merge takes more than this."""
ENOUGH = 24
"""So many small segments of one day are merged at once; what is left of a day, when it is over."""
_DAY = 86400.0
_MEMORY = "1GiB"

COLUMNS_MARK = str(tables())
"""Says which columns segments have: where the same stands in their folder, none needs to be looked at."""


def due(segments: Iterable[SegmentInfo], now: float) -> list[SegmentInfo]:
    """Return the segments to merge next, oldest first; none where nothing is to be gained.

    Days are merged by themselves, so that retention by age can still take one after the other.
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
    """Make one segment of several, oldest first, which stands for them from then on. May be repeated after a kill.

    Raises StoreError, OSError.
    """
    unfinished, names = merged.with_suffix(".tmp"), merged.with_suffix(SOURCES)
    with clean(unfinished):
        _copy(sources, unfinished)
        names.write_bytes(msgspec.json.encode([path.name for path in sources]))
        sync(names)
        replace_by(unfinished, merged)


def modernize(segment: Path) -> bool:
    """Give a segment of an older version the columns of this one; say whether it wanted any. Raises as `merge` does."""
    unfinished = segment.with_suffix(".tmp")
    with clean(unfinished):
        with duckdb.connect(":memory:", config=CONFIG) as con:
            if _tables_of(con, segment) == {table: list(columns) for table, columns in tables().items()}:
                return False
        _copy([segment], unfinished)
        replace_by(unfinished, segment)
    return True


def _tables_of(con: duckdb.DuckDBPyConnection, segment: Path) -> dict[str, list[str]]:
    """Return the tables that a segment has, and their columns in order."""
    con.execute(f"ATTACH {quoted(segment)} AS looked_at (READ_ONLY)")
    found = con.execute(
        "SELECT table_name, list(column_name ORDER BY column_index) FROM duckdb_columns() "
        "WHERE database_name = 'looked_at' GROUP BY table_name"
    ).fetchall()
    con.execute("DETACH looked_at")
    return dict(found)


def _copy(sources: Sequence[Path], unfinished: Path) -> None:
    """Write the rows of segments into a new one, which is as new as the newest of them."""
    newest = max(path.stat().st_mtime for path in sources)
    with duckdb.connect(":memory:", config=CONFIG | {"memory_limit": _MEMORY}) as con:
        con.execute(f"SET temp_directory = {quoted(unfinished.with_suffix('.tmp.spill'))}")
        con.execute(f"ATTACH {quoted(unfinished)} AS segment {STORAGE}")
        there = {source: _tables_of(con, source) for source in sources}
        for table, columns in tables().items():
            con.execute(f"CREATE TABLE segment.{table} ({typed(columns)})")
            for source in sources:
                if table not in there[source]:
                    continue
                rows = f"FROM read_duckdb({quoted(source)}, table_name = '{table}')"
                con.execute(f"INSERT INTO segment.{table} BY NAME SELECT * {rows}")
                con.execute("CHECKPOINT segment")
        con.execute("DETACH segment")
    os.utime(unfinished, (newest, newest))
