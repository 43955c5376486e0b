"""Delivery of batches to a collector, one at a time, through outages, throttling and refusals.

After a failure a batch is sent again later; a refused batch is halved; a span that is refused alone is sent without
content, and if it is refused again it is dropped and counted. The caller waits and saves the position: see `exporter`,
`backfill`.
"""

import logging
import random
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from gateway.config.model import MIB, Capture
from gateway.store.otlp.request import Later, Outgoing, Refused, Sender, Taken, Unsupported

log = logging.getLogger("gateway.otlp")

# A gRPC server takes 4 MiB by default; estimates of a size may be wrong.
BATCH_BYTES = 3 * MIB // 2
METADATA = Capture(otlp="metadata")
_BACKOFF_SECONDS = (0.5, 30.0)
_LONGEST_WAIT = 600.0
SHORTEST_DELAY = 0.05

Position = TypeVar("Position")


class Batch(Struct, Generic[Position]):
    """Spans of one request, and the position of their source after them. `full`: there is more to send at once."""

    spans: list[Outgoing]
    position: Position
    damaged: int = 0
    full: bool = False


class Source(Protocol[Position]):
    """Spans in order, from a position on that is saved."""

    def batch(self, max_spans: int, max_bytes: int, capture: Capture) -> Batch[Position]:
        """Return the next spans, with content as `capture` allows; at least one, however large."""

    def settle(self, position: Position) -> None:
        """Move to the position after a batch, and save it."""

    @property
    def ready(self) -> bool:
        """Whether there is more to send at once, though the batch was not full."""


class Delivery:
    """Sends the items of a source; `endpoint` names the collector in log lines, `noun` the items."""

    def __init__(
        self,
        sender: Sender,
        capture: Capture,
        endpoint: str,
        *,
        batch_spans: int,
        batch_bytes: int,
        delay: float,
        rng: random.Random,
        noun: str = "spans",
    ) -> None:
        self._sender = sender
        self._capture = capture
        self._endpoint = endpoint
        self._batch_spans = batch_spans
        self._batch_bytes = batch_bytes
        self._delay = delay
        self._rng = rng
        self._noun = noun
        self._limit = batch_spans
        self._without_content = False
        self._failures = 0
        self.exported = 0
        self.retries = 0
        self.dropped: dict[str, int] = {}
        self.last_error: str | None = None

    def __repr__(self) -> str:
        return f"<Delivery exported: {self.exported}>"

    def turn(self, source: Source[Position]) -> float:
        """Send one batch; return the seconds to wait before the next one."""
        capture = METADATA if self._without_content else self._capture
        batch = source.batch(self._limit, self._batch_bytes, capture)
        if not batch.spans:
            self._settle(source, batch)
            return self._pause(source, batch)
        reply = self._sender.send(batch.spans)
        match reply:
            case Later(error, after):
                return self.failed(error, after)
            case Refused(error):
                self.last_error = error
                if self._narrowed(len(batch.spans)):
                    return 0.0
                if not isinstance(self._sender.send([]), Taken):  # then this span is not the reason
                    return self.failed(error, None)
                self.drop("refused", 1)
            case Unsupported(error):
                self.last_error = error
                self.drop("unsupported", len(batch.spans))
            case Taken(rejected):
                self.exported += len(batch.spans) - rejected
                self.drop("rejected", rejected)
        if self._failures:
            log.info("the collector takes %s again", self._noun)
            self._failures = 0
        self._without_content = False
        self._limit = min(self._batch_spans, self._limit + max(1, self._limit // 8))
        self._settle(source, batch)
        return self._pause(source, batch)

    def _pause(self, source: Source[Position], batch: Batch[Position]) -> float:
        """Return the seconds to wait after a settled batch."""
        return 0.0 if batch.full or source.ready else self._delay

    def failed(self, error: str, after: float | None) -> float:
        """Return the seconds to wait after a failure: those of Retry-After, or a backoff that grows."""
        if not self._failures:  # once per outage
            log.warning("the collector at %s takes no %s (%s); they wait", self._endpoint, self._noun, error)
        first, most = _BACKOFF_SECONDS
        backoff = min(most, first * 2.0 ** min(self._failures, 10)) * self._rng.uniform(0.8, 1.2)
        self._failures += 1
        self.retries += 1
        self.last_error = error
        return backoff if after is None else min(max(after, SHORTEST_DELAY), _LONGEST_WAIT)

    def drop(self, reason: str, spans: int) -> None:
        """Count spans that will not be sent. The dictionary is replaced, never changed: other threads read it."""
        if not spans:
            return
        if reason not in self.dropped:
            log.warning("%d %s are not exported: %s; further ones are only counted", spans, self._noun, reason)
        self.dropped = self.dropped | {reason: self.dropped.get(reason, 0) + spans}

    def _narrowed(self, spans: int) -> bool:
        """Halve the next batch, or leave out content if it is a single span; return False if both are done already."""
        if spans == 1 and self._without_content:
            return False
        self._without_content = spans == 1
        self._limit = max(1, spans // 2)
        return True

    def _settle(self, source: Source[Position], batch: Batch[Position]) -> None:
        self.drop("damaged", batch.damaged)
        source.settle(batch.position)
