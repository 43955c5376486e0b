"""`gateway export --parquet`, `--jsonl`: spans of the store in one file, written by DuckDB as it reads them.

The condition is SQL of the user. As in the sandbox, it can open no file but those of the store; unlike there, DuckDB
runs in this process and writes, so the one file that is written is allowed as well:

    allowed_paths                    segments, their write-ahead logs, journals, and the unfinished file
    enable_external_access = false   no other file is opened, by no function
    lock_configuration = true        no statement undoes that

Source: DuckDB's documentation, "Securing DuckDB".
"""

from pathlib import Path
from typing import Literal

import duckdb

from gateway.errors import GatewayError
from gateway.store.segments import CONFIG, store_files
from gateway.store.views import quoted, statements

_MEMORY = "1GiB"
_FORMATS = {"parquet": "FORMAT parquet, COMPRESSION zstd", "jsonl": "FORMAT json"}


class DumpError(GatewayError):
    """The file cannot be written; the message is DuckDB's."""


def dump(data: Path, file: Path, form: Literal["parquet", "jsonl"], where: str) -> int:
    """Write the spans that meet `where`, a condition of SQL over `spans`, to a file; return their number.

    The file appears once it is complete: it is written beside its name, then renamed. A failure leaves an
    existing file as it was.

    `form` is the format: Parquet with zstd, or a JSON object on each line. JSON columns are text in both.

    Raises DumpError, with the message of DuckDB or of the system.
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
