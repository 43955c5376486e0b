"""Meter of the recorder: counts new lines of the journals in a thread, and reads the counts for a page or an export.

Counts start at 0 with the process and only grow. Earlier lines are not counted again: to Prometheus and OpenTelemetry a
restart is a counter reset.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gateway.config.model import MIB
from gateway.store.metrics import instruments as i
from gateway.store.metrics.exposition import Page, negotiate
from gateway.store.metrics.folding import Fold
from gateway.store.metrics.journal_reader import JournalReader
from gateway.store.metrics.observed import Sources
from gateway.store.metrics.series import Family

log = logging.getLogger("gateway.metrics")

T = TypeVar("T")

_TICK = 0.5
# Bytes read under the lock, about 30 ms of one core.
_STEP_BYTES = 8 * MIB
# Limit on the steps that a page waits for.
_STEPS_AT_ONCE = 8


class Meter:
    """Counts the lines written to the journals of `data` from now on. `resource`: attributes of the gateway."""

    def __init__(
        self,
        data: Path,
        sources: Sources,
        resource: Mapping[str, Any],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.now = clock
        self.started_ns = clock()
        self.resource = dict(resource)
        self._sources = sources
        self._fold = Fold()
        self._journals = JournalReader(data, self._fold)
        self._lock = threading.Lock()
        self._failing = False

    def __repr__(self) -> str:
        return f"<Meter {self._journals!r}>"

    def step(self) -> bool:
        """Count some of the new lines; return whether there are more. A failure is logged once, and tried again."""
        with self._lock:
            try:
                more = self._journals.read(_STEP_BYTES)
            except Exception:
                if not self._failing:
                    log.exception("journals cannot be counted; trying again")
                self._failing = True
                return False
            self._failing = False
            return more

    async def run(self, stop: asyncio.Event) -> None:
        """Count until `stop` is set."""
        while not stop.is_set():
            more = await asyncio.to_thread(self.step)
            try:
                await asyncio.wait_for(stop.wait(), 0.01 if more else _TICK)
            except TimeoutError:
                continue

    def read(self, use: Callable[[list[Family]], T]) -> T:
        """Count the new lines, and call `use` with the families under the lock."""
        for _ in range(_STEPS_AT_ONCE):
            if not self.step():
                break
        with self._lock:
            active = self._fold.families[i.EXCHANGES_ACTIVE.name]
            active.set((), self._fold.in_flight)
            return use([*self._fold.families.values(), *self._sources.families(self._journals.unread)])

    async def page(self, accept: str) -> tuple[bytes, str]:
        """Return the page for an Accept header, and its content type."""
        encode, content_type = negotiate(accept)
        return await asyncio.to_thread(self.read, lambda families: encode(Page(families, self.resource))), content_type

    def close(self) -> None:
        """Close the journals."""
        with self._lock:
            self._journals.close()
