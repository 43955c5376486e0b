"""The locked room itself: a process that reads one question from standard input, answers it, and is gone.

Walls, each enough for what it is there for, found by trying them on DuckDB 1.5 and 2.0:
    one SELECT, nested in another    COPY, ATTACH, SET, PRAGMA, INSTALL do not parse there, in a WITH neither
    enable_external_access = false   no file but the listed ones is opened, whatever function is asked to
    lock_configuration = true        and no query opens that up again
    RLIMIT_FSIZE = 0, Landlock       nothing is written, though listed paths are granted for writing too
    RLIMIT_AS, RLIMIT_CPU            scalar functions heed neither DuckDB's memory limit nor an interrupt
"""

import math
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
from gateway.store.query import Answer, Question, Result
from gateway.store.segments import store_files
from gateway.store.views import statements

_OUTPUT_BYTES = 64 * 1024 * 1024
_INTERPRETER_BYTES = 2 * 1024**3  # what Python, DuckDB and their threads map before any query
_BATCH = 256
_ZONED = re.compile(r'(?<!")TIMESTAMP WITH TIME ZONE')
_LINE = re.compile(r"^LINE (\d+):", re.MULTILINE)


def main() -> None:
    """Answer the question on standard input, as JSON on standard output."""
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    sys.stdout.buffer.write(msgspec.json.encode(answer(question)))


def answer(question: Question) -> Answer:
    """Lock the room, for good, and answer a question in it."""
    try:
        return Answer(result=_ask(question))
    except _Refused as error:
        return Answer(error=str(error), refused=True)
    except duckdb.Error as error:
        refused = isinstance(error, duckdb.PermissionException)
        return Answer(error=_explained(error), refused=refused)
    except MemoryError:
        return Answer(error=f"the query needs more than {question.memory_mb} MB of memory (limit: $.sql.memory_mb)")
    except OSError as error:
        return Answer(error=f"the store cannot be read: {error}")
    except Exception as error:  # a value that Python's DuckDB cannot hold
        return Answer(error=f"the result cannot be shown ({type(error).__name__}: {error}); cast it to VARCHAR")


class _Refused(Exception):  # noqa: N818
    """What was sent is no query for the room."""


def _ask(question: Question) -> Result:
    segments, journals = store_files(Path(question.data))
    views = list(statements(segments, journals))
    _limit(question)
    folders = {question.data, *(str(path.resolve().parent) for path in (*segments, *journals))}  # some may be links
    landlock.read_only([*folders, sys.prefix, sys.base_prefix, "/usr/lib", "/lib", "/proc/self", "/sys"])
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{question.memory_mb}MB",
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
        # DuckDB looks for a write-ahead log beside each of its files.
        wals = [path.with_name(f"{path.name}.wal") for path in segments]
        con.execute("SET allowed_paths = $1", [[str(path.absolute()) for path in (*segments, *wals, *journals)]])
        con.execute("SET enable_external_access = false")
        con.execute("SET lock_configuration = true")
        began = time.perf_counter()
        return _run(con, _nested(con, question.sql), question.limit, began)


def _nested(con: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Return the query inside another one. Raises _Refused where it is not one that can stand there."""
    asked = con.extract_statements(sql)
    if len(asked) != 1:
        raise _Refused(f"send one statement, not {len(asked)}" if asked else "there is no query")
    try:
        nested = con.extract_statements(f"SELECT * FROM (\n{_without_end(asked[0].query)}\n)")
    except duckdb.ParserException:
        nested = []
    if len(nested) != 1 or nested[0].type != duckdb.StatementType.SELECT:
        kind = asked[0].type.name
        raise _Refused(
            "only a query can be asked here (SELECT, FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, or PIVOT with its "
            f"columns listed by IN), not {'several statements in one' if kind == 'MULTI' else kind}"
        )
    return nested[0].query


def _without_end(sql: str) -> str:
    """Return a statement without the semicolons it ends in, and the comments behind them."""
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
    """Return a value as JSON holds it."""
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
    """Return DuckDB's own words, with a hint where they need one."""
    text = str(error)
    if not isinstance(error, duckdb.ParserException):  # it speaks of the nested query, which begins a line later
        text = _LINE.sub(lambda found: f"LINE {max(1, int(found[1]) - 1):>{len(found[1])}}:", text)
    if isinstance(error, duckdb.PermissionException):
        return f"a query reads the store's own relations and no other file: {text}"
    if isinstance(error, duckdb.OutOfMemoryException):
        return f"{text.partition(chr(10))[0]} (limit: $.sql.memory_mb)"
    return text


def _limit(question: Question) -> None:
    """Bound what the process may take. The parent kills it at the deadline; the CPU bound is for a parent that died."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    seconds = int(question.timeout) * 2 + 2
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    size = question.memory_mb * 1024 * 1024 + _INTERPRETER_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


if __name__ == "__main__":
    main()
