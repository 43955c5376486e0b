"""Rate limits in a provider's response headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.registry import TABLES
from gateway.dialects.shared.rate_limits import go_duration, resets, until_rfc3339

NOW = 1_700_000_000.0


def reset(limit, seconds=2):
    """Return what a provider of the limit's API sends for a reset in these seconds."""
    return f"{seconds}s" if limit.reset.startswith("x-") else f"2023-11-14T22:13:{20 + seconds}Z"


@pytest.mark.parametrize("limit", TABLES.rate_limits, ids=lambda each: each.reset)
def test_a_limit_that_is_used_up_is_waited_for(limit):
    """With nothing left, or no word of what is left; with something left its reset does not count."""
    headers = {limit.reset: reset(limit)}
    assert resets(headers, TABLES.rate_limits, NOW) == [2.0]
    assert resets(headers | {limit.remaining: " 0 "}, TABLES.rate_limits, NOW) == [2.0]
    assert resets(headers | {limit.remaining: "1"}, TABLES.rate_limits, NOW) == []
    assert resets({limit.remaining: "0"}, TABLES.rate_limits, NOW) == []
    assert resets({limit.reset: "soon"}, TABLES.rate_limits, NOW) == []


def test_every_limit_that_is_used_up_counts():
    """All of them are returned, as all must be reset before a request can succeed."""
    headers = {limit.reset: reset(limit, 1 + index) for index, limit in enumerate(TABLES.rate_limits)}
    assert sorted(resets(headers, TABLES.rate_limits, NOW)) == [1.0 + n for n in range(len(TABLES.rate_limits))]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2023-11-14T22:13:25Z", 5.0),
        ("2023-11-14T23:13:25+01:00", 5.0),
        ("2023-11-14T22:13:19Z", 0.0),
        ("2023-11-14T22:13:25", None),
        ("5s", None),
        ("", None),
    ],
)
def test_a_date_is_seconds_from_now(text, seconds):
    """One that has passed is 0, and one without a zone is none."""
    assert until_rfc3339(text, NOW) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "1x", "1s ", "s1", "-1s", "1 s"])
def test_no_duration_of_gos(text):
    """Each number has its unit, and nothing else is there."""
    assert go_duration(text) is None


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59999))
def test_go_durations_read_back(hours, minutes, milliseconds):
    """A duration in Go's format is read as the same seconds."""
    text = f"{hours}h{minutes}m{milliseconds / 1000:g}s"
    assert go_duration(text) == pytest.approx(hours * 3600 + minutes * 60 + milliseconds / 1000)
