"""Sandboxed query process: reads one request from standard input, replies on standard output, and exits.

Its barriers, each sufficient for its purpose, as tested on DuckDB 1.5 and 2.0:
    one SELECT, nested in another    COPY, ATTACH, SET, PRAGMA, INSTALL do not parse there, in a WITH neither
    enable_external_access = false   no file but the listed ones is opened, by no function
    lock_configuration = true        and no query undoes that
    RLIMIT_FSIZE = 0, Landlock       nothing is written, though the listed paths are allowed for writing too
    RLIMIT_AS, RLIMIT_CPU            scalar functions heed neither DuckDB's memory limit nor an interrupt
"""

import math
import os
import re
import resource
import sys
import time
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import msgspec

from gateway.store import landlock
from gateway.store.query import QueryReply, QueryRequest, Result
from gateway.store.segments import store_files
from gateway.store.views import statements

_OUTPUT_BYTES = 64 * 1024 * 1024
_INTERPRETER_BYTES = 2 * 1024**3  # mapped by Python, DuckDB and their threads before any query
_BATCH = 256
_ZONED = re.compile(r'(?<!")TIMESTAMP WITH TIME ZONE')
_LINE = re.compile(r"^LINE (\d+):", re.MULTILINE)


def main() -> None:
    """Reply to the request on standard input, as JSON on standard output."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=QueryRequest)
    sys.stdout.buffer.write(msgspec.json.encode(reply(request)))


def reply(request: QueryRequest) -> QueryReply:
    """Enter the sandbox, for good, and run a query in it."""
    try:
        return QueryReply(result=_execute(request))
    except _Refused as error:
        return QueryReply(error=str(error), refused=True)
    except duckdb.Error as error:
        refused = isinstance(error, duckdb.PermissionException)
        return QueryReply(error=_explained(error), refused=refused)
    except MemoryError:
        return QueryReply(error=f"the query needs more than {request.memory_mb} MB of memory (limit: $.sql.memory_mb)")
    except OSError as error:
        return QueryReply(error=f"the store cannot be read: {error}")
    except Exception as error:  # a value that Python's DuckDB cannot hold
        return QueryReply(error=f"the result cannot be shown ({type(error).__name__}: {error}); cast it to VARCHAR")


class _Refused(Exception):  # noqa: N818
    """The statement is not a query that is allowed."""


def _execute(request: QueryRequest) -> Result:
    segments, journals = store_files(Path(request.data))
    views = statements(segments, journals)
    _limit(request)
    folders = {
        request.data,
        *(str(path.resolve().parent) for path in (*segments, *journals)),
    }  # some may be symbolic links
    landlock.read_only([*folders, sys.prefix, sys.base_prefix, "/usr/lib", "/lib", "/proc/self", "/sys"])
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{request.memory_mb}MB",
        "threads": 2,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,
        "temp_directory": "",
    }
    with duckdb.connect(":memory:", config=config) as con:
        for view in views:
            con.execute(view)
        con.execute("SET TimeZone = 'UTC'") if _has_timezone(con) else None
        # DuckDB opens the write-ahead log beside each of its files.
        wals = [path.with_name(f"{path.name}.wal") for path in segments]
        con.execute("SET allowed_paths = $1", [[str(path.absolute()) for path in (*segments, *wals, *journals)]])
        con.execute("SET enable_external_access = false")
        con.execute("SET lock_configuration = true")
        began = time.perf_counter()
        return _run(con, _nested(con, request.sql), request.limit, began)


def _nested(con: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Return the query nested in another one. Raises _Refused if it cannot be nested."""
    parsed = con.extract_statements(sql)
    if len(parsed) != 1:
        raise _Refused(f"send one statement, not {len(parsed)}" if parsed else "there is no query")
    try:
        nested = con.extract_statements(f"SELECT * FROM (\n{_without_end(parsed[0].query)}\n)")
    except duckdb.ParserException:
        nested = []
    if len(nested) != 1 or nested[0].type != duckdb.StatementType.SELECT:
        kind = parsed[0].type.name
        raise _Refused(
            "only a query can be run here (SELECT, FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, or PIVOT with its "
            f"columns listed by IN), not {'several statements in one' if kind == 'MULTI' else kind}"
        )
    return nested[0].query


def _without_end(sql: str) -> str:
    """Return a statement without trailing semicolons and comments."""
    data = sql.encode()
    end = len(data)
    for offset, _ in reversed(duckdb.tokenize(sql)):
        if data[offset : offset + 1] == b";":
            end = offset
        elif data[offset : offset + 2] not in {b"--", b"/*"}:
            break
    return data[:end].decode()


def _run(con: duckdb.DuckDBPyConnection, sql: str, limit: int, began: float) -> Result:
    described = con.execute(f"DESCRIBE {sql}").fetchall()
    columns, types = [row[0] for row in described], [row[1] for row in described]
    # Python's DuckDB needs a package, or a file, for times with a zone; ours are UTC anyway.
    plain = [_ZONED.sub("TIMESTAMP", kind) for kind in types]
    selected = ", ".join(
        _name(name) if kind == shown else f"{_name(name)}::{shown} AS {_name(name)}"
        for name, kind, shown in zip(columns, types, plain, strict=True)
    )
    cursor = con.execute(f"SELECT {selected} FROM ({sql}) LIMIT {limit + 1}")
    rows: list[list[Any]] = []
    size, truncated = 0, False
    while not truncated and (batch := cursor.fetchmany(_BATCH)):
        for row in batch:
            plain = [_plain(value) for value in row]
            size += len(msgspec.json.encode(plain))
            if len(rows) == limit or size > _OUTPUT_BYTES:
                truncated = True
                break
            rows.append(plain)
    elapsed = (time.perf_counter() - began) * 1000
    return Result(columns=columns, types=types, rows=rows, truncated=truncated, elapsed_ms=round(elapsed, 3))


def _plain(value: Any) -> Any:
    """Return a value in a form that JSON has."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if -(2**63) <= value < 2**64 else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime():
            return value.isoformat(timespec="microseconds") + "Z"
        case date() | time_of_day():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal():
            return float(value)
        case UUID():
            return str(value)
        case bytes():
            return value.hex()
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case _:
            return str(value)


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _has_timezone(con: duckdb.DuckDBPyConnection) -> bool:
    found = con.execute("SELECT count(*) FROM duckdb_settings() WHERE name = 'TimeZone'").fetchone()
    return found is not None and bool(found[0])


def _explained(error: duckdb.Error) -> str:
    """Return DuckDB's message, with the limit or the rule that it is about."""
    text = str(error)
    if not isinstance(error, duckdb.ParserException):  # about the nested query, which begins a line later
        text = _LINE.sub(lambda found: f"LINE {max(1, int(found[1]) - 1):>{len(found[1])}}:", text)
    if isinstance(error, duckdb.PermissionException):
        return f"a query reads the store's own relations and no other file: {text}"
    if isinstance(error, duckdb.OutOfMemoryException):
        return f"{text.partition(chr(10))[0]} (limit: $.sql.memory_mb)"
    return text


def _limit(request: QueryRequest) -> None:
    """Limit the resources of this process. The parent kills it at the deadline; the CPU limit is for an orphan."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    seconds = int(request.timeout) * 2 + 2
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    size = request.memory_mb * 1024 * 1024 + _INTERPRETER_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # the end of the interpreter takes as long as many a query
