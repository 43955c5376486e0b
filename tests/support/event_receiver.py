"""A receiver of the Python client's events, which keeps them in order of arrival."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.client import configure, delivery, flush
from tests.support.upstream import Asked, Upstream, reply

ACCEPTED = reply({"accepted": 1}, "202 Accepted")


class EventReceiver:
    """The events that were accepted, and the client's process-wide state, which is this test's own."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.url = upstream.url

    @property
    def bodies(self) -> list[list[dict[str, Any]]]:
        """Every batch that was sent, whatever became of it."""
        return [asked.json["events"] for asked in self.upstream.asked]

    async def events(self) -> list[dict[str, Any]]:
        """Have all sent that is queued, and return all events that were sent so far."""
        assert await asyncio.to_thread(flush, 50.0)
        return [event for batch in self.bodies for event in batch]


@asynccontextmanager
async def event_receiver(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> AsyncIterator[EventReceiver]:
    """Give the client a state of its own, and lead it to a gateway that accepts everything."""

    def accept(_asked: Asked) -> list[Any]:
        return list(ACCEPTED)

    upstream.answer = accept
    monkeypatch.setattr(delivery, "_delivery", None)
    configure(url=upstream.url)
    try:
        yield EventReceiver(upstream)
    finally:
        await ended()


async def ended() -> None:
    """End this test's sender, so that it has no word in the next one."""
    mine = delivery.this_process()
    mine.outbox.close()
    if mine._thread is not None:
        await asyncio.to_thread(mine._thread.join, 10.0)
