"""`gateway export --parquet`, `--jsonl`: rows of the store in one file, made by DuckDB as it reads them.

As in the locked room, no file but the store's own and the one that is made can be opened.
"""

from pathlib import Path
from typing import Literal

import duckdb

from gateway.errors import GatewayError
from gateway.store.segments import CONFIG, store_files
from gateway.store.times import moment
from gateway.store.views import quoted, statements

_MEMORY = "1GiB"
_FORMATS = {"parquet": "FORMAT parquet, COMPRESSION zstd", "jsonl": "FORMAT json"}


class DumpError(GatewayError):
    """The file could not be made; the message is DuckDB's."""


def period(where: str | None, since: str | None, until: str | None, now_ns: int) -> str:
    """Return the condition for the spans of a time of which `where` is true. Raises MomentError."""
    parts = [f"start_ns >= {moment(since, now_ns)}"] if since else []
    parts += [f"start_ns < {moment(until, now_ns)}"] if until else []
    return " AND ".join([*parts, f"(\n{where or 'true'}\n)"])


def dump(data: Path, file: Path, form: Literal["parquet", "jsonl"], where: str) -> int:
    """Write the spans of which `where` (SQL over `spans`) is true to a file, whole or not at all; return how many.

    Raises DumpError.
    """
    if not data.is_dir():
        raise DumpError(f"there is no data folder {data}; name the gateway's with --data")
    unfinished = file.absolute().with_name(f"{file.name}.tmp")
    try:
        segments, journals = store_files(data)
        wals = [path.with_name(f"{path.name}.wal") for path in segments]
        allowed = [str(path.absolute()) for path in (*segments, *wals, *journals, unfinished)]
        with duckdb.connect(":memory:", config=CONFIG | {"memory_limit": _MEMORY, "threads": 2}) as con:
            for statement in statements(segments, journals):
                con.execute(statement)
            con.execute("SET allowed_paths = $1", [allowed])
            con.execute("SET enable_external_access = false")
            con.execute("SET lock_configuration = true")
            sql = f"COPY (SELECT * FROM spans WHERE (\n{where}\n)) TO {quoted(unfinished)} ({_FORMATS[form]})"
            if len(con.extract_statements(sql)) != 1:
                raise DumpError("--where is one condition, not several statements")
            written = con.execute(sql).fetchone()
        unfinished.replace(file)
    except (duckdb.Error, OSError) as error:
        unfinished.unlink(missing_ok=True)
        raise DumpError(f"cannot write {file}: {error}") from None
    return int(written[0]) if written else 0
