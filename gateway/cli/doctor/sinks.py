"""The sinks: everything that the gateway leaves behind, in pieces small enough to name a line, a row or a span."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from gateway.cli.doctor.collector import Collector
from gateway.cli.doctor.configuration import LoopbackConfig
from gateway.cli.doctor.process import GatewayProcess, send
from gateway.store.query import QueryError, run_sql

CLIENT, PROVIDER, LOG, JOURNALS, SEGMENTS, SQL = "client", "another provider", "log", "journals", "segments", "SQL"
FOLDER, SPANS, LOGS, METRICS, PAGES = "data folder", "OTLP spans", "OTLP logs", "OTLP metrics", "pages"
CHECK, COMMANDS = "check", "command lines"
SINKS = (CLIENT, PROVIDER, LOG, JOURNALS, SEGMENTS, SQL, FOLDER, SPANS, LOGS, METRICS, PAGES, CHECK, COMMANDS)
"""All sinks, in the order of the report."""

EXPORTED_CONTENT = frozenset({SPANS, LOGS})
"""Sinks of the collector that may have content if `[capture] otlp` allows it."""

CONTENT_SINKS = frozenset({JOURNALS, SEGMENTS, SQL, FOLDER, PAGES, *EXPORTED_CONTENT})
"""Sinks that may have content if `[capture]` allows it."""

_VIEWS = (
    "spans",
    "exchanges",
    "attempts",
    "messages",
    "events",
    "runs",
    "steps",
    "received",
    "logs",
    "otel_traces",
    "ledger",
)
_PS = ("/bin/ps", "-axww", "-o", "pid=,ppid=,command=")
_ROWS_MAX = 1_000_000
_PAGES = ("/-/health", "/-/metrics", "/-/config", "/-/jaeger/api/dependencies")
_OPEN_METRICS = "Accept: application/openmetrics-text; version=1.0.0"


class Piece(Struct, frozen=True, kw_only=True):
    """Bytes of a sink. `request`: their request, if that is known without reading them; `content`: may have some."""

    sink: str
    place: str
    data: bytes
    request: str | None = None
    content: bool = True

    def __repr__(self) -> str:
        return f"<Piece {self.sink} {self.place}>"


class Stored(Struct, frozen=True, kw_only=True):
    """An exchange in the store."""

    trace: str
    outcome: str


class Collected(Struct, kw_only=True):
    """All pieces.

    Attributes:
        missing: (sink, reason) for each that could not be read.
        stored: Exchanges by the request's marker.
        exported: Trace ids that the collector got.

    """

    pieces: list[Piece] = []
    missing: list[tuple[str, str]] = []
    stored: dict[str, Stored] = {}
    exported: set[str] = set()

    def __repr__(self) -> str:
        return f"<Collected {len(self.pieces)} pieces>"

    def add(self, sink: str, place: str, data: bytes, *, content: bool = True) -> None:
        """Add a piece."""
        self.pieces.append(Piece(sink=sink, place=place, data=data, content=content))


async def collect_running(gateway: GatewayProcess, loopback: LoopbackConfig, into: Collected) -> None:
    """Collect the gateway's own pages and the command lines of its processes."""
    headers = [f"Host: 127.0.0.1:{gateway.port}", "Connection: close"]
    if loopback.required:
        headers.append(f"Authorization: Bearer {loopback.token}")

    async def page(target: str, body: bytes = b"", *more: str, content: bool = False) -> bytes:
        lines = [f"{'POST' if body else 'GET'} {target} HTTP/1.1", *headers, *more]
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
        response = await send(gateway.port, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        into.add(PAGES, target.partition("?")[0], response.data, content=content)
        if response.status != 200:
            into.missing.append((PAGES, f"{target} answered {response.status or 'nothing'}"))
        return response.body

    async def jaeger() -> None:
        services: Any = {}
        with suppress(ValueError):
            services = json.loads(await page("/-/jaeger/api/services"))
        for service in services.get("data") or []:
            await page(f"/-/jaeger/api/traces?service={quote(service)}&limit=1500&lookback=1h", content=True)

    async def view(name: str) -> None:
        await page("/-/sql", json.dumps({"sql": f"FROM {name}", "limit": 10_000}).encode(), content=True)

    pages = [*(page(target) for target in _PAGES), page("/-/metrics", b"", _OPEN_METRICS)]
    await asyncio.gather(*pages, jaeger(), *(view(name) for name in ("exchanges", "messages", "events")))
    commands = await asyncio.to_thread(_command_lines, gateway.pid)
    if not commands:
        into.missing.append((COMMANDS, "the system lists no processes"))
    for pid, line in commands:
        into.add(COMMANDS, f"process {pid}", line)


def collect_stopped(gateway: GatewayProcess, folder: Path, into: Collected) -> None:
    """Collect the log, the files, the store by SQL, and `gateway check`. Blocks."""
    log = gateway.output
    for number, line in enumerate(log.splitlines(), 1):
        into.add(LOG, f"line {number}", line)
    if b"is listening on" not in log:
        into.missing.append((LOG, "nothing was read from stderr"))
    read_files(folder, gateway.data, gateway.config, into)
    _read_rows(gateway.data, into)
    for arguments in (["check"], ["check", "--json"]):
        output = gateway.run(*arguments, "-c", str(gateway.config), "--data", str(gateway.data))
        into.add(CHECK, f"gateway {' '.join(arguments)}", output)
        if b"doctor-keyed" not in output:
            into.missing.append((CHECK, f"gateway {' '.join(arguments)} did not show the configuration"))


def collect_exports(collector: Collector, into: Collected) -> None:
    """Collect whole requests and single spans of the collector, without its own key."""
    for number, batch in enumerate(collector.batches, 1):
        headers = [line for line in batch.headers.splitlines() if not line.lower().startswith(b"x-key:")]
        sink = {"traces": SPANS, "logs": LOGS}.get(batch.signal, METRICS)
        into.add(sink, f"request {number}", b"\n".join(headers) + b"\n" + batch.body)
    for trace, name, data in collector.spans():
        into.exported.add(trace)
        into.add(SPANS, f"span {name!r} of {trace}", data + trace.encode())
    if collector.unreadable:
        into.missing.append((SPANS, f"{collector.unreadable} requests could not be read"))


def read_files(folder: Path, data: Path, config: Path, into: Collected) -> None:
    """Read the name and the content of every file in a folder but `config`; journals by lines."""
    counts = {JOURNALS: 0, SEGMENTS: 0, FOLDER: 0}
    for file in sorted(folder.rglob("*")):
        place = str(file.relative_to(folder))
        if file == config:
            continue
        into.add(FOLDER, "the name of a file", place.encode())
        if not file.is_file():
            continue
        try:
            read = file.read_bytes()
        except OSError as error:
            into.missing.append((FOLDER, f"{place} cannot be read: {error.strerror}"))
            continue
        within = {"live": JOURNALS, "segments": SEGMENTS}.get(file.parent.name, FOLDER)
        sink = within if file.parent.parent == data else FOLDER
        counts[sink] += bool(read)
        if sink == JOURNALS:
            for number, line in enumerate(read.split(b"\n"), 1):
                into.add(sink, f"{place}, line {number}", line)
        else:
            into.add(sink, place, read)
    into.missing += [(sink, "there are no files") for sink, count in counts.items() if not count]


def _read_rows(data: Path, into: Collected) -> None:
    query = " UNION ALL ".join(f"SELECT '{view}', to_json(s)::VARCHAR FROM {view} s" for view in _VIEWS)  # noqa: S608
    try:
        result = run_sql(data, query, limit=_ROWS_MAX)
    except QueryError as error:
        into.missing.append((SQL, str(error)))
        return
    for number, (view, text) in enumerate(result.rows, 1):
        row = json.loads(text)
        trace = f", trace {row['trace_id']}" if row.get("trace_id") else ""
        into.add(SQL, f"row {number}: {view}{trace}", text.encode())
        if view == "exchanges" and row.get("session_id"):
            into.stored[row["session_id"]] = Stored(trace=row["trace_id"], outcome=row["outcome"] or "")


def _command_lines(pid: int) -> list[tuple[int, bytes]]:
    """Return the command lines of a process and its descendants, as every user of the system can see them."""
    known: dict[int, tuple[int, bytes]] = {}
    for entry in _processes(Path("/proc")):
        with suppress(OSError, ValueError, IndexError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            known[int(entry.name)] = parent, (entry / "cmdline").read_bytes()
    if not known:  # macOS
        with suppress(OSError):
            listed = subprocess.run(_PS, capture_output=True, check=False).stdout  # noqa: S603  a fixed command
            for line in listed.splitlines():
                number, parent_number, command = line.split(maxsplit=2)
                known[int(number)] = int(parent_number), command
    family = {pid}
    while more := {each for each, (parent, _) in known.items() if parent in family} - family:
        family |= more
    return [(each, known[each][1]) for each in sorted(family) if each in known]


def _processes(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from (each for each in folder.iterdir() if each.name.isdecimal())
