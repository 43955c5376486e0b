"""Attempts whose client has left, over real sockets: read on for their usage within bounds, and without another one."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.proxy import abandoned, relay
from tests.support.gateways import InProcess, to
from tests.support.raw_http import connected, request
from tests.support.upstream import Asked, Step, Upstream, reply, stream

CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
USAGE = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
FIRST = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":%b}\n\n' % json.dumps(USAGE).encode()
DONE = b"data: [DONE]\n\n"
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
(WHOLE,) = reply({"id": "c", "model": "m", "choices": [CHOICE], "usage": USAGE})
FOREVER = 30.0
ON = "[usage]\ndrain_seconds = 30\n"
PATH = "/v1/chat/completions"


async def until_read_on(gateway: InProcess) -> None:
    """Wait until the gateway has seen that the client left, and reads on."""
    for _ in range(1000):
        if gateway.health()["drains"]["total"]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nothing is read on")


async def abandon(gateway: InProcess, upstream: Upstream, steps: list[Step], *, path: str, waits: bool, **more: Any):
    """Send a request, and leave: once content has come, or if it `waits`, once the provider has the request."""
    asked = asyncio.Event()

    def answer(_asked: Asked) -> list[Step]:
        asked.set()
        return steps

    upstream.answer = answer
    body = json.dumps(CHAT | more).encode()
    async with connected(gateway.url) as connection:
        await connection.send(request("POST", path, [("Content-Type", "application/json")], body))
        await asked.wait()
        if not waits:
            await connection.head()
            while b'"a"' not in await connection.piece():
                pass


def facts(gateway: InProcess) -> tuple[Any, ...]:
    """Return the source and the counts of the only attempt, which its client abandoned."""
    attempt, root = gateway.attempt(), gateway.exchange()
    assert attempt["outcome"] == root["outcome"] == "client_abort"
    assert "error_type" not in attempt
    assert root.get("total_tokens") == attempt.get("total_tokens")
    return tuple(attempt.get(name) for name in ("usage_source", "input_tokens", "output_tokens", "total_tokens"))


# Settings, a path, further members of the request, whether its client leaves before the head, and the provider's steps
# before and after the client has left.
READ_ON: dict[str, tuple[str, str, dict[str, Any], bool, list[Any], list[Any]]] = {
    "a stream": (ON, PATH, STREAMED, False, stream([FIRST])[:-1], stream([LAST, DONE])[1:]),
    "a stream, before its head": (ON, PATH, STREAMED, True, [], stream([FIRST, LAST, DONE])),
    "a stream without its end": (ON, PATH, STREAMED, False, stream([FIRST])[:-1], [*stream([LAST])[1:-1], "reset"]),
    "a body, before its head": (ON, PATH, {}, True, [], [WHOLE]),
    "a body, in its middle": (ON, PATH, {}, True, [WHOLE[:-60]], [WHOLE[-60:]]),
    "chronicle, with nothing set": ("", "/chat", STREAMED, False, stream([FIRST])[:-1], stream([LAST, DONE])[1:]),
    "chronicle, a body": ("", "/chat", {}, True, [], [WHOLE]),
}


@pytest.mark.parametrize(("toml", "path", "more", "waits", "before", "after"), READ_ON.values(), ids=READ_ON)
async def test_an_abandoned_attempt_is_read_on(
    upstream: Upstream, tmp_path: Path, toml, path, more, waits, before, after
):
    """To the provider's last bytes, so that its usage is the reported one; the outcome says that the client left."""
    go_on = asyncio.Event()
    async with InProcess(tmp_path / "data", to(upstream.url, toml)) as gateway:
        await abandon(gateway, upstream, [*before, go_on, *after], path=path, waits=waits, **more)
        await until_read_on(gateway)
        assert gateway.health()["drains"]["active"] == 1
        go_on.set()
        await gateway.ended()
        assert facts(gateway) == ("reported", 20, 9, 29)
        assert gateway.exchange()["attributes"]["gateway.drained_ms"] > 0
        assert gateway.health()["drains"] == {"active": 0, "total": 1}
        assert (upstream.gone, len(upstream.asked), gateway.journal.in_flight) == (0, 1, 0)


@pytest.mark.parametrize("waits", [True, False])
async def test_by_default_the_request_upstream_is_cancelled(upstream: Upstream, gateway: InProcess, waits: bool):
    """At once, and the tokens of a stream are estimated."""
    steps: list[Step] = [*([] if waits else stream([FIRST])[:-1]), FOREVER]
    await abandon(gateway, upstream, steps, path=PATH, waits=waits, **STREAMED)
    await upstream.left()
    await gateway.ended()
    assert facts(gateway)[0] == (None if waits else "estimated")
    assert "gateway.drained_ms" not in gateway.exchange()["attributes"]
    assert gateway.health()["drains"]["total"] == 0


@pytest.mark.parametrize("waits", [True, False])
async def test_reading_on_ends_after_the_set_time(upstream: Upstream, tmp_path: Path, waits: bool):
    """A provider that is slower is left then; a stream's tokens are estimated."""
    steps: list[Step] = [*([] if waits else stream([FIRST])[:-1]), FOREVER]
    async with InProcess(tmp_path / "data", to(upstream.url, "[usage]\ndrain_seconds = 0.05\n")) as gateway:
        await abandon(gateway, upstream, steps, path=PATH, waits=waits, **STREAMED)
        await upstream.left()
        await gateway.ended()
        assert facts(gateway)[0] == (None if waits else "estimated")
        assert gateway.exchange()["attributes"]["gateway.drained_ms"] >= 50


