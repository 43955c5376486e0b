"""Series of a metric, one for each combination of labels, limited in number: no clock, no lock.

Some values of labels (models) come from requests, without bound, so a limited number is known by name, and all others
are counted as `other`.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping

from msgspec import Struct

from gateway.store.metrics.instruments import Instrument

Labels = tuple[str | int | None, ...]
"""Values of an instrument's labels; None for one that does not apply."""

SERIES_MAX = 2000
"""Limit on the series of a metric, the same as the SDK's; one more, `OVERFLOW`, counts the rest."""
OVERFLOW = "otel.metric.overflow"

# Longer values are cut.
_VALUE_MAX = 120


class Exemplar(Struct, frozen=True, gc=False):
    """Ids of a counted span (hexadecimal), and its end (Unix nanoseconds)."""

    trace_id: str
    span_id: str
    time_ns: int


class Count(Struct, gc=False):
    """Value of a counter or a gauge, and the latest exemplar."""

    value: float = 0
    exemplar: Exemplar | None = None


class Spread(Struct):
    """Series of a histogram: the number of values in each bucket, the last one without a bound.

    `latest` and `exemplars`: each bucket's latest value, and its exemplar.
    """

    counts: list[int]
    latest: list[float]
    exemplars: list[Exemplar | None]
    total: float = 0.0
    smallest: float = float("inf")
    largest: float = float("-inf")


class Family:
    """Series of one metric by the values of its labels, at most `series_max` and one for the overflow.

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
        """Add to a counter."""
        count = self.counts.get(labels)
        if count is None:
            if len(self.counts) >= self._max:
                labels = self._overflow
            count = self.counts.setdefault(labels, Count())
        count.value += amount
        if exemplar is not None:
            count.exemplar = exemplar

    def set(self, labels: Labels, value: float) -> None:
        """Set a gauge."""
        self.counts[labels] = Count(value)

    def record(self, labels: Labels, value: float, exemplar: Exemplar | None = None) -> None:
        """Record a value of a histogram."""
        spread = self.spreads.get(labels)
        if spread is None:
            if len(self.spreads) >= self._max:
                labels = self._overflow
            spread = self.spreads.get(labels)
            if spread is None:
                buckets = len(self.instrument.bounds) + 1
                spread = self.spreads[labels] = Spread([0] * buckets, [0.0] * buckets, [None] * buckets)
        # A bound is part of the bucket below it.
        bucket = bisect_left(self.instrument.bounds, value)
        spread.counts[bucket] += 1
        spread.latest[bucket] = value
        spread.exemplars[bucket] = exemplar
        spread.total += value
        spread.smallest = min(spread.smallest, value)
        spread.largest = max(spread.largest, value)

    def named(self, labels: Labels) -> Mapping[str, str | int | bool]:
        """Return the labels of a series by name, without those that do not apply."""
        if labels and labels[0] == OVERFLOW:
            return {OVERFLOW: True}
        return {name: value for name, value in zip(self.instrument.labels, labels, strict=True) if value is not None}


class Known:
    """Values of a label, first come first served up to a limit; `other` replaces the rest.

    A value is `sure` if an upstream answered to it. Others may be anything a client sends, and take half of the limit.
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
