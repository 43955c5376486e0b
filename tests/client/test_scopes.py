"""The base class of runs and steps: ids, times, and objects that begin once."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client import run
from gateway.client.scopes import RANDOM_BITS, new_id, time_of, uuid7
from tests.support.event_receiver import EventReceiver, event_receiver
from tests.support.upstream import Upstream


@pytest.fixture(name="gateway")
async def _gateway(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> AsyncIterator[EventReceiver]:
    async with event_receiver(monkeypatch, upstream) as gateway:
        yield gateway


async def test_one_object_is_one_run(gateway):
    """To use it twice is a mistake, and what it has begun goes on."""
    once = run("r")
    with once, pytest.raises(RuntimeError, match=r"this run has begun already; call run\(\) again"), once:
        pass
    assert [each["type"] for each in await gateway.events()] == ["run:start", "run:update"]


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**RANDOM_BITS - 1))
def test_an_id_is_a_uuid_of_version_7(milliseconds, random):
    """It holds its time and all random bits, so that ids sort by time and do not meet."""
    made = UUID(uuid7(milliseconds, random))
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == milliseconds
    assert (made.int >> 64 & 0xFFF) << 62 | made.int & (1 << 62) - 1 == random


def test_new_ids_differ():
    """Ids made in the same millisecond differ, and are of version 7."""
    made = {new_id() for _ in range(100)}
    assert len(made) == 100
    assert {UUID(each).version for each in made} == {7}


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456Z"),
        (999, "1970-01-01T00:00:00.000000Z"),
        (1_000, "1970-01-01T00:00:00.000001Z"),
    ],
)
def test_a_time_is_rfc_3339(nanoseconds: int, text: str):
    """A Unix time is written in UTC to the microsecond, cut off and not rounded."""
    assert time_of(nanoseconds) == text
