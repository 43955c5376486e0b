"""SQL over the store in a sandboxed query process (`sandbox`), which has limits and is killed at its deadline.

It needs no running gateway: it reads the files of the store.
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

from gateway.config.bounds import YEAR, Bound
from gateway.errors import GatewayError

_SECONDS = Bound(above=0, most=YEAR)


class QueryError(GatewayError):
    """The query failed; the message has the cause and, if known, the remedy."""


class QueryRefused(QueryError):  # noqa: N818  read as an outcome
    """The query is not allowed: not a single SELECT, or one that opens files."""


class QueryTimeout(QueryError):  # noqa: N818
    """The query did not end in time and was killed."""


class Result(Struct, frozen=True, kw_only=True):
    """Rows as JSON holds them: timestamps are ISO 8601 in UTC, JSON columns are text, huge integers are text."""

    columns: list[str]
    types: list[str]
    rows: list[list[Any]]
    truncated: bool
    elapsed_ms: float


class QueryRequest(Struct, frozen=True, kw_only=True):
    """A query, with its limits, as the sandbox reads it from standard input."""

    data: str
    sql: str
    limit: int
    timeout: float
    memory_mb: int


class QueryReply(Struct, frozen=True, kw_only=True):
    """Reply of the sandbox: a result, or an error; `refused`: the query is not allowed."""

    result: Result | None = None
    error: str | None = None
    refused: bool = False


def run_sql(data: Path, sql: str, *, limit: int = 1000, timeout_s: float = 30.0, memory_mb: int = 1024) -> Result:
    """Run one SELECT and return at most `limit` rows. Raises QueryError, QueryRefused, QueryTimeout."""
    request = _encoded(data, sql, limit, timeout_s, memory_mb)
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
            out, err = child.communicate(request, timeout=timeout_s)
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
    """Run one SELECT from an event loop; the child is killed if the caller is cancelled. Raises likewise."""
    request = _encoded(data, sql, limit, timeout_s, memory_mb)
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
            out, err = await child.communicate(request)
    except TimeoutError:
        raise _too_slow(timeout_s) from None
    finally:
        if child.returncode is None:
            _kill(child.pid)
            await child.wait()
    return _result(out, err, child.returncode or 0)


_COMMAND = (sys.executable, "-m", "gateway.store.sandbox")


def _environment() -> dict[str, str]:
    """Return a child's environment, without the gateway's variables: no query may see their keys."""
    return {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC"}


def _encoded(data: Path, sql: str, limit: int, timeout: float, memory_mb: int) -> bytes:
    if not _SECONDS.admits(timeout):
        raise QueryError(f"the time limit must be {_SECONDS.wanted(timeout)} seconds, not {timeout:g}")
    if not data.is_dir():
        raise QueryError(f"there is no data folder {data}; start the gateway, or name its folder with --data")
    request = QueryRequest(data=str(data.absolute()), sql=sql, limit=limit, timeout=timeout, memory_mb=memory_mb)
    try:
        return msgspec.json.encode(request)
    except UnicodeEncodeError:
        raise QueryError("the query or the path of the data folder is no valid UTF-8") from None


def _result(out: bytes, err: bytes, code: int) -> Result:
    try:
        reply = msgspec.json.decode(out, type=QueryReply)
    except (msgspec.DecodeError, msgspec.ValidationError):
        last = err.decode(errors="replace").strip().rpartition("\n")[2]
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        raise QueryError(f"the query's process {how}, most likely for lack of memory: {last}") from None
    if reply.result is not None:
        return reply.result
    raise (QueryRefused if reply.refused else QueryError)(reply.error or "the query failed")


def _too_slow(seconds: float) -> QueryTimeout:
    return QueryTimeout(f"the query did not end within {seconds:g} s; narrow it by started_at, or allow more time")


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
