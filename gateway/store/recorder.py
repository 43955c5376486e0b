"""Recorder: seals journals, publishes the view file, merges segments and applies the retention.

Every step may be repeated after `kill -9`; file names alone are its state:
    live/X.jsonl alone                      being written, or to be sealed
    live/X.jsonl and segments/X.duckdb      sealed; the journal is in no new view, and removed after a grace period
    segments/X.duckdb alone                 done
    segments/merged-N.sources, and .duckdb  replaces the segments it lists, which are removed after a grace period
    segments/merged-N.sources alone         a merge that was not finished

A step that fails stops none of the others: on a full disk, files must still be removed.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from gateway.config.model import Store
from gateway.errors import GatewayError
from gateway.store.compaction import COLUMNS_MARK, due, merge, modernize
from gateway.store.segments import (
    MERGED,
    SOURCES,
    SegmentInfo,
    expired,
    intact,
    publish,
    remove,
    replaced_by,
    seal,
    store_files,
)
from gateway.tracing.journal import SUFFIX
from gateway.tracing.journal_file import locked

log = logging.getLogger("gateway.recorder")

LIVE = "live"
SEGMENTS = "segments"
_TICK = 0.25
_RETRY_SECONDS = 60.0
_AFTER_FAILURE_SECONDS = 1.0
_RETENTION_SECONDS = 60.0
_PUBLISH_SECONDS = 2.0
# A worker renames a `.new` journal at once; an older one is of a worker that was killed before.
_UNLOCKED_SECONDS = 60.0


class Export(Protocol):
    """Progress of the OTLP export, which a journal is kept for."""

    def exported(self, journal: Path) -> bool:
        """Return whether all spans of the journal are sent or given up."""

    def forget(self, journal: Path) -> None:
        """Drop the cursor of a journal that was removed."""


class Recorder:
    """Owner of one data folder; the supervisor holds the folder's lock, so there is one at a time."""

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
        self._since: dict[Path, float] = {}  # when each segment was first published
        self._retired: dict[Path, float] = {}
        self._retention_at = 0.0
        self._merge_at = 0.0
        self._published_at = 0.0
        self._failing: dict[str, str] = {}
        self.sealed = 0
        self.failures = 0

    def __repr__(self) -> str:
        return f"<Recorder {self._data} sealed: {self.sealed}>"

    def prepare(self) -> None:
        """Create the folders, remove leftovers of a killed process, and publish."""
        now = self._clock()
        self._shielded(self._make_folders, now)
        self._shielded(self._remove_leftovers, now)
        self._shielded(self._modernize_segments, now)
        self._shielded(self._publish_what_changed, now)

    async def run(self, stop: asyncio.Event) -> None:
        """Do the steps until `stop` is set, then once more, so that the workers' last journals are sealed."""
        while not stop.is_set():
            await self._step()
            try:
                await asyncio.wait_for(stop.wait(), _TICK)
            except TimeoutError:
                continue
        self._not_before.clear()
        await self._step()

    async def _step(self) -> None:
        failures = self.failures
        await asyncio.to_thread(self.step)
        if self.failures > failures:
            await asyncio.sleep(_AFTER_FAILURE_SECONDS)

    def step(self) -> None:
        """Do all that is due. A failure is counted, logged once, and tried again."""
        now = self._clock()
        for part in (
            self._publish_what_changed,
            self._seal_journals,
            self._publish_what_changed,
            self._remove_sealed_journals,
            self._retire_old_segments,
            self._remove_retired_segments,
            self._merge_small_segments,
            self._remove_merged_segments,
        ):
            self._shielded(part, now)

    def _shielded(self, part: Callable[[float], None], now: float) -> None:
        name = part.__name__.strip("_").replace("_", " ")
        try:
            part(now)
        except Exception as error:
            self.failures += 1
            if self._failing.get(name) != str(error):  # once per outage
                expected = isinstance(error, GatewayError | OSError)
                log.warning("cannot %s in %s: %s; trying again", name, self._data, error, exc_info=not expected)
            self._failing[name] = str(error)
        else:
            if self._failing.pop(name, None) is not None:
                log.warning("can %s in %s again", name, self._data)

    def _make_folders(self, _now: float) -> None:
        for folder in (self._live, self._segments):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _remove_leftovers(self, now: float) -> None:
        for leftover in (*self._segments.glob("*.tmp*"), *self._data.glob("*.tmp*")):
            remove(leftover)
        for names in self._segments.glob(f"*{SOURCES}"):
            if not names.with_suffix(".duckdb").exists():  # a merge that was not finished
                remove(names)
        for leftover in self._live.glob("*.new"):
            if not locked(leftover) and now - leftover.stat().st_mtime > _UNLOCKED_SECONDS:
                remove(leftover)

    def _modernize_segments(self, _now: float) -> None:
        """Rewrite segments of an older version with the columns of this one. A mark file saves the check."""
        mark = self._data / "columns"
        if mark.exists() and mark.read_text(encoding="utf-8") == COLUMNS_MARK:
            return
        rewritten = sum(modernize(segment) for segment in self._listing()[1])
        if rewritten:
            log.info("rewrote %d segments of an older version", rewritten)
        mark.write_text(COLUMNS_MARK, encoding="utf-8")

    def _publish_what_changed(self, _now: float) -> None:
        """Publish if the files differ from the published ones, or if the view file cannot be opened."""
        journals, segments = self._listing()
        if (segments, journals) != self._published or not intact(self._data):
            self._publish()

    def _seal_journals(self, now: float) -> None:
        journals, _ = self._listing()
        for journal in journals:
            if self._not_before.get(journal, 0.0) <= now and not locked(journal):
                self._seal(journal, now)
                # The view reads the journal until then. Publishing once for each of many journals would take too long.
                if self._clock() - self._published_at >= _PUBLISH_SECONDS:
                    self._publish()

    def _listing(self) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
        """Return the journals without a segment, and the segments that are not retired."""
        segments, journals = store_files(self._data)
        return tuple(journals), tuple(path for path in segments if path not in self._retired)

    def _publish(self) -> None:
        journals, segments = self._listing()
        publish(self._data, segments, journals)
        self._published = (segments, journals)
        self._published_at = now = self._clock()
        self._since = {path: self._since.get(path, now) for path in segments}

    def _seal(self, journal: Path, now: float) -> None:
        segment = self._segments / f"{journal.stem}.duckdb"
        try:
            self._make_folders(now)
            sealed = seal(journal, segment)
        except Exception as error:
            self.failures += 1
            self._not_before[journal] = now + _RETRY_SECONDS
            expected = isinstance(error, GatewayError | OSError)
            log.warning(
                "cannot seal %s: %s; it stays readable, and is tried again", journal, error, exc_info=not expected
            )
            return
        self.sealed += 1
        self._not_before.pop(journal, None)
        log.info("sealed %s: %s", journal.name, sealed)

    def _remove_sealed_journals(self, now: float) -> None:
        """Remove journals whose segment has been published for the grace period, and whose spans are exported."""
        for journal in self._live.glob(f"*{SUFFIX}"):
            segment = self._segments / f"{journal.stem}.duckdb"
            since = self._since.get(segment, self._retired.get(segment))
            if since is None or now - since < self._settings.grace_seconds:
                continue
            if self._export is not None and not self._export.exported(journal):
                continue
            journal.unlink(missing_ok=True)
            if self._export is not None:
                self._export.forget(journal)

    def _retire_old_segments(self, now: float) -> None:
        """Retire the oldest segments, by age and by size: they leave the view, and are removed later."""
        if now < self._retention_at:
            return
        _, segments = self._listing()
        self._retention_at = now + _RETENTION_SECONDS
        infos = _infos(segments)
        days = self._settings.max_age_days
        gone = expired(infos, now, None if days is None else days * 86400.0, self._settings.max_bytes)
        for info in gone:
            self._retired[info.path] = now
        if gone:
            log.info("retention: %d segments retired", len(gone))
            self._publish()

    def _remove_retired_segments(self, now: float) -> None:
        """Remove segments that were retired a grace period ago.

        A segment whose journal waits for the export stays, or that journal would be sealed again.
        """
        for path, since in list(self._retired.items()):
            waiting = (self._live / f"{path.stem}{SUFFIX}").exists()
            if now - since >= self._settings.grace_seconds and path not in self._since and not waiting:
                path.unlink(missing_ok=True)
                del self._retired[path]

    def _merge_small_segments(self, now: float) -> None:
        """Merge small segments; not those whose journal exists, or that journal would be sealed again."""
        if now < self._merge_at:
            return
        _, segments = self._listing()
        there = [path for path in segments if not (self._live / f"{path.stem}{SUFFIX}").exists()]
        small = due(_infos(there), now)
        if not small:
            self._merge_at = now + _RETENTION_SECONDS
            return
        self._merge_at = now + _RETRY_SECONDS  # if it fails
        merge([info.path for info in small], self._segments / f"{MERGED}{time.time_ns()}.duckdb")
        self._merge_at = 0.0
        log.info("merged %d segments", len(small))
        self._publish()

    def _remove_merged_segments(self, now: float) -> None:
        """Remove the segments that a merged one replaces, once it has been published for the grace period.

        Their list is removed last: without it, a source that is left would be in the view a second time.
        """
        for names in self._segments.glob(f"*{SOURCES}"):
            merged = names.with_suffix(".duckdb")
            since = self._since.get(merged, self._retired.get(merged))
            if since is None or now - since < self._settings.grace_seconds:
                continue
            for name in replaced_by(merged):
                (self._segments / name).unlink(missing_ok=True)
            names.unlink(missing_ok=True)


def _infos(segments: Iterable[Path]) -> list[SegmentInfo]:
    return [
        SegmentInfo(path=path, bytes=stat.st_size, newest=stat.st_mtime) for path in segments for stat in (path.stat(),)
    ]
