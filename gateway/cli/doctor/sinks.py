"""What the gateway leaves behind, in pieces small enough to say where something is: lines, rows, spans, pages, ..."""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as File
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from gateway.cli.doctor.child import Child
from gateway.cli.doctor.collector import Collector
from gateway.cli.doctor.driver import send
from gateway.cli.doctor.settings import Setting
from gateway.store.query import QueryError, run_sql

CLIENT, LOG, JOURNALS, SEGMENTS, SQL = "client", "log", "journals", "segments", "SQL"
FOLDER, SPANS, METRICS, PAGES = "data folder", "OTLP spans", "OTLP metrics", "pages"
CHECK, COMMANDS = "check", "command lines"
SINKS = (CLIENT, LOG, JOURNALS, SEGMENTS, SQL, FOLDER, SPANS, METRICS, PAGES, CHECK, COMMANDS)
"""All sinks, in the order of the table."""

KEEPS_CONTENT = frozenset({JOURNALS, SEGMENTS, SQL, FOLDER, PAGES, SPANS})
"""Those that may have content where `[capture]` says so."""

_VIEWS = ("spans", "exchanges", "attempts", "messages", "events", "runs", "steps", "received", "otel_traces", "ledger")
_PS = ("/bin/ps", "-axww", "-o", "pid=,ppid=,command=")
_MOST_ROWS = 1_000_000
_PAGES = ("/-/health", "/-/metrics", "/-/config", "/-/jaeger/api/dependencies")
_OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


class Piece(Struct, frozen=True, kw_only=True):
    """Some bytes that were found in a sink. `path`: whose they are, where that is known without looking into them."""

    sink: str
    place: str
    data: bytes
    path: str | None = None
    content: bool = True

    def __repr__(self) -> str:
        """Keep the bytes out."""
        return f"<Piece {self.sink} {self.place}>"


class Stored(Struct, frozen=True, kw_only=True):
    """What the store says of an exchange."""

    trace: str
    outcome: str


class Collected(Struct, kw_only=True):
    """Pieces, and what could not be looked at: (sink, why).

    Attributes:
        stored: The exchange of each path, by its marker.
        exported: Ids of traces that came to the collector.

    """

    pieces: list[Piece] = []
    missing: list[tuple[str, str]] = []
    stored: dict[str, Stored] = {}
    exported: set[str] = set()

    def __repr__(self) -> str:
        return f"<Collected {len(self.pieces)} pieces>"


