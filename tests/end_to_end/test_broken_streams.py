"""A provider that dies after its first byte never looks like success, and nobody else is asked instead."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.providers.http.response import Response
from tests.matrix.upstreams import UPSTREAMS
from tests.support.chat_clients import CLIENTS, COMPLETION, QUICK, alias, answers, ask, chat_request, facts, provider
from tests.support.gateways import InProcess
from tests.support.raw_http import connected
from tests.support.upstream import CLOSE, RESET, Asked, Step, Upstream, stream

FIRST = {"messages": "claude-sonnet-5", "chat": "small-4", "gemini": "gemini-3", "converse": "nova-2"}
# How, what that is, and for how many seconds the gateway takes a silence for none.
HOW: dict[str, tuple[Step, str, float]] = {
    "closed": (CLOSE, "upstream_abort", 30.0),
    "reset": (RESET, "upstream_abort", 30.0),
    "stalled": (30.0, "timeout", 0.2),
}


@pytest.fixture(name="how")
def _how() -> str:
    return "reset"


@pytest.fixture(name="fleet")
async def _fleet(how: str, upstream: Upstream, second: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Start a worker with an alias for each dialect of a first candidate; the second one is the same for all."""
    toml = provider("well", "chat", second.url)
    for dialect, model in FIRST.items():
        toml += provider(f"my-{dialect}", dialect, upstream.url) + alias(dialect, f"my-{dialect}/{model}", "well/m")
    async with InProcess(tmp_path / "fleet", toml + QUICK + f"[timeouts]\nidle = {HOW[how][2]}\n") as gateway:
        yield gateway


def dies(dialect: str, how: Step, after: asyncio.Event) -> list[Step]:
    """Stream the beginning of an answer, up to its first word, and then die."""
    speaks, begun = UPSTREAMS[dialect], []
    for piece in speaks.streamed(COMPLETION, "m"):
        begun.append(piece.data)
        if piece.tells is not None:
            break
    return stream([*begun, after], content_type=speaks.content_type, end=how)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_stream_that_dies_is_an_error_to_each_client(
    client: str, first: str, how: str, upstream: Upstream, second: Upstream, fleet: InProcess
):
    """The client is told in its dialect and its connection breaks off; the spans say why; there is one attempt."""
    step, outcome, _ = HOW[how]
    gate = asyncio.Event()
    upstream.answers(dies(first, step, gate))
    async with connected(fleet.url) as connection:
        await connection.send(chat_request(client, first, streamed=True))
        assert (await connection.head())[0] == 200
        body = b""
        while b"Good " not in body:
            piece = await connection.piece()
            assert piece
            body += piece
        gate.set()
        rest = await connection.rest()
    assert not connection.whole
    assert b"Good day" not in body + rest
    assert CLIENTS[client].broken in rest
    assert second.asked == []
    await fleet.ended()
    assert facts(fleet, "provider", "outcome", "http_status", "reason") == [(f"my-{first}", outcome, 200, "first")]
    root = fleet.exchange()
    assert (root["outcome"], root["attempts"], root["retries"]) == (outcome, 1, 0)
    assert root["error"]
    (row,) = fleet.rows("CLIENT")
    assert row["output_messages"][0]["parts"][0]["content"] == "Good "
    assert row["finish_reasons"] == ["error"]


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_whole_response_that_breaks_off_is_none(
    client: str, first: str, upstream: Upstream, second: Upstream, fleet: InProcess
):
    """Nothing of half a small body is passed on: another candidate answers."""

    def half(asked: Asked) -> list[Step]:
        (whole,) = answers(first, asked)
        assert isinstance(whole, bytes)
        return [whole[: len(whole) // 2 + 60], 0.02, RESET]

    upstream.answer = half
    answer = await ask(fleet, client, first)
    assert (answer.status, answer.whole) == (200, True)
    assert b"Good " in answer.body
    assert len(second.asked) == 1
    assert facts(fleet, "outcome") == [("upstream_abort",), ("ok",)]


async def test_nothing_is_written_into_a_frame(upstream: Upstream, fleet: InProcess):
    """A provider that dies within one of AWS's frames leaves the client with half of it, and no more."""
    gate = asyncio.Event()
    speaks = UPSTREAMS["converse"]
    whole, half = [piece.data for piece in speaks.streamed(COMPLETION, "m")][:2]
    half = half[:-1] + b"\n"  # which ends an event elsewhere
    upstream.answers(stream([whole, half[:40], half[-1:], gate], content_type=speaks.content_type, end=CLOSE))
    async with connected(fleet.url) as connection:
        await connection.send(chat_request("converse", "converse", streamed=True))
        await connection.head()
        body = b""
        while len(body) < len(whole) + 41:
            body += await connection.piece()
        gate.set()
        assert await connection.rest() == b""
    assert not connection.whole


@pytest.mark.parametrize("client", ["chat", "messages"])
async def test_a_fault_of_the_gateway_within_a_body_breaks_it_off(
    client: str, upstream: Upstream, fleet: InProcess, monkeypatch: pytest.MonkeyPatch
):
    """After the first byte no error of the gateway follows: the client's body is cut off, and a second head is none."""
    gate = asyncio.Event()
    upstream.answers([*dies("chat", b"9\r\n: more\n\n\n\r\n", gate), 30.0])
    read = Response.read

    async def fails_later(self: Response, *args: Any, **more: Any) -> bytes:
        data = await read(self, *args, **more)
        if gate.is_set():
            raise RuntimeError("a fault of the gateway")
        return data

    monkeypatch.setattr(Response, "read", fails_later)
    async with connected(fleet.url) as connection:
        await connection.send(chat_request(client, "chat", streamed=True))
        assert (await connection.head())[0] == 200
        body = b""
        while b"Good " not in body:
            body += await connection.piece()
        gate.set()
        rest = await connection.reader.read()
    assert not connection.whole
    assert b"HTTP/1.1" not in rest
    assert b"a fault of the gateway" not in rest
    await fleet.ended()
    assert fleet.exchange()["outcome"] != "ok"