async def test_reading_on_ends_after_so_many_bytes(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An endless stream is left."""
    monkeypatch.setattr(relay, "BYTES_MAX", 10_000)
    go_on = asyncio.Event()
    steps = [*stream([FIRST])[:-1], go_on, *stream([FIRST] * 1000)[1:-1], FOREVER]
    async with InProcess(tmp_path / "data", to(upstream.url, ON)) as gateway:
        await abandon(gateway, upstream, steps, path=PATH, waits=False, **STREAMED)
        await until_read_on(gateway)
        go_on.set()
        await gateway.ended()
        assert facts(gateway)[0] == "estimated"


async def test_no_other_attempt_is_made_without_the_client(upstream: Upstream, tmp_path: Path):
    """A failure that would be retried ends the exchange: nobody waits for another attempt."""
    go_on = asyncio.Event()
    async with InProcess(tmp_path / "data", to(upstream.url, ON)) as gateway:
        await abandon(gateway, upstream, [go_on, *reply({}, "503 No")], path=PATH, waits=True)
        await until_read_on(gateway)
        go_on.set()
        await gateway.ended()
        assert (gateway.attempt()["outcome"], gateway.exchange()["outcome"]) == ("server", "client_abort")
        assert len(upstream.asked) == 1


async def test_a_wait_before_the_next_attempt_is_not_read_on(upstream: Upstream, tmp_path: Path):
    """Nothing is under way then: the exchange of a client that leaves ends at once."""
    toml = to(upstream.url, ON).replace("initial_backoff = 1.0", "initial_backoff = 30000.0\nmax_backoff = 30000.0")
    async with InProcess(tmp_path / "data", toml) as gateway:
        upstream.answers(reply({}, "503 No"))
        async with connected(gateway.url) as connection:
            body = json.dumps(CHAT).encode()
            await connection.send(request("POST", PATH, [("Content-Type", "application/json")], body))
            await gateway.ended(kind="CLIENT")
        await gateway.ended()
        assert (gateway.attempt()["outcome"], gateway.exchange()["outcome"]) == ("server", "client_abort")
        assert gateway.health()["drains"]["total"] == 0


async def test_a_stop_cancels_what_is_read_on(upstream: Upstream, tmp_path: Path):
    """At its begin, while clients that stay are answered; the outcome is the client's departure, not the shutdown."""
    go_on = asyncio.Event()
    async with InProcess(tmp_path / "data", to(upstream.url, ON)) as gateway:
        await abandon(gateway, upstream, [*stream([FIRST])[:-1], FOREVER], path=PATH, waits=False, **STREAMED)
        await until_read_on(gateway)
        upstream.answers(stream([FIRST, go_on, LAST, DONE]))
        async with connected(gateway.url) as connection:
            body = json.dumps(CHAT | STREAMED).encode()
            await connection.send(request("POST", PATH, [("Content-Type", "application/json")], body))
            await connection.head()
            gateway.stopping()
            await gateway.ended()
            assert facts(gateway)[0] == "estimated"
            await upstream.left()
            go_on.set()
            await gateway.ended(2)
        assert [row["outcome"] for row in gateway.rows("SERVER")] == ["client_abort", "ok"]


class _Left:
    """The part of an exchange that is used here, whose client leaves when its handler is cancelled."""

    read_on: Any = None
    outcome: Any = None
    abandoned = False

    def abandon(self) -> bool:
        self.abandoned = self.read_on()
        return self.abandoned


async def test_the_end_of_what_is_read_on_is_that_of_its_span():
    """A journal that is closed after `ended` has it."""
    reading, spans = abandoned.Abandoned(), []

    async def handle() -> None:
        try:
            await reading.answer(asyncio.Event().wait(), _Left(), None)
        finally:
            for _ in range(50):
                await asyncio.sleep(0)
            spans.append("ended")

    task = asyncio.get_running_loop().create_task(handle())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert reading.active == 1
    reading.cancel()
    await reading.ended()
    assert (spans, reading.active, reading.total) == (["ended"], 0, 1)


async def test_a_bounded_number_is_read_on(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Beyond it the request upstream is cancelled when its client leaves."""
    monkeypatch.setattr(abandoned, "ATTEMPTS_MAX", 0)
    async with InProcess(tmp_path / "data", to(upstream.url, ON)) as gateway:
        await abandon(gateway, upstream, [*stream([FIRST])[:-1], FOREVER], path=PATH, waits=False, **STREAMED)
        await upstream.left()
        await gateway.ended()
        assert facts(gateway)[0] == "estimated"
        assert gateway.health()["drains"] == {"active": 0, "total": 0}


async def test_with_reading_on_a_client_that_stays_notices_nothing(upstream: Upstream, tmp_path: Path):
    """A response is relayed and recorded as ever."""
    upstream.answers(stream([FIRST, LAST, DONE]))
    async with InProcess(tmp_path / "data", to(upstream.url, ON)) as gateway:
        async with connected(gateway.url) as connection:
            body = json.dumps(CHAT | STREAMED).encode()
            await connection.send(request("POST", PATH, [("Content-Type", "application/json")], body))
            assert (await connection.head())[0] == 200
            data = b""
            while piece := await connection.piece():
                data += piece
        assert data == FIRST + LAST + DONE
        assert (gateway.attempt()["outcome"], gateway.exchange()["outcome"]) == ("ok", "ok")
        assert gateway.health()["drains"]["total"] == 0
