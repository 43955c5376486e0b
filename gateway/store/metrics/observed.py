"""Metrics observed for each scrape: files of the store, and counts of the recorder, the export and the workers."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.store.metrics import instruments as i
from gateway.store.metrics.instruments import Instrument, WorkerGauges
from gateway.store.metrics.series import Family, Labels
from gateway.store.segments import store_files

Observation = tuple[Instrument, Labels, float]


class Sources:
    """Sources of observed metrics. `health`: the recorder's part of /-/health; `workers`: their gauges."""

    def __init__(
        self, data: Path, health: Callable[[], Mapping[str, Any]], workers: Callable[[], Iterable[WorkerGauges]]
    ) -> None:
        self._data = data
        self._health = health
        self._workers = workers

    def families(self, unread: int) -> list[Family]:
        """Return the values of this moment. `unread`: bytes of journals that are not counted yet."""
        families = {instrument.name: Family(instrument) for instrument in i.OBSERVED}
        for instrument, labels, value in (*self._store(), (i.UNREAD_BYTES, (), unread), *self._of_others()):
            families[instrument.name].set(labels, value)
        return list(families.values())

    def _store(self) -> Iterator[Observation]:
        try:
            segments, journals = store_files(self._data)
            yield i.FREE_BYTES, (), shutil.disk_usage(self._data).free
        except OSError:  # the recorder logs and counts it
            return
        yield i.SEGMENTS, (), len(segments)
        yield i.STORE_BYTES, (), _size(segments)
        yield i.JOURNALS, (), len(journals)
        yield i.JOURNAL_BYTES, (), _size(journals)

    def _of_others(self) -> Iterator[Observation]:
        health = self._health()
        yield i.SEALED, (), health["sealed"]
        yield i.FAILURES, (), health["failures"]
        otlp = health.get("otlp")
        if otlp is not None:
            yield i.EXPORTED, (), otlp["exported"]
            yield i.EXPORT_RETRIES, (), otlp["retries"]
            yield i.EXPORT_WAITING, (), otlp["lag_bytes"]
            for reason, spans in (dict.fromkeys(i.EXPORT_DROPS, 0) | otlp["dropped"]).items():
                yield i.EXPORT_DROPPED, (reason,), spans
        running = [each for each in self._workers() if each.pid]
        yield i.WORKERS, (), len(running)
        idle = sum(each.idle for each in running)
        yield i.CONNECTIONS, ("idle",), idle
        yield i.CONNECTIONS, ("used",), max(0, sum(each.connections for each in running) - idle)


def _size(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # it has just been merged
            continue
    return total
