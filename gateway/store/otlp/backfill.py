"""`gateway export --otlp`: spans of the store to a collector, oldest first, resumable.

A cursor file in the data folder has the last span taken, and is written after each batch: an export that is killed
resumes there, and sends at most one batch twice. The file stays when all is sent, so that the same command later sends
the spans that are new.
"""

import fcntl
import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from gateway.config.model import Capture, VocabularyName
from gateway.errors import GatewayError
from gateway.redaction import bare_url
from gateway.store.otlp.delivery import BATCH_BYTES, Delivery
from gateway.store.otlp.history import History, Selection, SpanPosition, horizon
from gateway.store.otlp.request import Sender
from gateway.store.query import QueryError
from gateway.store.times import iso, unix_ns
from gateway.tracing.tracer import resource


class Progress(Protocol):
    """Display of the progress."""

    def update(self, done: int, total: int) -> None:
        """Show that `done` of `total` spans are sent."""

    def message(self, text: str) -> None:
        """Show a line of text."""


_BATCH_SPANS = 512
_LONGEST_SLEEP = 1.0
# Errors of a wrong address or a wrong key, which no wait mends.
HOPELESS = frozenset(
    {"HTTP 401", "HTTP 403", "HTTP 404", "HTTP 405", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED"}
)


class ExportError(GatewayError):
    """The export cannot start or go on; the message names the remedy. The cursor is saved."""


class Job(Struct, frozen=True, kw_only=True):
    """Options of the command line, which identify the cursor file.

    Attributes:
        endpoint: The collector's URL, as the command line or the environment has it.
        since: A time in a form of `times`; None: the beginning.
        until: A time; None: now.
        where: SQL over `spans`.
        patience: Seconds without a span taken after which the export gives up.

    """

    data: Path
    endpoint: str
    since: str | None = None
    until: str | None = None
    where: str | None = None
    vocabulary: VocabularyName = "gen-ai"
    capture: Capture = Capture()
    restart: bool = False
    patience: float = 600.0
    timeout: float = 600.0


class Cursor(Struct, kw_only=True):
    """Contents of the cursor file. `query` is for people: the options of the export."""

    query: dict[str, str | None]
    place: SpanPosition
    sent: int = 0
    dropped: dict[str, int] = {}
    updated_at: str = ""


class Summary(Struct, kw_only=True):
    """Result of one run of the command. `dropped`: spans that the collector rejected or refused, by reason."""

    endpoint: str
    cursor: str
    resumed: bool
    finished: bool
    since: str
    until: str
    sent: int
    dropped: dict[str, int]
    retries: int
    seconds: float


def backfill(
    job: Job,
    sender: Sender,
    progress: Progress,
    environ: Mapping[str, str],
    *,
    now_ns: int,
    sleep: Callable[[float], None] = time.sleep,
    rng: random.Random | None = None,
) -> Summary:
    """Send the selected spans and return a summary, after a KeyboardInterrupt as well.

    `environ`: for the resource of the spans (OTEL_RESOURCE_ATTRIBUTES). Raises ExportError, QueryError, TimeError.
    """
    since = 0 if job.since is None else unix_ns(job.since, now_ns)
    requested_until = now_ns if job.until is None else unix_ns(job.until, now_ns)
    if requested_until <= since:
        raise ExportError(f"there is no time between --since {job.since} and --until {job.until or 'now'}")
    path = job.data / "export" / f"{_name(job)}.json"
    with _exclusive(path):
        cursor = None if job.restart else _read(path)
        resumed = cursor is not None
        cursor = cursor or Cursor(query=_query(job), place=SpanPosition(since))
        until = max(min(requested_until, horizon(job.data, now_ns)), cursor.place.start_ns)
        selection = Selection(data=job.data, until_ns=until, where=job.where or "true", timeout=job.timeout)
        if resumed:
            progress.message(
                f"going on from {iso(cursor.place.start_ns)}, the position in {path}; --restart begins anew"
            )
        history = History(selection, cursor.place, resource(environ, selection.data), job.vocabulary)
        run = _Run(job, cursor, path, history, sender, progress, sleep, rng or random.Random())
        began = time.monotonic()
        try:
            run.all()
        except KeyboardInterrupt:
            progress.message("interrupted; the same command goes on from here")
        finally:
            history.close()
        if until < requested_until - 10**9 and history.finished:
            progress.message(f"what began after {iso(until)} is not sent yet: a request of then is still in flight")
        return Summary(
            endpoint=bare_url(job.endpoint),
            cursor=str(path),
            resumed=resumed,
            finished=history.finished,
            since=iso(since),
            until=iso(until),
            sent=run.delivery.exported,
            dropped=run.delivery.dropped,
            retries=run.delivery.retries,
            seconds=round(time.monotonic() - began, 3),
        )


class _Run:
    """One run: batches of the delivery, with the cursor saved after each."""

    def __init__(
        self,
        job: Job,
        cursor: Cursor,
        path: Path,
        history: History,
        sender: Sender,
        progress: Progress,
        sleep: Callable[[float], None],
        rng: random.Random,
    ) -> None:
        self._job = job
        self._cursor = cursor
        self._path = path
        self._history = history
        self._progress = progress
        self._sleep = sleep
        self._before = cursor.sent, dict(cursor.dropped)
        self.delivery = Delivery(
            sender, job.capture, bare_url(job.endpoint),
            batch_spans=_BATCH_SPANS, batch_bytes=BATCH_BYTES, delay=0.0, rng=rng,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<_Run {self._history!r}>"

    def all(self) -> None:
        """Send all spans. Raises ExportError, QueryError."""
        try:
            total = self._history.count()
        except QueryError as error:
            if self._job.where is None:
                raise
            raise ExportError(f"--where is not a valid condition: {error}") from None
        self._progress.message(f"{total:,} spans to send to {bare_url(self._job.endpoint)}")
        waited = 0.0
        while not self._history.finished:
            position = self._history.position
            wait = self.delivery.turn(self._history)
            if self._history.position != position:
                waited = 0.0
                self._save()
            self._progress.update(self.delivery.exported + sum(self.delivery.dropped.values()), total)
            if wait:
                self._wait(wait, waited)
                waited += wait

    def _wait(self, seconds: float, waited: float) -> None:
        error = self.delivery.last_error or ""
        hopeless = error in HOPELESS and not self.delivery.exported
        if hopeless or waited + seconds > self._job.patience:
            how = "" if hopeless else f" for {waited:.0f} s"
            raise ExportError(
                f"the collector at {bare_url(self._job.endpoint)} takes no spans{how}: {error}; look at its URL, "
                "--protocol, and OTEL_EXPORTER_OTLP_HEADERS. The position is saved: the same command goes on"
            )
        while seconds > 0:  # in steps, so that a signal is handled
            self._sleep(min(seconds, _LONGEST_SLEEP))
            seconds -= _LONGEST_SLEEP

    def _save(self) -> None:
        """Write the cursor file. Raises ExportError: without it, the same spans would be sent again and again."""
        sent, dropped = self._before
        cursor = self._cursor
        cursor.place = self._history.position
        cursor.sent = sent + self.delivery.exported
        cursor.dropped = {
            reason: dropped.get(reason, 0) + self.delivery.dropped.get(reason, 0)
            for reason in dropped.keys() | self.delivery.dropped.keys()
        }
        cursor.updated_at = iso(time.time_ns())
        unfinished = self._path.with_suffix(".tmp")
        try:
            unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(cursor), indent=2) + b"\n")
            unfinished.replace(self._path)
        except OSError as error:
            raise ExportError(f"cannot write the position of the export to {self._path}: {error}") from None


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of this export. Raises ExportError if another process holds it."""
    if not path.parent.parent.is_dir():
        raise ExportError(f"there is no data folder {path.parent.parent}; name the gateway's with --data")
    try:
        path.parent.mkdir(exist_ok=True, mode=0o700)
        lock = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ExportError(f"cannot write the position of the export to {path.parent}: {error}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ExportError(f"the same export is running already ({path.with_suffix('.lock')} is held)") from None
        yield
    finally:
        os.close(lock)


def _read(path: Path) -> Cursor | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Cursor)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ExportError(f"{path} cannot be read ({error}); --restart begins anew") from None


def _query(job: Job) -> dict[str, str | None]:
    return {
        "endpoint": bare_url(job.endpoint),
        "since": job.since,
        "until": job.until,
        "where": job.where,
        "vocabulary": job.vocabulary,
        "content": job.capture.otlp,
    }


def _name(job: Job) -> str:
    """Return the name of the cursor file: the collector's host, and a digest of the options."""
    digest = hashlib.blake2b(msgspec.json.encode(_query(job)), digest_size=6).hexdigest()
    host = re.sub(r"[^A-Za-z0-9.-]+", "-", urlsplit(bare_url(job.endpoint)).netloc or "collector")
    return f"{host}-{digest}"
