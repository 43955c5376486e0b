"""Applications' log records or metrics in the journals, as a source of batches for their own collector.

The order is that of the journals; an item that was forwarded lately, and comes back or again, is passed over.
"""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from gateway.config.model import Capture
from gateway.store.otlp import forwarding
from gateway.store.otlp.cursors import Budget, Checkpoint, Cursors
from gateway.store.otlp.delivery import Batch
from gateway.tracing.ingest.otlp.protocol import LOGS, Signal


class _LogIdentity(Struct):
    log_id: str


class _MetricIdentity(Struct):
    metric_id: str


class TelemetryBacklog:
    """One signal of the journals of a data folder. `exported` and `forget` are thread-safe."""

    open = 0
    """Runs and steps that began and are not sent; there are none among logs and metrics."""

    ready = False
    """A full batch shows that there is more."""

    def __init__(self, data: Path, signal: Signal) -> None:
        self._cursors = Cursors(data, data / "otlp" / f"{signal.name}.json")
        self._signal = signal
        if signal is LOGS:
            self._prefix, self._build = b'{"t":"log",', forwarding.log_of
            self._identity: Any = msgspec.json.Decoder(_LogIdentity)
        else:
            self._prefix, self._build = b'{"t":"metric",', forwarding.metric_of
            self._identity = msgspec.json.Decoder(_MetricIdentity)

    def __repr__(self) -> str:
        return f"<TelemetryBacklog {self._signal.name} waiting: {self.waiting}>"

    @property
    def waiting(self) -> int:
        """Bytes of journals that wait, at the last scan."""
        return self._cursors.waiting

    def exported(self, journal: Path) -> bool:
        """Return whether all items of a journal are sent or given up."""
        return self._cursors.exported(journal)

    def forget(self, journal: Path) -> None:
        """Drop the cursor of a journal that was removed."""
        self._cursors.forget(journal)

    def given_up(self) -> int:
        """Return 0: nothing waits for an end."""
        return 0

    def batch(self, max_items: int, max_bytes: int, capture: Capture, _now_ns: int = 0) -> Batch[Checkpoint]:
        """Return the next items, with content as `capture` allows; at least one, however large."""
        checkpoint = Checkpoint({}, {}, {})
        batch = Batch([], checkpoint)
        budget = Budget(batch, max_bytes)
        for journal in self._cursors.scan():
            for line, behind in self._cursors.lines(journal):
                if line.startswith(self._prefix):
                    of = self._identity_of(line)
                    if not self._cursors.passed(of) and of not in checkpoint.passed:
                        if not budget.add(self._item, line, capture):
                            return batch
                        checkpoint.passed[of] = None
                checkpoint.cursors[journal.name] = behind
                if len(batch.spans) >= max_items:
                    batch.full = True
                    return batch
        return batch

    def settle(self, checkpoint: Checkpoint) -> None:
        """Apply a checkpoint, and write it."""
        self._cursors.settle(checkpoint.cursors, checkpoint.passed)

    def drop_oldest(self, max_bytes: int, _capture: Capture) -> int:
        """Skip the oldest journals until at most `max_bytes` wait; return the number of items lost."""
        lost = 0
        for journal in self._cursors.scan() if self.waiting > max_bytes else ():
            if self.waiting <= max_bytes:
                break
            before = checkpoint = self._cursors.of(journal)
            for line, behind in self._cursors.lines(journal):
                lost += line.startswith(self._prefix)
                checkpoint = behind
            self._cursors.waiting -= checkpoint.offset - before.offset
            self._cursors.settle({journal.name: checkpoint}, {})
        return lost

    def _item(self, line: bytes, capture: Capture) -> forwarding.Forwarded:
        return self._build(forwarding.row_in(line), capture)

    def _identity_of(self, line: bytes) -> str:
        """Return the identity of a line's item, or the line itself if it is damaged."""
        try:
            of = self._identity.decode(line)
        except msgspec.DecodeError:
            return line.hex()
        return str(getattr(of, f"{self._signal.name.removesuffix('s')}_id"))
