"""Series of a metric: buckets, limits on the number of series, and names that labels may have."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.metrics import instruments
from gateway.store.metrics.series import OVERFLOW, Count, Exemplar, Family, Known

_VALUES = st.floats(0, 1000) | st.sampled_from(instruments.OPERATION_DURATION.bounds)


@given(st.lists(_VALUES, min_size=1, max_size=50))
def test_a_histogram_has_each_value_once(values):
    """In the bucket of the least bound that is not below it; the buckets of a page add up to the count."""
    family = Family(instruments.OPERATION_DURATION)
    labels = ("chat",) + (None,) * 4
    for value in values:
        family.record(labels, value)
    (spread,) = family.spreads.values()
    bounds = (*instruments.OPERATION_DURATION.bounds, math.inf)
    for index, bound in enumerate(bounds):
        assert sum(spread.counts[: index + 1]) == sum(value <= bound for value in values)
    assert (spread.smallest, spread.largest) == (min(values), max(values))
    assert spread.total == pytest.approx(sum(values))


def test_a_name_that_is_known_stays_and_a_long_one_is_cut():
    """A name is no text."""
    known = Known(2)
    assert (known("a", sure=False), known("b", sure=False), known("c"), known("a"), known("d")) == (
        "a", "other", "c", "a", "other",
    )  # fmt: skip
    assert len(Known(1)("x" * 1000) or "") == 120
    assert known(None) is None


def test_series_beyond_the_limit_are_one():
    """It says what it is, in the SDK's own word, and nothing is lost of the sum."""
    family = Family(instruments.ATTEMPTS, series_max=3)
    spreads = Family(instruments.FIRST_BYTE, series_max=3)
    for number in range(10):
        family.add(("ok", "first", "p", f"m{number}"))
        spreads.record(("p", f"m{number}"), 1.0)
    assert len(family.counts) == len(spreads.spreads) == 4
    assert sum(count.value for count in family.counts.values()) == 10
    (overflow,) = [labels for labels in family.counts if labels[0] == OVERFLOW]
    assert family.named(overflow) == {"otel.metric.overflow": True}
    assert family.counts[overflow].value == 7


def test_an_empty_name_is_none():
    """As one label that is missing."""
    assert Known(2)("") is None


def test_a_gauge_is_what_was_set_last():
    """Not the sum of it."""
    family = Family(instruments.WORKERS)
    family.set((), 3)
    family.set((), 2)
    assert [count.value for count in family.counts.values()] == [2]


def test_a_series_remembers_the_latest_exemplar():
    """One that comes without leaves the last."""
    family = Family(instruments.ATTEMPTS)
    labels = ("ok", "first", "p", "m")
    latest = Exemplar("2" * 32, "2" * 16, 2)
    family.add(labels, 1, Exemplar("1" * 32, "1" * 16, 1))
    family.add(labels, 1, latest)
    family.add(labels, 3)
    assert family.counts[labels] == Count(5, latest)
