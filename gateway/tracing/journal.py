"""The write-ahead log of the store: one JSON line per finished span, appended before the client has the last byte.

What clients tell of their runs is a line each as well (`gateway.workflows`), and each span that they send
(`gateway.received`); they are told so once it is written.

A line is in the kernel once `os.write` returns, so it survives `kill -9` of this process. All lines of one exchange go
to the file in which it started: a file that is full takes no new exchange, and is closed when the last of its own has
ended. So each file can be sealed by itself, and a start without an end in a file nobody holds is an exchange that was
interrupted. The holder keeps an flock; a file appears under its name only once it is locked.
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

# A longer line is dropped: readers size their buffers by it, and could read no line of the file.
LINE_BYTES = 64 * 1024 * 1024

_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNSAID_MAX = 100_000

_encoder = msgspec.json.Encoder()


class Told(Struct):
    """What others tell, beside the exchanges: how many lines of it were stored, and dropped, by reason.

    `dropping`: what a line is called that says how many were dropped; `unsaid`: what none has said yet.
    """

    dropping: str
    stored: int = 0
    dropped: dict[str, int] = {}
    unsaid: dict[str, int] = {}

    def drop(self, count: int, reason: str) -> str:
        """Count lines that are not stored; return the reason."""
        for counts in (self.dropped, self.unsaid):
            counts[reason] = counts.get(reason, 0) + count
        return reason


class Journal:
    """A worker's journal: the file that takes new exchanges, and the older ones whose exchanges are still in flight.

    Never raises: what cannot be written is counted in `dropped`, by reason, and said in the journal as soon as it can
    be written again. Nor does it need a file to begin with: without one all is dropped until `tick` can make one.
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
        # An exchange whose start could not be written has no file of its own.
        self._by_exchange: dict[int, JournalFile | None] = {}
        self._unsaid: list[dict[str, str]] = []
        self._rotate_floor = 0
        self._outage: str | None = None
        self._stuck = False  # no new file can be made; `tick` tries again
        self.accepted = 0
        self.stored = 0
        self.dropped: dict[str, int] = {}
        self.told = Told("events_dropped")
        self.received = Told("received_dropped")
        self._current: JournalFile | None = None
        self.rotate()

    def __repr__(self) -> str:
        return f"<Journal {self._current.path.name if self._current else None} in flight: {self.in_flight}>"

    @property
    def in_flight(self) -> int:
        """Exchanges that started and have not ended."""
        return len(self._by_exchange)

    def start(self, exchange: int, line: Mapping[str, Any]) -> None:
        """Say that an exchange was accepted; its later lines go to the same file."""
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

    def events(self, lines: Sequence[Mapping[str, Any]]) -> str | None:
        """Append what a client told of its runs, all of it or nothing; return the reason where it is nothing."""
        try:
            encoded = [_encoder.encode({"t": "event", **line}) for line in lines]
        except Exception:
            log.exception("an event could not be encoded")
            return self.told.drop(len(lines), "encoding")
        return self._tell(self.told, encoded)

    def spans(self, lines: Sequence[bytes]) -> str | None:
        """Append an application's own spans, lines without their ends, as `events` does."""
        return self._tell(self.received, lines)

    def _tell(self, told: Told, lines: Sequence[bytes]) -> str | None:
        """Append lines by one write: a reader sees whole ones, and who was told that all is stored loses none."""
        file = self._with_room()
        if any(len(data) >= LINE_BYTES for data in lines):
            return told.drop(len(lines), "too_long")
        if file is None:
            return told.drop(len(lines), self._outage or "write_error")
        if (reason := self._put(file, b"".join(data + b"\n" for data in lines))) is not None:
            return told.drop(len(lines), reason)
        told.stored += len(lines)
        return None

    def tick(self) -> None:
        """Rotate by age, and where there is no file, or somebody removed it. Called about once a second."""
        self._stuck = False
        for file in self._files():
            if file.gone:
                self._leave(file)
        current = self._current
        if current is None:
            self.rotate()
            return
        age = self._clock() / 1e9 - current.started
        stored = self.accepted or self.told.stored or self.received.stored
        if age >= self.rotate_seconds and stored and current.size > self._rotate_floor:
            self.rotate()

    def rotate(self) -> None:
        """Begin a new file, if that can be done; the old one is closed once its exchanges have ended."""
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
        """Close all files. An exchange still in flight stays without an end: it is stored as interrupted."""
        for file in self._files():
            self._close(file)
        self._by_exchange.clear()

    def _with_room(self) -> JournalFile | None:
        """Return the file that takes what is new, None where there is none; one that is full is rotated first."""
        if self._current is not None and self._current.size >= self.rotate_bytes and not self._stuck:
            self.rotate()
        return self._current

    def _files(self) -> list[JournalFile]:
        files = {id(file): file for file in (self._current, *self._by_exchange.values()) if file is not None}
        return list(files.values())

    def _leave(self, file: JournalFile) -> None:
        """Write no more to a file that somebody removed; what began in it ends in the one that is current then."""
        self._by_exchange = {key: None if own is file else own for key, own in self._by_exchange.items()}
        self._unsaid += file.unsaid
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
        """Append a line to `file`. `own`: the file that has the exchange's start, and alone may say what was lost."""
        unsaid = self._unsaid if own is None else own.unsaid
        try:
            data = _encoder.encode(line) + b"\n"
        except Exception:
            log.exception("a span could not be encoded")
            self._drop(unsaid, line, "encoding")
            return False
        if len(data) > LINE_BYTES:
            log.warning("a span of %d bytes is too long and dropped; lower $.capture.store_bytes", len(data))
            self._drop(unsaid, line, "too_long")
            return False
        if file is None:
            self._drop(unsaid, line, self._outage or "write_error")
            return False
        if (reason := self._put(file, data)) is not None:
            self._drop(unsaid, line, reason)
            return False
        return True

    def _put(self, file: JournalFile, data: bytes) -> str | None:
        """Append whole lines, and before them what was dropped; return the reason where that cannot be done."""
        before = b"".join(_encoder.encode(each) + b"\n" for each in (*file.unsaid, *self._unsaid, *self._lost()))
        data = (b"\n" if file.half else b"") + before + data
        try:
            write(file.fd, data)
        except OSError as error:
            self._undo(file)
            return self._failed(error, str(file.path))
        file.size += len(data)
        file.half = False
        file.unsaid.clear()
        self._unsaid.clear()
        self.told.unsaid.clear()
        self.received.unsaid.clear()
        self._outage = None
        return None

    def _lost(self) -> Iterator[dict[str, Any]]:
        for told in (self.told, self.received):
            for reason, count in told.unsaid.items():
                yield {"t": told.dropping, "reason": reason, "count": count}

    def _failed(self, error: OSError, what: str) -> str:
        """Return the reason for which lines are dropped, and log it once per outage."""
        if self._outage is None:
            log.warning("cannot write %s: %s; spans are dropped while that lasts", what, error)
        self._outage = "disk_full" if error.errno in _FULL else "write_error"
        return self._outage

    def _undo(self, file: JournalFile) -> None:
        """Cut off half a line, so that the next one is whole."""
        try:
            os.ftruncate(file.fd, file.size)
        except OSError:
            file.half = True
            log.warning("cannot cut off half a line of %s; readers skip it", file.path)

    def _drop(self, unsaid: list[dict[str, str]], line: Mapping[str, Any], reason: str) -> None:
        """Count a line that is lost. A lost start needs no word: the exchange's end is still to come."""
        if line["t"] != "span":
            return
        if line["kind"] == "SERVER":
            self.dropped[reason] = self.dropped.get(reason, 0) + 1
        if len(unsaid) < _UNSAID_MAX:
            unsaid.append({"t": "dropped", "reason": reason, "kind": line["kind"], "span_id": line["span_id"]})

    def _close(self, file: JournalFile) -> None:
        if file.fd < 0:
            return
        if not file.open:
            self._append(file, file, {"t": "closed"})
        os.close(file.fd)
        file.fd = -1
