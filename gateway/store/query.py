"""SQL over the store, in a locked room: a child process with limits, killed at its deadline (`gateway.room`).

It works while the gateway runs and after, since it reads the same files as everybody else.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from gateway.errors import GatewayError


class QueryError(GatewayError):
    """The query failed; the message says why and, where that is known, what to change."""


class QueryRefused(QueryError):  # noqa: N818  read as an outcome
    """The query is none that may run here: not one SELECT, or reaching for files."""


class QueryTimeout(QueryError):  # noqa: N818
    """The query did not end in time and was killed."""


class Result(Struct, frozen=True, kw_only=True):
    """Rows as JSON holds them: timestamps are ISO 8601 in UTC, JSON columns are text, huge integers are text."""

    columns: list[str]
    types: list[str]
    rows: list[list[Any]]
    truncated: bool
    elapsed_ms: float


class Question(Struct, frozen=True, kw_only=True):
    """What the room is asked."""

    data: str
    sql: str
    limit: int
    timeout: float
    memory_mb: int


class Answer(Struct, frozen=True, kw_only=True):
    """What the room says: a result, or an error and whether it refused."""

    result: Result | None = None
    error: str | None = None
    refused: bool = False


def run_sql(data: Path, sql: str, *, limit: int = 1000, timeout_s: float = 30.0, memory_mb: int = 1024) -> Result:
    """Run one SELECT and return at most `limit` rows. Raises QueryError, QueryRefused, QueryTimeout."""
    question = _question(data, sql, limit, timeout_s, memory_mb)
    with subprocess.Popen(  # noqa: S603  our own interpreter and module
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
        cwd="/",
        start_new_session=True,
    ) as child:
        try:
            out, err = child.communicate(question, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            _kill(child.pid)
            raise _too_slow(timeout_s) from None
        except BaseException:
            _kill(child.pid)
            raise
    return _result(out, err, child.returncode)


async def run_sql_async(
    data: Path, sql: str, *, limit: int = 1000, timeout_s: float = 30.0, memory_mb: int = 1024
) -> Result:
    """Do the same from an event loop; the child is killed when the caller is cancelled."""
    question = _question(data, sql, limit, timeout_s, memory_mb)
    child = await asyncio.create_subprocess_exec(
        *_COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(),
        cwd="/",
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await child.communicate(question)
    except TimeoutError:
        raise _too_slow(timeout_s) from None
    finally:
        if child.returncode is None:
            _kill(child.pid)
            await child.wait()
    return _result(out, err, child.returncode or 0)


_COMMAND = (sys.executable, "-m", "gateway.store.sandbox")


def _environment() -> dict[str, str]:
    """Return a child's environment: none of ours, whose keys no query may see."""
    return {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC"}


def _question(data: Path, sql: str, limit: int, timeout: float, memory_mb: int) -> bytes:
    if not data.is_dir():
        raise QueryError(f"there is no data folder {data}; start the gateway, or name its folder with --data")
    question = Question(data=str(data.absolute()), sql=sql, limit=limit, timeout=timeout, memory_mb=memory_mb)
    try:
        return msgspec.json.encode(question)
    except UnicodeEncodeError:
        raise QueryError("the query or the path of the data folder is no valid UTF-8") from None


def _result(out: bytes, err: bytes, code: int) -> Result:
    try:
        answer = msgspec.json.decode(out, type=Answer)
    except (msgspec.DecodeError, msgspec.ValidationError):
        last = err.decode(errors="replace").strip().rpartition("\n")[2]
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        raise QueryError(f"the query's process {how}, most likely for want of memory: {last}") from None
    if answer.result is not None:
        return answer.result
    raise (QueryRefused if answer.refused else QueryError)(answer.error or "the query failed")


def _too_slow(seconds: float) -> QueryTimeout:
    return QueryTimeout(f"the query did not end within {seconds:g} s; narrow it by started_at, or allow more time")


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
