"""How far each journal has been exported: read on from there, a batch at a time, and remember it across `kill -9`.

Nothing is held between two batches: what a collector did not take is read again. The cursor is written after a batch
was taken, so that a span is sent at least once.
"""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.config import Capture
from gateway.journal import SUFFIX, locked
from gateway.otlp.rows import row_in, span_of, weight
from gateway.segments import interrupted, read_ledger
from gateway.telemetry import SCOPE, VERSION

log = logging.getLogger("gateway.otlp")

_SPAN = b'{"t":"span"'


class Cursor(Struct, frozen=True, omit_defaults=True):
    """A place in a journal: bytes, then interrupted exchanges, that are behind it; `done` once nothing can follow."""

    offset: int = 0
    interrupted: int = 0
    done: bool = False


class Batch(Struct):
    """Spans to send as one, and where that leaves each journal."""

    spans: list[ReadableSpan]
    reached: dict[str, Cursor]
    damaged: int = 0
    full: bool = False


class _Header(Struct):
    resource: dict[str, str | int | float | bool]


class Backlog:
    """The journals of a data folder as the exporter sees them. `exported` and `forget` may be called by any thread."""

    def __init__(self, data: Path) -> None:
        self._live = data / "live"
        self._file = data / "otlp" / "cursor.json"
        self._scope = InstrumentationScope(SCOPE, VERSION)
        self._resources: dict[str, Resource] = {}
        self._lock = threading.Lock()
        self._cursors = self._load()
        self._saved = dict(self._cursors)
        self.bytes = 0

    def __repr__(self) -> str:
        return f"<Backlog {self._live} bytes: {self.bytes}>"

    def exported(self, journal: Path) -> bool:
        """Whether nothing of a journal is left to send."""
        return self._cursor(journal).done

    def forget(self, journal: Path) -> None:
        """Drop what is known of a journal that is gone."""
        with self._lock:
            self._cursors.pop(journal.name, None)

    def scan(self) -> list[Path]:
        """Return the journals with something to send, now or later, oldest first; count their bytes."""
        sizes = {}
        for path in self._live.glob(f"*{SUFFIX}"):
            try:
                sizes[path] = path.stat().st_size
            except FileNotFoundError:
                continue
        names = {path.name for path in sizes}
        with self._lock:
            self._cursors = {name: cursor for name, cursor in self._cursors.items() if name in names}
            pending = {path: self._cursors.get(path.name, Cursor()) for path in sizes}
        self._resources = {name: source for name, source in self._resources.items() if name in names}
        pending = {path: cursor for path, cursor in pending.items() if not cursor.done}
        self.bytes = sum(max(0, sizes[path] - cursor.offset) for path, cursor in pending.items())
        return sorted(pending, key=_age)

    def batch(self, max_spans: int, max_bytes: int, capture: Capture) -> Batch:
        """Return the next spans in order, with as much content as `capture` says; one at least, however long it is."""
        batch = Batch([], {})
        held = 0
        for journal in self.scan():
            for line, behind in self._lines(journal):
                if line.startswith(_SPAN):
                    try:
                        span = span_of(row_in(line), self._resource(journal), self._scope, capture)
                        held += weight(span)
                    except Exception:  # whatever is wrong with a line, the ones behind it are sent
                        batch.damaged += 1
                    else:
                        if batch.spans and held > max_bytes:
                            batch.full = True
                            return batch
                        batch.spans.append(span)
                elif line and not (line.startswith(b"{") and line.endswith(b"\n")):
                    batch.damaged += 1
                batch.reached[journal.name] = behind
                if len(batch.spans) >= max_spans:
                    batch.full = True
                    return batch
        return batch

    def settle(self, reached: dict[str, Cursor]) -> None:
        """Move the cursors, and write them down."""
        with self._lock:
            self._cursors.update(reached)
            cursors = dict(self._cursors)
        if cursors == self._saved:
            return
        unfinished = self._file.with_suffix(".tmp")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            unfinished.write_bytes(msgspec.json.encode(cursors))
            unfinished.replace(self._file)
        except OSError as error:  # the worst of it: a restart sends some spans again
            log.warning("cannot write %s: %s", self._file, error)
        else:
            self._saved = cursors

    def give_up(self, max_bytes: int) -> int:
        """Pass over the oldest journals until no more than `max_bytes` wait; return how many spans that loses."""
        lost = 0
        for journal in self.scan() if self.bytes > max_bytes else ():
            if self.bytes <= max_bytes:
                break
            before = reached = self._cursor(journal)
            for line, behind in self._lines(journal):
                lost += line.startswith(_SPAN)
                reached = behind
            self.bytes -= reached.offset - before.offset
            self.settle({journal.name: reached})
        return lost

    def _cursor(self, journal: Path) -> Cursor:
        with self._lock:
            return self._cursors.get(journal.name, Cursor())

    def _lines(self, journal: Path) -> Iterator[tuple[bytes, Cursor]]:
        """Give a journal's lines from its cursor on, each with the place behind it.

        Once nobody writes to it any more, its interrupted exchanges follow, as lines, and an empty last one.
        """
        at = self._cursor(journal)
        offset = at.offset
        try:
            final = not locked(journal)  # asked first: what is read after that is all there will be
            with journal.open("rb") as file:
                file.seek(offset)
                for line in file:
                    if not (final or line.endswith(b"\n")):
                        return
                    offset += len(line)
                    yield line, Cursor(offset)
            if not final:
                return
            _, starts = read_ledger(journal)
        except FileNotFoundError:
            return
        for index in range(at.interrupted, len(starts)):
            yield msgspec.json.encode(interrupted(starts[index])), Cursor(offset, index + 1)
        yield b"", Cursor(offset, len(starts), done=True)

    def _resource(self, journal: Path) -> Resource:
        """Return what the worker said of itself, OTEL_RESOURCE_ATTRIBUTES included, when it began the journal."""
        source = self._resources.get(journal.name)
        if source is None:
            with journal.open("rb") as file:
                header = file.readline()
            try:
                source = Resource(msgspec.json.decode(header, type=_Header).resource)
            except msgspec.DecodeError:
                source = Resource({"service.name": "gateway"})
            self._resources[journal.name] = source
        return source

    def _load(self) -> dict[str, Cursor]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, Cursor])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s cannot be read (%s); what is in the journals is sent again", self._file, error)
            return {}


def _age(journal: Path) -> tuple[int, str]:
    """Return a sort key: the time in the name, which ends in Unix nanoseconds."""
    _, _, started = journal.stem.rpartition("-")
    return (int(started) if started.isdecimal() else 0, journal.name)
