"""The recorder's work: seal journals that nobody holds, publish the view file, keep the store within its bounds.

Every step may be repeated after `kill -9`, and says by file names alone how far it came:
    live/X.jsonl alone                      being written, or to be sealed
    live/X.jsonl and segments/X.duckdb      sealed; the journal is read by nobody new and goes after a grace period
    segments/X.duckdb alone                 done
"""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from gateway.config import Store
from gateway.journal import SUFFIX, locked
from gateway.segments import SegmentInfo, expired, publish, seal, store_files

log = logging.getLogger("gateway.recorder")

LIVE = "live"
SEGMENTS = "segments"
_TICK = 0.25
_RETRY_SECONDS = 60.0
_RETENTION_SECONDS = 60.0


class Export(Protocol):
    """What the recorder asks of the OTLP exporter before it removes a journal."""

    def exported(self, journal: Path) -> bool:
        """Whether all spans of the journal are out, or given up."""

    def forget(self, journal: Path) -> None:
        """Drop what is known of a journal that is gone."""


class Recorder:
    """Looks after one data folder; there is one at a time (the supervisor holds the folder's lock)."""

    def __init__(
        self, data: Path, settings: Store, export: Export | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._data = data
        self._live = data / LIVE
        self._segments = data / SEGMENTS
        self._settings = settings
        self._export = export
        self._clock = clock
        self._published: tuple[tuple[Path, ...], tuple[Path, ...]] | None = None
        self._not_before: dict[Path, float] = {}
        self._retired: dict[Path, float] = {}
        self._retention_at = 0.0
        self.sealed = 0
        self.failures = 0

    def __repr__(self) -> str:
        return f"<Recorder {self._data} sealed: {self.sealed}>"

    def prepare(self) -> None:
        """Make the folders, take away what a killed process left half done, and publish."""
        for folder in (self._live, self._segments):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for leftover in (
            *self._live.glob("*.new"),
            *self._segments.glob("*.tmp*"),
            *self._data.glob("*.tmp*"),
        ):
            if not locked(leftover):
                leftover.unlink(missing_ok=True)
        self._publish()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then once more, so that what the workers left is sealed."""
        while not stop.is_set():
            await self._step()
            try:
                await asyncio.wait_for(stop.wait(), _TICK)
            except TimeoutError:
                continue
        self._not_before.clear()
        await self._step()

    async def _step(self) -> None:
        try:
            await asyncio.to_thread(self.step)
        except Exception:
            self.failures += 1
            log.exception("the store could not be looked after; trying again")
            await asyncio.sleep(1.0)

    def step(self) -> None:
        """Do all that is due."""
        now = self._clock()
        journals, segments = self._listing()
        if (segments, journals) != self._published:
            self._publish()
        for journal in journals:
            if self._not_before.get(journal, 0.0) <= now and not locked(journal):
                self._seal(journal, now)
        self._remove_sealed(now)
        if now >= self._retention_at:
            self._retention_at = now + _RETENTION_SECONDS
            self._retain(now)
        for path, since in list(self._retired.items()):
            if now - since >= self._settings.grace_seconds:
                path.unlink(missing_ok=True)
                del self._retired[path]

    def _listing(self) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
        """Return the journals not yet sealed, and the segments that are not retired."""
        segments, journals = store_files(self._data)
        return tuple(journals), tuple(path for path in segments if path not in self._retired)

    def _publish(self) -> None:
        journals, segments = self._listing()
        publish(self._data, segments, journals)
        self._published = (segments, journals)

    def _seal(self, journal: Path, now: float) -> None:
        segment = self._segments / f"{journal.stem}.duckdb"
        try:
            sealed = seal(journal, segment)
        except Exception:
            self.failures += 1
            self._not_before[journal] = now + _RETRY_SECONDS
            log.exception("%s could not be sealed; it stays readable, and is tried again", journal)
            return
        self.sealed += 1
        self._not_before.pop(journal, None)
        log.info("sealed %s: %s", journal.name, sealed)
        self._publish()

    def _remove_sealed(self, now: float) -> None:
        """Remove journals whose segment has been published long enough, and whose spans are exported."""
        for journal in self._live.glob(f"*{SUFFIX}"):
            segment = self._segments / f"{journal.stem}.duckdb"
            try:
                age = now - segment.stat().st_mtime
            except FileNotFoundError:
                continue
            if age < self._settings.grace_seconds:
                continue
            if self._export is not None and not self._export.exported(journal):
                continue
            journal.unlink(missing_ok=True)
            if self._export is not None:
                self._export.forget(journal)

    def _retain(self, now: float) -> None:
        """Take the oldest segments out of the view, by age and by size; their files go after the grace period."""
        _, segments = self._listing()
        infos = [
            SegmentInfo(path=path, bytes=stat.st_size, newest=stat.st_mtime)
            for path in segments
            for stat in (path.stat(),)
        ]
        days = self._settings.max_age_days
        gone = expired(infos, now, None if days is None else days * 86400.0, self._settings.max_bytes)
        for info in gone:
            self._retired[info.path] = now
        if gone:
            log.info("retention: %d segments leave the store", len(gone))
            self._publish()
