"""What a collector says to a batch of spans: taken, come back later, or never send me this again."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from gateway.store.otlp.encoding import Outgoing


class Taken(Struct, frozen=True):
    """The collector has the batch, less `rejected` spans that it threw away (partial success)."""

    rejected: int = 0


class Later(Struct, frozen=True):
    """Nothing is wrong with the spans; `after` is how many seconds the collector asks for, where it says so."""

    error: str
    after: float | None = None


class Refused(Struct, frozen=True):
    """The same bytes will never be taken: some span is bad, or there are too many at once."""

    error: str


Reply = Taken | Later | Refused


class Sender(Protocol):
    """A way to a collector. Errors are words without addresses, headers or content."""

    def send(self, spans: Sequence[Outgoing]) -> Reply:
        """Send a batch once, and wait for the answer."""

    def close(self) -> None:
        """Let go of the connection; a `send` under way ends soon where that is possible."""
