import asyncio

import pytest

from gateway.providers.http.response import (
    BadResponse,
    ConnectFailed,
    ConnectionClosed,
    ConnectTimeout,
    FirstByteTimeout,
    IdleTimeout,
    Response,
    WireError,
)


class Source:
    """A connection that records what a response does with it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.deadlines: list[float | None] = []
        self.emptied = 0
        self.failures: list[type[WireError]] = []

    def arm(self, seconds: float | None) -> None:
        """Record a deadline."""
        self.deadlines.append(seconds)

    def taken(self, response: Response) -> None:  # noqa: ARG002
        """Count the reads."""
        self.emptied += 1

    def fail(self, kind: type[WireError], what: str) -> None:  # noqa: ARG002
        """Record a failure."""
        self.failures.append(kind)


def opened() -> tuple[Source, Response]:
    """Return a response whose head has come."""
    source = Source()
    response = Response(source, reused=False, connect_seconds=0.0)
    response.status = 200
    return source, response


def arrive(response: Response, *chunks: bytes, end: bool = False) -> None:
    """Deliver chunks, as the connection does."""
    response.chunks += chunks
    response.buffered += sum(map(len, chunks))
    response.ended = end
    response.wake()


async def test_all_buffered_bytes_are_read_at_once() -> None:
    """Chunks are joined, the connection learns that the buffer is empty, and nothing waits."""
    source, response = opened()
    arrive(response, b"a", b"bc")
    assert (await response.read(1.0), response.buffered, source.emptied, source.deadlines) == (b"abc", 0, 1, [])


async def test_a_read_waits_for_a_byte() -> None:
    """The wait has the given deadline; it ends with the next chunk."""
    source, response = opened()
    reading = asyncio.ensure_future(response.read(2.5))
    await asyncio.sleep(0)
    assert (source.deadlines, reading.done()) == ([2.5], False)
    arrive(response, b"x")
    assert await reading == b"x"


async def test_the_end_is_an_empty_read() -> None:
    """A response is complete once its last byte has been read, not when it came."""
    _, response = opened()
    arrive(response, b"x", end=True)
    assert not response.complete
    assert await response.read(1.0) == b"x"
    assert response.complete
    assert [await response.read(1.0) for _ in range(2)] == [b"", b""]


async def test_an_error_follows_the_bytes_before_it() -> None:
    """Bytes that came before an error are read first; then every read raises it."""
    _, response = opened()
    arrive(response, b"x")
    response.error, response.connection = IdleTimeout("late"), None
    assert await response.read(1.0) == b"x"
    for _ in range(2):
        with pytest.raises(IdleTimeout, match="late"):
            await response.read(1.0)


async def test_abort_drops_an_open_response_only() -> None:
    """The connection fails and unread bytes are dropped; a response without a connection stays as it is."""
    source, response = opened()
    arrive(response, b"x")
    response.abort()
    assert (source.failures, response.chunks) == ([ConnectionClosed], [])
    _, other = opened()
    arrive(other, b"y", end=True)
    other.connection = None
    other.abort()
    assert await other.read(1.0) == b"y"


async def test_a_cancelled_read_drops_the_connection() -> None:
    """Otherwise the rest of the body would be read by the next request."""
    source, response = opened()
    reading = asyncio.ensure_future(response.read(1.0))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert source.failures == [ConnectionClosed]
    response.wake()


async def test_the_repr_has_the_state_and_no_content() -> None:
    """It shows the status, the state and the number of unread bytes."""
    _, response = opened()
    assert repr(response) == "<Response 200 open, 0 bytes unread>"
    arrive(response, b"secret")
    assert repr(response) == "<Response 200 open, 6 bytes unread>"
    response.error = IdleTimeout("late")
    assert repr(response) == "<Response 200 late, 6 bytes unread>"
    _, done = opened()
    arrive(done, end=True)
    assert repr(done) == "<Response 200 complete, 0 bytes unread>"


@pytest.mark.parametrize("kind", [ConnectTimeout, FirstByteTimeout, IdleTimeout, ConnectionClosed, BadResponse])
def test_every_error_is_a_wire_error(kind: type[WireError]) -> None:
    """One `except` handles all of them."""
    assert issubclass(kind, WireError)
    assert ConnectFailed("no", "dns").reason == "dns"
