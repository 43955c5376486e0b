"""Moments on a command line: so long ago, or a date, in UTC where nothing else is said."""

import pytest

from gateway.store.times import TimeError, iso, unix_ns

NOW = 1_700_000_000_000_000_000  # 2023-11-14T22:13:20Z


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("90s", "2023-11-14T22:11:50.000000Z"),
        ("90m", "2023-11-14T20:43:20.000000Z"),
        ("12h", "2023-11-14T10:13:20.000000Z"),
        (" 1 D ", "2023-11-13T22:13:20.000000Z"),
        ("2w", "2023-10-31T22:13:20.000000Z"),
        ("900000w", "1970-01-01T00:00:00.000000Z"),
        ("2023-11-01", "2023-11-01T00:00:00.000000Z"),
        ("2023-11-01T08:30", "2023-11-01T08:30:00.000000Z"),
        ("2023-11-01T08:30+02:00", "2023-11-01T06:30:00.000000Z"),
        ("2023-11-01T08:30:00.123456Z", "2023-11-01T08:30:00.123456Z"),
        ("1960-01-01", "1970-01-01T00:00:00.000000Z"),
    ],
)
def test_a_moment_is_read(text, shown):
    """Each form comes to Unix time, exact to the microsecond."""
    assert iso(unix_ns(text, NOW)) == shown


@pytest.mark.parametrize("text", ["", "yesterday", "1", "d", "-1d", "1y", "2023-13-01", "99999999d"])
def test_what_is_no_moment_is_said(text):
    """The error shows the text, and how one is written."""
    with pytest.raises(TimeError, match="90m, 12h, 1d or 2w"):
        unix_ns(text, NOW)