async def while_running(child: Child, setting: Setting, into: Collected) -> None:
    """Ask the gateway's own pages, and see what the system says of its processes."""
    headers = [f"Host: 127.0.0.1:{child.port}", "Connection: close"]
    if setting.required:
        headers.append(f"Authorization: Bearer {setting.token}")

    async def page(target: str, body: bytes = b"", *more: str, content: bool = False) -> bytes:
        lines = [f"{'POST' if body else 'GET'} {target} HTTP/1.1", *headers, *more]
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
        got = await send(child.port, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        into.pieces.append(Piece(sink=PAGES, place=target.partition("?")[0], data=got.data, content=content))
        if got.status != 200:
            into.missing.append((PAGES, f"{target} answered {got.status or 'nothing'}"))
        return got.body

    async def jaegers() -> None:
        for service in _named(await page("/-/jaeger/api/services")):
            await page(f"/-/jaeger/api/traces?service={quote(service)}&limit=1500&lookback=1h", content=True)

    async def asked(view: str) -> None:
        query = msgspec.json.encode({"sql": f"FROM {view}", "limit": 10_000})
        await page("/-/sql", query, content=True)

    pages = [page(target) for target in _PAGES]
    pages.append(page("/-/metrics", b"", f"Accept: {_OPEN_METRICS}"))
    await asyncio.gather(*pages, jaegers(), *(asked(view) for view in ("exchanges", "messages", "events")))
    commands = await asyncio.to_thread(_commands, child.pid)
    if not commands:
        into.missing.append((COMMANDS, "the system does not say which processes there are"))
    into.pieces += [Piece(sink=COMMANDS, place=f"process {pid}", data=line) for pid, line in commands]


async def after_the_end(child: Child, folder: File, into: Collected) -> None:
    """Read what is left once the gateway has stopped: its output, its files, the store by SQL, `gateway check`."""
    lines = child.output.splitlines()
    into.pieces += [Piece(sink=LOG, place=f"line {number}", data=line) for number, line in enumerate(lines, 1)]
    if b"is listening on" not in child.output:
        into.missing.append((LOG, "nothing was read from stderr"))
    await asyncio.to_thread(read_files, folder, child.data, child.config, into)
    await asyncio.to_thread(_rows, child.data, into)
    for options in (["check"], ["check", "--json"]):
        said = await child.asked(*options, "-c", str(child.config), "--data", str(child.data))
        into.pieces.append(Piece(sink=CHECK, place=f"gateway {' '.join(options)}", data=said))
        if b"doctor-keyed" not in said:
            into.missing.append((CHECK, f"gateway {' '.join(options)} did not show the configuration"))


def sent_out(collector: Collector, into: Collected) -> None:
    """Take what came to the collector: all requests whole, and each span by itself."""
    for number, batch in enumerate(collector.batches, 1):
        sink = SPANS if batch.signal == "traces" else METRICS
        # The key for the collector is shown to it, and to nobody else.
        heads = [line for line in batch.headers.splitlines() if not line.lower().startswith(b"x-key:")]
        into.pieces.append(Piece(sink=sink, place=f"request {number}", data=b"\n".join(heads) + b"\n" + batch.body))
    for trace, name, data in collector.spans():
        into.exported.add(trace)
        into.pieces.append(Piece(sink=SPANS, place=f"span {name!r} of {trace}", data=data + trace.encode()))
    if collector.unread:
        into.missing.append((SPANS, f"{collector.unread} requests could not be read"))


def _named(body: bytes) -> list[str]:
    try:
        found: dict[str, Any] = json.loads(body)
    except ValueError:
        return []
    return [each for each in found.get("data") or [] if isinstance(each, str)]


def read_files(folder: File, data: File, config: File, into: Collected) -> None:
    """Read every file that the gateway has written below a folder; journals line by line, names of files too."""
    counts = {JOURNALS: 0, SEGMENTS: 0, FOLDER: 0}
    for file in sorted(folder.rglob("*")):
        place = str(file.relative_to(folder))
        if file == config:
            continue
        into.pieces.append(Piece(sink=FOLDER, place="the name of a file", data=place.encode()))
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
        into.pieces += _lines(sink, place, read) if sink == JOURNALS else [Piece(sink=sink, place=place, data=read)]
    for sink, count in counts.items():
        if not count:
            into.missing.append((sink, "there are no files"))


def _lines(sink: str, place: str, data: bytes) -> Iterator[Piece]:
    for number, line in enumerate(data.split(b"\n"), 1):
        yield Piece(sink=sink, place=f"{place}, line {number}", data=line)


def _rows(data: File, into: Collected) -> None:
    """Read all rows of all views, as JSON."""
    query = " UNION ALL ".join(f"SELECT '{view}', to_json(s)::VARCHAR FROM {view} s" for view in _VIEWS)  # noqa: S608
    try:
        result = run_sql(data, query, limit=_MOST_ROWS)
    except QueryError as error:
        into.missing.append((SQL, str(error)))
        return
    for number, (view, text) in enumerate(result.rows, 1):
        into.pieces.append(Piece(sink=SQL, place=f"row {number}: {_place(view, text)}", data=text.encode()))
        if view == "exchanges":
            row = json.loads(text)
            if row.get("session_id"):
                into.stored[row["session_id"]] = Stored(trace=row["trace_id"], outcome=row["outcome"] or "")


def _place(view: str, text: str) -> str:
    with contextlib.suppress(ValueError):
        row: Mapping[str, Any] = json.loads(text)
        if row.get("trace_id"):
            return f"{view}, trace {row['trace_id']}"
    return view


def _commands(pid: int) -> list[tuple[int, bytes]]:
    """Return the command lines of a process and of all below it, by what the system tells everybody."""
    known: dict[int, tuple[int, bytes]] = {}
    for entry in _numbered(File("/proc")):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            known[int(entry.name)] = parent, (entry / "cmdline").read_bytes()
    if not known:  # macOS
        with contextlib.suppress(OSError):
            listed = subprocess.run(_PS, capture_output=True, check=False).stdout  # noqa: S603  a fixed command
            for line in listed.splitlines():
                number, parent_number, command = line.split(maxsplit=2)
                known[int(number)] = int(parent_number), command
    family = {pid}
    while more := {each for each, (parent, _) in known.items() if parent in family} - family:
        family |= more
    return [(each, known[each][1]) for each in sorted(family) if each in known]


def _numbered(folder: File) -> Iterable[File]:
    try:
        return [each for each in folder.iterdir() if each.name.isdecimal()]
    except OSError:
        return []
