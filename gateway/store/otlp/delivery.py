"""Batches to a collector, one at a time, until each is taken, in whatever way the collector refuses them.

A batch that comes too early waits; one that is too large is halved; a span that is too large goes without its content,
and one that is refused even so is passed over and counted. Who calls waits and remembers: see `exporter`, `history`.
"""

import logging
import random
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from gateway.config.model import MIB, Capture
from gateway.store.otlp.encoding import Outgoing
from gateway.store.otlp.replies import Later, Refused, Sender, Taken

log = logging.getLogger("gateway.otlp")

# Half of what a gRPC server takes by default is left for estimates that are wrong.
BATCH_BYTES = 3 * MIB // 2
METADATA = Capture(otlp="metadata")
_BACKOFF_SECONDS = (0.5, 30.0)
_LONGEST_WAIT = 600.0
SHORTEST_DELAY = 0.05

Reached = TypeVar("Reached")


class Batch(Struct, Generic[Reached]):
    """Spans to send as one, and where that leaves the source of them."""

    spans: list[Outgoing]
    reached: Reached
    damaged: int = 0
    full: bool = False


class Source(Protocol[Reached]):
    """Where spans come from, in order, from a place that is remembered."""

    def batch(self, max_spans: int, max_bytes: int, capture: Capture) -> Batch[Reached]:
        """Return the next spans, as much content in them as `capture` says; one at least, however long it is."""

    def settle(self, reached: Reached) -> None:
        """Go on behind a batch, from now on."""

    @property
    def ready(self) -> bool:
        """Whether there is more at once, though the batch was not full."""


class Delivery:
    """Sends what a source has; `where` is how messages name the collector."""

    def __init__(
        self,
        sender: Sender,
        capture: Capture,
        where: str,
        *,
        batch_spans: int,
        batch_bytes: int,
        delay: float,
        rng: random.Random,
    ) -> None:
        self._sender = sender
        self._capture = capture
        self._where = where
        self._batch_spans = batch_spans
        self._batch_bytes = batch_bytes
        self._delay = delay
        self._rng = rng
        self._limit = batch_spans
        self._without_content = False
        self._failures = 0
        self.exported = 0
        self.retries = 0
        self.dropped: dict[str, int] = {}
        self.last_error: str | None = None

    def __repr__(self) -> str:
        return f"<Delivery exported: {self.exported}>"

    def turn(self, source: Source[Reached]) -> float:
        """Send one batch; return the seconds to wait before the next."""
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
                if not isinstance(self._sender.send([]), Taken):  # then it was not for this span's sake
                    return self.failed(error, None)
                self.drop("refused", 1)
            case Taken(rejected):
                self.exported += len(batch.spans) - rejected
                self.drop("rejected", rejected)
        if self._failures:
            log.info("the collector takes spans again")
            self._failures = 0
        self._without_content = False
        self._limit = min(self._batch_spans, self._limit + max(1, self._limit // 8))
        self._settle(source, batch)
        return self._pause(source, batch)

    def _pause(self, source: Source[Reached], batch: Batch[Reached]) -> float:
        """Return the seconds until the next batch after one that is settled."""
        return 0.0 if batch.full or source.ready else self._delay

    def failed(self, error: str, after: float | None) -> float:
        """Return the seconds to wait after a failure: what the collector asks for, or more each time."""
        if not self._failures:  # once per outage
            log.warning("the collector at %s takes no spans (%s); they wait", self._where, error)
        first, most = _BACKOFF_SECONDS
        backoff = min(most, first * 2.0 ** min(self._failures, 10)) * self._rng.uniform(0.8, 1.2)
        self._failures += 1
        self.retries += 1
        self.last_error = error
        return backoff if after is None else min(max(after, SHORTEST_DELAY), _LONGEST_WAIT)

    def drop(self, reason: str, spans: int) -> None:
        """Count spans that will not be sent. The counts are replaced as a whole: other threads read them."""
        if not spans:
            return
        if reason not in self.dropped:
            log.warning("%d spans are not exported: %s; further ones are only counted", spans, reason)
        self.dropped = self.dropped | {reason: self.dropped.get(reason, 0) + spans}

    def _narrowed(self, spans: int) -> bool:
        """Make the next batch half of one that was refused, then a span without content; False where it was that."""
        if spans == 1 and self._without_content:
            return False
        self._without_content = spans == 1
        self._limit = max(1, spans // 2)
        return True

    def _settle(self, source: Source[Reached], batch: Batch[Reached]) -> None:
        self.drop("damaged", batch.damaged)
        source.settle(batch.reached)
