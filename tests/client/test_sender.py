"""Sending: the action for each response, and the pauses between tries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.sender import Do, Verdict, backoff, verdict

NEXT, AGAIN, GIVE_UP = (
    (200, 202, 204),
    (408, 425, 429, 500, 502, 503, 504, 529),
    (301, 400, 401, 403, 404, 405, 415, 422),
)


@pytest.mark.parametrize("status", [*NEXT, *AGAIN, *GIVE_UP])
def test_a_status_has_its_action(status: int):
    """A batch is accepted, sent again, or dropped, by the status alone."""
    expected = Do.NEXT if status in NEXT else Do.AGAIN if status in AGAIN else Do.GIVE_UP
    assert verdict(status, b"", 3) == Verdict(expected)


def test_a_batch_is_changed_by_its_response():
    """A batch that is too large is halved, and an event that is named is left out."""
    assert verdict(413, b"", 2) == Verdict(Do.SMALLER)
    assert verdict(413, b"", 1) == Verdict(Do.GIVE_UP)
    assert verdict(422, b"- at `$.events[2].data`", 3) == Verdict(Do.WITHOUT, 2)
    assert verdict(422, b"- at `$[1].id`", 3) == Verdict(Do.WITHOUT, 1)
    assert verdict(422, b"- at `$.events[3].data`", 3) == Verdict(Do.GIVE_UP)


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_waits_grow_and_are_bounded(failures, fraction):
    """From a tenth of a second to ten, and no two clients in step."""
    assert 0.05 <= backoff(failures, fraction) <= 10.0
    assert backoff(failures, fraction) <= backoff(failures + 1, fraction)
    assert backoff(100, 0.0) == 5.0
