"""Spans to a collector, from the journals: at least once, in order per journal, nothing lost while it is down.

A thread of the recorder reads each journal from where it got to, sends batches bounded by bytes through the stock OTLP
exporters (which read the OTEL_* variables), and notes how far it came after every accepted batch. When a batch fails,
an empty one tells whether the collector is down, and everything waits, or refuses this batch, which is then halved
until the span it refuses is found.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from gateway.config import Capture
from gateway.errors import ConfigError
from gateway.journal import SUFFIX, locked
from gateway.otlp_spans import span_of
from gateway.segments import interrupted, read_ledger

log = logging.getLogger("gateway.otlp")

BATCH_BYTES = 1024 * 1024
BATCH_SPANS = 512
MAX_BACKLOG_BYTES = 2 * 1024**3
_READ_BYTES = 1024 * 1024
_BACKOFF_MAX = 30.0
_SPAN = b'{"t":"span"'
_HEADER = b'{"t":"journal"'
# Small enough for any receiver; tried once for a span that is refused with its content whole.
_SMALL = Capture(otlp="metadata")


class Cursor(msgspec.Struct):
    """How far a journal is exported: the byte after the last accepted line; `done` once no line can follow."""

    offset: int = 0
    done: bool = False


class _Batch(NamedTuple):
    """Lines to send, the offset after them, and whether they were the journal's last."""

    rows: list[dict[str, Any]]
    end: int


def protocol(environ: Mapping[str, str]) -> str | None:
    """Return how to export, None where it is off: no OTEL_EXPORTER_OTLP_* variable is set. Raises ConfigError."""
    if not any(name.startswith("OTEL_EXPORTER_OTLP_") for name in environ):
        return None
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    general = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    chosen = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or general
    if chosen not in {"grpc", "http/protobuf"}:
        raise ConfigError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {chosen!r}; the gateway speaks grpc and http/protobuf")
    return chosen


def stock_exporter(chosen: str) -> SpanExporter:
    """Return the stock exporter of a protocol; only the one that is used is imported."""
    # They report every failure in several lines; we say it once, and count.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    if chosen == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc  # noqa: PLC0415

        return Grpc()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http  # noqa: PLC0415

    return Http()


