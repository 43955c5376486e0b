"""The counts behind a metric: one series for each combination of labels, and never more of them than a limit.

A label's values come from requests in part (models) and would grow without end, so only so many are known by name;
what comes after them is counted under `other`. Pure: no clock, no lock.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping

from msgspec import Struct

from gateway.store.metrics.instruments import Instrument

Labels = tuple[str | int | None, ...]
"""The values of an instrument's labels; None where one does not apply."""

SERIES_MAX = 2000
"""Series of one metric; the SDK's own limit. What goes beyond is counted in one more, which says that it is that."""
OVERFLOW = "otel.metric.overflow"

# A longer value is cut: it is a name, not a text.
_VALUE_MAX = 120


class Exemplar(Struct, frozen=True, gc=False):
    """One of the things that were counted: its trace and span (hexadecimal), and when it ended (Unix nanoseconds)."""

    trace_id: str
    span_id: str
    time_ns: int


class Count(Struct, gc=False):
    """A number that grows (or is set, for a gauge), and the latest thing that made it grow."""

    value: float = 0
    exemplar: Exemplar | None = None


class Spread(Struct):
    """A histogram's series: how many values fell into each bucket, the last one without bound.

    `latest` and `exemplars`: each bucket's latest value, and what it was the value of.
    """

    counts: list[int]
    latest: list[float]
    exemplars: list[Exemplar | None]
    total: float = 0.0
    smallest: float = float("inf")
    largest: float = float("-inf")


class Family:
    """All series of one metric, by the values of its labels; beyond `series_max`, one that counts all others.

    `zeros`: the series of a counter that exist from the start.
    """

    def __init__(self, instrument: Instrument, zeros: Iterable[Labels] = (), series_max: int = SERIES_MAX) -> None:
        self.instrument = instrument
        self.counts: dict[Labels, Count] = {labels: Count() for labels in zeros}
        self.spreads: dict[Labels, Spread] = {}
        self._max = series_max
        self._overflow: Labels = (OVERFLOW,) * max(1, len(instrument.labels))

    def __repr__(self) -> str:
        return f"<Family {self.instrument.name} {len(self.counts) + len(self.spreads)} series>"

    def add(self, labels: Labels, amount: float = 1, exemplar: Exemplar | None = None) -> None:
        """Count something."""
        count = self.counts.get(labels)
        if count is None:
            if len(self.counts) >= self._max:
                labels = self._overflow
            count = self.counts.setdefault(labels, Count())
        count.value += amount
        if exemplar is not None:
            count.exemplar = exemplar

    def set(self, labels: Labels, value: float) -> None:
        """Say how much there is."""
        self.counts[labels] = Count(value)

    def record(self, labels: Labels, value: float, exemplar: Exemplar | None = None) -> None:
        """Put a value into its bucket."""
        spread = self.spreads.get(labels)
        if spread is None:
            if len(self.spreads) >= self._max:
                labels = self._overflow
            spread = self.spreads.get(labels)
            if spread is None:
                buckets = len(self.instrument.bounds) + 1
                spread = self.spreads[labels] = Spread([0] * buckets, [0.0] * buckets, [None] * buckets)
        # A bound belongs to the bucket below it.
        bucket = bisect_left(self.instrument.bounds, value)
        spread.counts[bucket] += 1
        spread.latest[bucket] = value
        spread.exemplars[bucket] = exemplar
        spread.total += value
        spread.smallest = min(spread.smallest, value)
        spread.largest = max(spread.largest, value)

    def named(self, labels: Labels) -> Mapping[str, str | int | bool]:
        """Return a series' labels by name, those that apply."""
        if labels and labels[0] == OVERFLOW:
            return {OVERFLOW: True}
        return {name: value for name, value in zip(self.instrument.labels, labels, strict=True) if value is not None}


class Known:
    """The values that a label may have, as they come, up to a limit; `other` stands for all others.

    What comes with an answer is sure. A name that nobody answered to may be anything, and such may take but half.
    """

    def __init__(self, limit: int, other: str = "other") -> None:
        self._limit = limit
        self._other = other
        self._names: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Known {len(self._names)} of {self._limit}>"

    def __call__(self, value: str | None, *, sure: bool = True) -> str | None:
        """Return the value, or its substitute. An empty one is None: to Prometheus both are a label that is missing."""
        if not value:
            return None
        name = self._names.get(value)
        if name is not None:
            return name
        if len(self._names) >= (self._limit if sure else self._limit // 2):
            return self._other
        name = self._names[value] = value[:_VALUE_MAX]
        return name
