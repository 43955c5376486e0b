"""The write-ahead log of the store: one JSON line per finished span, appended before the client has the last byte.

Events of runs (`ingest.event_rows`) and telemetry of applications (`ingest.otlp`) are lines as well; their senders get
an answer once the lines are written.

A line is in the kernel once `os.write` returns, so it survives `kill -9` of this process. All lines of one exchange are
in the file in which it started: a full file takes no new exchange, and is closed when its last exchange has ended. So
each file can be sealed by itself, and a start without an end in an unlocked file is an interrupted exchange.
"""

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from gateway.tracing.journal_file import JournalFile, write

log = logging.getLogger("gateway.journal")

VERSION = 1
SUFFIX = ".jsonl"

LINE_BYTES = 64 * 1024 * 1024
"""Longer lines are dropped: readers size their buffers by this, and could read no line of the file."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNREPORTED_MAX = 100_000

_encoder = msgspec.json.Encoder()


class IngestCounts(Struct):
    """Lines from clients' own events or spans: how many were stored, and how many dropped, by reason.

    `tag`: the type of the line that reports a count of dropped lines; `unreported`: counts no line has reported yet.
    """

    tag: str
    stored: int = 0
    dropped: dict[str, int] = {}
    unreported: dict[str, int] = {}

    def drop(self, count: int, reason: str) -> str:
        """Count lines that are dropped; return the reason."""
        for counts in (self.dropped, self.unreported):
            counts[reason] = counts.get(reason, 0) + count
        return reason


class Journal:
    """A worker's journal: the file that takes new exchanges, and older ones whose exchanges are still in flight.

    Never raises: lines that cannot be written are counted in `dropped`, by reason, and reported by a line of their own
    once the journal can be written again. Without a file every line is dropped, until `tick` can create one.

    Attributes:
        accepted: Exchanges that started.
        stored: Exchanges whose end was written.
        dropped: Exchanges whose end was not written, by reason.
        events: Counts of the events of runs.
        received: Counts of applications' own spans.
        logs: Counts of applications' log records.
        metrics: Counts of applications' metrics.

    """

    def __init__(
        self,
        folder: Path,
        worker: str,
        resource: Mapping[str, Any],
        *,
        rotate_bytes: int,
        rotate_seconds: float,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folder = folder
        self._worker = worker
        self._resource = dict(resource)
        self.rotate_bytes = rotate_bytes
        self.rotate_seconds = rotate_seconds
        self._clock = clock
        # None: the start could not be written, so the exchange has no file of its own.
        self._by_exchange: dict[int, JournalFile | None] = {}
        self._unreported: list[dict[str, str]] = []
        self._rotate_floor = 0
        self._outage: str | None = None
        self._stuck = False  # no new file can be created; `tick` tries again
        self.accepted = 0
        self.stored = 0
        self.dropped: dict[str, int] = {}
        self.events = IngestCounts("events_dropped")
        self.received = IngestCounts("received_dropped")
        self.logs = IngestCounts("logs_dropped")
        self.metrics = IngestCounts("metrics_dropped")
        self._current: JournalFile | None = None
        self.rotate()

    def __repr__(self) -> str:
        return f"<Journal {self._current.path.name if self._current else None} in flight: {self.in_flight}>"

    @property
    def _ingested(self) -> tuple[IngestCounts, ...]:
        return (self.events, self.received, self.logs, self.metrics)

    @property
    def in_flight(self) -> int:
        """The number of exchanges that started and have not ended."""
        return len(self._by_exchange)

    def start(self, exchange: int, line: Mapping[str, Any]) -> None:
        """Append the start of an accepted exchange; its later lines go to the same file."""
        self.accepted += 1
        file = self._with_room()
        self._by_exchange[exchange] = None
        if file is not None and self._append(file, None, {"t": "start", **line}):
            self._by_exchange[exchange] = file
            file.open += 1

    def attempt(self, exchange: int, line: Mapping[str, Any]) -> None:
        """Append a finished attempt."""
        own = self._by_exchange.get(exchange)
        self._append(own or self._current, own, {"t": "span", **line})

    def end(self, exchange: int, line: Mapping[str, Any]) -> None:
        """Append a finished exchange."""
        accepted = exchange in self._by_exchange
        own = self._by_exchange.pop(exchange, None)
        if self._append(own or self._current, own, {"t": "span", **line}) and accepted:
            self.stored += 1
        if own is not None:
            own.open -= 1
            if own.retired and not own.open:
                self._close(own)

    def append_events(self, lines: Sequence[Mapping[str, Any]]) -> str | None:
        """Append events of runs, either all of them or none; return the reason for none."""
        try:
            encoded = [_encoder.encode({"t": "event", **line}) for line in lines]
        except Exception:
            log.exception("an event could not be encoded")
            return self.events.drop(len(lines), "encoding")
        return self._append_batch(self.events, encoded)

    def append_received(self, counts: IngestCounts, lines: Sequence[bytes]) -> str | None:
        """Append an application's own telemetry, encoded and without line ends, as `append_events` does.

        `counts`: `received`, `logs` or `metrics`.
        """
        return self._append_batch(counts, lines)

    def _append_batch(self, counts: IngestCounts, lines: Sequence[bytes]) -> str | None:
        """Append lines by one write: either all of them are stored or none."""
        file = self._with_room()
        if any(len(data) >= LINE_BYTES for data in lines):
            return counts.drop(len(lines), "too_long")
        if file is None:
            return counts.drop(len(lines), self._outage or "write_error")
        if (reason := self._put(file, b"".join(data + b"\n" for data in lines))) is not None:
            return counts.drop(len(lines), reason)
        counts.stored += len(lines)
        return None

    def tick(self) -> None:
        """Rotate a file that is too old, missing or removed. Called about once a second."""
        self._stuck = False
        for file in self._files():
            if file.gone:
                self._abandon(file)
        current = self._current
        if current is None:
            self.rotate()
            return
        age = self._clock() / 1e9 - current.started
        stored = self.accepted or any(counts.stored for counts in self._ingested)
        if age >= self.rotate_seconds and stored and current.size > self._rotate_floor:
            self.rotate()

    def rotate(self) -> None:
        """Begin a new file, if one can be created; the old one is closed once its exchanges have ended."""
        old = self._current
        try:
            self._current = self._create()
        except OSError as error:
            self._stuck = True
            self._failed(error, f"a new journal in {self._folder}")
            return
        if old is not None:
            old.retired = True
            if not old.open:
                self._close(old)

    def close(self) -> None:
        """Close all files. Exchanges still in flight have no end, and are stored as interrupted."""
        for file in self._files():
            self._close(file)
        self._by_exchange.clear()

    def _with_room(self) -> JournalFile | None:
        """Return the file for new lines, None if there is none; a full one is rotated first."""
        if self._current is not None and self._current.size >= self.rotate_bytes and not self._stuck:
            self.rotate()
        return self._current

    def _files(self) -> list[JournalFile]:
        files = {id(file): file for file in (self._current, *self._by_exchange.values()) if file is not None}
        return list(files.values())

    def _abandon(self, file: JournalFile) -> None:
        """Give up a removed file; the exchanges that began in it end in the current one."""
        self._by_exchange = {key: None if own is file else own for key, own in self._by_exchange.items()}
        self._unreported += file.unreported
        if file is self._current:
            self._current = None
        os.close(file.fd)
        file.fd = -1

    def _create(self) -> JournalFile:
        now = self._clock()
        header = {
            "t": "journal",
            "version": VERSION,
            "worker": self._worker,
            "pid": os.getpid(),
            "started_ns": now,
            "resource": self._resource,
        }
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{self._worker}-{now}{SUFFIX}"
        line = _encoder.encode(header) + b"\n"
        self._rotate_floor = len(line)
        return JournalFile(path, line, now / 1e9)

    def _append(self, file: JournalFile | None, own: JournalFile | None, line: Mapping[str, Any]) -> bool:
        """Append a line to `file`. `own`: the file with the exchange's start, the only one that may report its loss."""
        unreported = self._unreported if own is None else own.unreported
        try:
            data = _encoder.encode(line) + b"\n"
        except Exception:
            log.exception("a span could not be encoded")
            self._drop(unreported, line, "encoding")
            return False
        if len(data) > LINE_BYTES:
            log.warning("a span of %d bytes is too long and dropped; lower $.capture.store_bytes", len(data))
            self._drop(unreported, line, "too_long")
            return False
        if file is None:
            self._drop(unreported, line, self._outage or "write_error")
            return False
        if (reason := self._put(file, data)) is not None:
            self._drop(unreported, line, reason)
            return False
        return True

    def _put(self, file: JournalFile, data: bytes) -> str | None:
        """Append whole lines, after reports of dropped ones; return the reason if they cannot be written."""
        before = b"".join(
            _encoder.encode(each) + b"\n" for each in (*file.unreported, *self._unreported, *self._dropped_counts())
        )
        data = (b"\n" if file.partial else b"") + before + data
        try:
            write(file.fd, data)
        except OSError as error:
            self._undo(file)
            return self._failed(error, str(file.path))
        file.size += len(data)
        file.partial = False
        file.unreported.clear()
        self._unreported.clear()
        for counts in self._ingested:
            counts.unreported.clear()
        self._outage = None
        return None

    def _dropped_counts(self) -> Iterator[dict[str, Any]]:
        for counts in self._ingested:
            for reason, count in counts.unreported.items():
                yield {"t": counts.tag, "reason": reason, "count": count}

    def _failed(self, error: OSError, what: str) -> str:
        """Return the reason to drop lines, and log it once per outage."""
        if self._outage is None:
            log.warning("cannot write %s: %s; spans are dropped while that lasts", what, error)
        self._outage = "disk_full" if error.errno in _FULL else "write_error"
        return self._outage

    def _undo(self, file: JournalFile) -> None:
        """Truncate a partial line, so that the next one is whole."""
        try:
            os.ftruncate(file.fd, file.size)
        except OSError:
            file.partial = True
            log.warning("cannot truncate a partial line of %s; readers skip it", file.path)

    def _drop(self, unreported: list[dict[str, str]], line: Mapping[str, Any], reason: str) -> None:
        """Count a dropped line. A dropped start is not reported: the exchange's end is still to come."""
        if line["t"] != "span":
            return
        if line["kind"] == "SERVER":
            self.dropped[reason] = self.dropped.get(reason, 0) + 1
        if len(unreported) < _UNREPORTED_MAX:
            unreported.append({"t": "dropped", "reason": reason, "kind": line["kind"], "span_id": line["span_id"]})

    def _close(self, file: JournalFile) -> None:
        if file.fd < 0:
            return
        if not file.open:
            self._append(file, file, {"t": "closed"})
        os.close(file.fd)
        file.fd = -1