class Exporter:
    """Exports one data folder's journals from a thread of its own, which `stop` does not wait for if it hangs."""

    def __init__(self, data: Path, make: Callable[[], SpanExporter], capture: Capture, *, delay: float = 1.0) -> None:
        self._live = data / "live"
        self._folder = data / "otlp"
        self._make = make
        self._capture = capture
        self._delay = delay
        self._exporter: SpanExporter | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self._resources: dict[str, dict[str, Any]] = {}
        self._cursors = self._load()
        self.exported_spans = 0
        self.dropped: dict[str, int] = {}
        self.failures = 0
        self._backoff = 0.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], data: Path, capture: Capture) -> "Exporter | None":
        """Return an exporter as the OTEL_* variables say, None where they, or the capture setting, turn it off."""
        chosen = protocol(environ)
        if chosen is None or capture.otlp == "off":
            return None
        delay = float(environ.get("OTEL_BSP_SCHEDULE_DELAY", "1000")) / 1000
        return cls(data, lambda: stock_exporter(chosen), capture, delay=delay)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, seconds: float = 1.5) -> None:
        """Send what is there if the collector takes it, for at most `seconds`; the rest is sent by the next run."""
        self._stop.set()
        self._thread.join(seconds)

    def counters(self) -> dict[str, Any]:
        """Return what was sent, dropped by reason, failed, and how many bytes of journal are still to be read."""
        return {
            "exported": self.exported_spans,
            "dropped": self.dropped,
            "failures": self.failures,
            "lag_bytes": sum(
                max(0, path.stat().st_size - cursor.offset)
                for path in self._journals()
                if not (cursor := self._cursors.get(path.stem, Cursor())).done
            ),
        }

    def exported(self, journal: Path) -> bool:
        """Whether all spans of the journal are out, or given up."""
        return self._cursors.get(journal.stem, Cursor()).done

    def forget(self, journal: Path) -> None:
        """Drop what is known of a journal that is gone."""
        self._cursors.pop(journal.stem, None)
        self._resources.pop(journal.stem, None)

    def _run(self) -> None:
        self._exporter = self._make()
        last = False
        while not last:
            last = self._stop.is_set()  # one more round after the word to stop
            try:
                self._round()
            except Exception:
                self.failures += 1
                self._backoff = max(self._backoff, 1.0)
                log.exception("the export failed; it is tried again")
            if not last:
                self._stop.wait(max(self._delay, self._backoff))
        self._exporter.shutdown()

    def _journals(self) -> list[Path]:
        return sorted(self._live.glob(f"*{SUFFIX}"))

    def _round(self) -> None:
        """Send all there is, until the collector is down."""
        self._bound_backlog()
        for journal in self._journals():
            cursor = self._cursors.setdefault(journal.stem, Cursor())
            while not cursor.done:
                whole = not locked(journal)  # asked before reading: what is read after that is all there will be
                batch = self._next(journal, cursor.offset)
                if batch.rows and not self._send(journal, batch.rows):
                    return
                if batch.end == cursor.offset and not (whole and self._finish(journal, cursor)):
                    break
                cursor.offset = batch.end
                self._save()

    def _next(self, journal: Path, offset: int) -> _Batch:
        """Read the next whole lines, as many as make a batch."""
        rows: list[dict[str, Any]] = []
        size = 0
        for line in _lines(journal, offset):
            if not line.endswith(b"\n"):
                break
            offset += len(line)
            if line.startswith(_HEADER):
                self._resources[journal.stem] = msgspec.json.decode(line)["resource"]
            if not line.startswith(_SPAN):
                continue
            try:
                rows.append(msgspec.json.decode(line))
            except msgspec.DecodeError:
                continue  # damaged; the sealer counts it
            content = 4 * self._capture.otlp_bytes + 2048
            size += len(line) if self._capture.otlp == "full" else min(len(line), content)
            if size >= BATCH_BYTES or len(rows) >= BATCH_SPANS:
                break
        return _Batch(rows, offset)

    def _finish(self, journal: Path, cursor: Cursor) -> bool:
        """Send what stands for the exchanges that never ended, and be done with a journal."""
        _, starts = read_ledger(journal)
        rows = [interrupted(start) for start in starts]
        if rows and not self._send(journal, rows):
            return False
        cursor.done = True
        return True

    def _send(self, journal: Path, rows: list[dict[str, Any]]) -> bool:
        """Send rows; False where the collector is down. What it refuses is found by halving, counted, and passed by."""
        resource = self._resource_of(journal)
        spans = [span_of(row, resource, self._capture) for row in rows]
        if self._accepts(spans):
            self.exported_spans += len(spans)
            self._recovered()
            return True
        if not self._accepts([]):
            self._is_down()
            return False
        if len(rows) > 1:
            middle = len(rows) // 2
            return self._send(journal, rows[:middle]) and self._send(journal, rows[middle:])
        if self._accepts([span_of(rows[0], resource, _SMALL)]):
            self.exported_spans += 1
            return True
        self.dropped["refused"] = self.dropped.get("refused", 0) + 1
        log.warning("the collector refuses the span %s; it stays in the store", rows[0].get("span_id"))
        return True

    def _accepts(self, spans: list[ReadableSpan]) -> bool:
        if self._exporter is None:
            raise RuntimeError("the exporter has not been started")
        return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def _is_down(self) -> None:
        if not self._backoff:
            log.warning("the collector does not take spans; they wait in the journals until it does")
        self.failures += 1
        self._backoff = min(max(1.0, self._backoff * 2), _BACKOFF_MAX)

    def _recovered(self) -> None:
        if self._backoff:
            log.warning("the collector takes spans again")
        self._backoff = 0.0

    def _bound_backlog(self) -> None:
        """Give up the oldest sealed journals where a collector has been down for so long that they fill the disk."""
        waiting = [path for path in self._journals() if not self.exported(path)]
        size = sum(path.stat().st_size for path in waiting)
        for path in waiting:
            if size <= MAX_BACKLOG_BYTES or locked(path):
                return
            cursor = self._cursors.setdefault(path.stem, Cursor())
            lost = sum(line.startswith(_SPAN) for line in _lines(path, cursor.offset))
            self.dropped["backlog"] = self.dropped.get("backlog", 0) + lost
            log.warning("%d spans of %s are not exported: more than %d bytes wait", lost, path.name, MAX_BACKLOG_BYTES)
            cursor.done = True
            size -= path.stat().st_size
            self._save()

    def _resource_of(self, journal: Path) -> dict[str, Any]:
        if journal.stem not in self._resources:
            self._next(journal, 0)  # after a restart in the middle of a file: its first line has it
        return self._resources.get(journal.stem, {})

    def _load(self) -> dict[str, Cursor]:
        try:
            return msgspec.json.decode((self._folder / "cursor.json").read_bytes(), type=dict[str, Cursor])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError:
            log.warning("the export's cursor cannot be read; what the journals hold is sent again")
            return {}

    def _save(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        unfinished = self._folder / "cursor.tmp"
        unfinished.write_bytes(msgspec.json.encode(dict(self._cursors)))
        unfinished.replace(self._folder / "cursor.json")


def _lines(journal: Path, offset: int) -> Iterator[bytes]:
    with journal.open("rb", buffering=_READ_BYTES) as file:
        file.seek(offset)
        yield from file
