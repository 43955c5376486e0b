"""The last bytes of an answer, which leave once the spans have ended, and the head before them.

The bytes before the last are `test_relay`'s, with the streams that break in all framings.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from gateway.providers.http.response import Headers, Response
from gateway.proxy.answer import Answer, Relayed, dropped_header
from gateway.proxy.attempts import ERROR_BODY_MAX
from gateway.tracing.outcome import OK, Outcome
from tests.support.gateways import InProcess
from tests.support.raw_http import Answer as Received
from tests.support.raw_http import Connection, connected, exchange, request
from tests.support.upstream import CLOSE, Step, Upstream, events, reply, stream

CHAT = {"model": "gpt-5", "messages": [], "stream": True, "stream_options": {"include_usage": True}}
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
CHUNKED = (b"Transfer-Encoding", b"chunked")
VERSIONS = [b"1.0", b"1.1"]


def asking(path: str = "/v1/chat/completions") -> bytes:
    """Return a request for a stream."""
    return request("POST", path, [("Content-Type", "application/json")], json.dumps(CHAT).encode())


async def exactly(connection: Connection, size: int) -> bytes:
    """Read so many bytes of a body."""
    data = b""
    while len(data) < size and (piece := await connection.piece()):
        data += piece
    return data


def upstream_head(headers: Headers = (), status: int = 200, reason: bytes = b"OK") -> Response:
    """Return a provider's response whose body has been read."""
    response = Response(None, reused=False, connect_seconds=0.0)  # type: ignore[arg-type]
    response.status, response.reason, response.headers, response.ended = status, reason, headers, True
    return response


@asynccontextmanager
async def answering(build: Callable[[], Answer], begun: bytes = b"") -> AsyncIterator[str]:
    """Serve one answer on a socket; `begun` is written before its last bytes. Yields the URL."""

    async def handle(request: web.Request) -> web.StreamResponse:
        answer = build()
        if begun:
            await answer.response.prepare(request)
            await answer.response.write(begun)
        return await answer.finish(request)

    application = web.Application()
    application.router.add_route("*", "/", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def received(response: Relayed, last: bytes = b"body") -> Received:
    """Return a response as its client gets it."""
    async with answering(lambda: Answer(outcome=Outcome(OK, 200), response=response, last=last)) as url:
        return await exchange(url, request("GET", "/"))


# The head.


async def test_a_head_is_the_providers():
    """Its headers arrive in their order, case and bytes, repeated ones too; no header is added to them."""
    sent = [
        (b"X-One", b"a"),
        (b"set-cookie", b"b=1"),
        (b"Set-Cookie", b"c=2"),
        (b"x-name", b"caf\xe9"),
        (b"ETag", b"z"),
    ]
    answer = await received(Relayed(upstream_head(tuple(sent), 201, b"Made"), {}))
    assert (answer.status, answer.reason, answer.body) == (201, b"Made", b"body")
    assert answer.headers == [*sent, CHUNKED]


@pytest.mark.parametrize("name", [b"Connection", b"Keep-Alive", b"Transfer-Encoding", b"Upgrade", b"X-Own"])
async def test_headers_of_one_connection_stay_there(name: bytes):
    """Hop-by-hop headers, and those that `Connection` names, are not the client's."""
    sent = ((b"connection", b"x-own"), (b"x-own", b"1"), (name, b"x-own"), (b"x-kept", b"1"))
    answer = await received(Relayed(upstream_head(sent), {}))
    assert answer.headers == [(b"x-kept", b"1"), CHUNKED]


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-Accel-Buffering", "yes"), ("Cache-Control", "max-age=9"), ("x-gateway-trace-id", "ours")],
)
async def test_the_providers_advice_has_precedence(name: str, value: str):
    """Advice to intermediaries is the provider's own if it gives any; every other header of ours replaces its."""
    theirs = ((name.lower().encode(), b"theirs"),)
    answer = await received(Relayed(upstream_head(theirs), {name: value}))
    assert answer.values(name.encode()) == [value.encode() if name == "x-gateway-trace-id" else b"theirs"]


@pytest.mark.parametrize("name", [b"Content-Type", b"Content-Length", b"Content-Encoding", b"ETag", b"Digest"])
async def test_headers_of_a_body_go_with_it(name: bytes):
    """A body that the gateway wrote has none of the headers that describe the provider's."""
    answer = await received(Relayed(upstream_head(((name, b"1"), (b"x-kept", b"1"))), {}, content_type="text/x"))
    assert sorted(answer.headers) == [(b"Content-Type", b"text/x"), CHUNKED, (b"x-kept", b"1")]


async def test_a_status_of_ours_has_its_own_reason():
    """A replaced status has the usual reason phrase; the provider's phrase stays only with its own status."""
    answer = await received(Relayed(upstream_head((), 400, b"Nope"), {}, content_type="text/x", status=200))
    assert (answer.status, answer.reason) == (200, b"OK")
    answer = await received(Relayed(upstream_head((), 400, b"No\x00pe\x7f"), {}))
    assert (answer.status, answer.reason) == (400, b"Nope")


@pytest.mark.parametrize(
    ("names", "header"),
    [
        pytest.param([], None, id="none"),
        pytest.param(["store", "logprobs"], "store, logprobs", id="two"),
        pytest.param(["a,b\r\n\xe9"], "a?b???", id="characters that a header cannot have"),
        pytest.param([f"f{n}" for n in range(40)], ", ".join(f"f{n}" for n in range(40)), id="forty"),
        pytest.param([f"f{n}" for n in range(43)], ", ".join(f"f{n}" for n in range(40)) + ", and 3 more", id="more"),
    ],
)
def test_dropped_fields_are_named(names: Sequence[str], header: str | None):
    """`x-gateway-dropped` names up to 40 fields, and how many more there are."""
    assert dropped_header(names) == ({} if header is None else {"x-gateway-dropped": header})


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_stream_is_not_to_be_buffered(streamed: bool, upstream: Upstream, gateway: InProcess):
    """Every response has the ids of its trace; a stream's has advice to proxies besides."""
    upstream.answers(stream([EVENT, DONE]) if streamed else reply({"choices": []}))
    answer = await exchange(gateway.url, asking())
    trace = gateway.exchange()["trace_id"].encode()
    assert answer.values(b"x-gateway-trace-id") == [trace]
    assert trace in answer.values(b"traceresponse")[0]
    assert answer.values(b"x-accel-buffering") == ([b"no"] if streamed else [])
    assert answer.values(b"cache-control") == ([b"no-cache"] if streamed else [])


async def test_behind_another_gateway_its_trace_passes_and_ours_has_our_name(upstream: Upstream, gateway: InProcess):
    """`x-gateway-trace-id` is the trace of this gateway; the `traceresponse` of a provider is not replaced."""
    theirs = f"00-{'a' * 32}-{'b' * 16}-01"
    upstream.answers(reply({"id": "a"}, headers=[("x-gateway-trace-id", "theirs"), ("traceresponse", theirs)]))
    answer = await exchange(gateway.url, asking())
    assert answer.values(b"x-gateway-trace-id") == [gateway.exchange()["trace_id"].encode()]
    assert answer.values(b"traceresponse") == [theirs.encode()]


# The spans have ended before the last bytes.


async def test_the_record_comes_before_a_streams_last_event(upstream: Upstream, gateway: InProcess, read):
    """A client with a stream's last event finds both spans recorded, even while the provider keeps the body open."""
    pieces = events(read("chat_text.sse"))
    gate = asyncio.Event()
    upstream.answers(stream([*pieces, gate]))
    async with connected(gateway.url) as connection:
        await connection.send(asking())
        await connection.head()
        assert (await exactly(connection, sum(map(len, pieces)))).endswith(b"[DONE]\n\n")
        assert (gateway.attempt()["outcome"], gateway.exchange()["outcome"]) == ("ok", "ok")
        gate.set()
        assert await connection.rest() == b""
        assert connection.whole
    assert len(gateway.rows()) == 2


@pytest.mark.parametrize("end", [b"", b"0\r\n\r\n"], ids=["length", "chunked"])
async def test_the_record_comes_before_a_bodys_last_byte(end: bytes, upstream: Upstream, gateway: InProcess, read):
    """A client with a whole response finds both spans recorded; until its last byte it is in flight.

    A smaller body is not relayed at all before its last byte, as it may be an error's.
    """
    data, gate = read("chat_whole.json").rstrip() + b" " * ERROR_BODY_MAX, asyncio.Event()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    steps: list[Step]
    if end:
        steps = [
            head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(data),
            data[:-9],
            gate,
            data[-9:] + b"\r\n" + end,
        ]
    else:
        steps = [head + b"Content-Length: %d\r\n\r\n" % len(data), data[:-9], gate, data[-9:]]
    upstream.answers(steps)
    async with connected(gateway.url) as connection:
        await connection.send(asking())
        await connection.head()
        assert await exactly(connection, len(data) - 9) == data[:-9]
        assert gateway.rows() == []
        assert gateway.journal.in_flight == 1
        gate.set()
        assert await exactly(connection, 9) == data[-9:]
        assert [row["outcome"] for row in gateway.rows()] == ["ok", "ok"]
        await connection.rest()
        assert connection.whole


# The rest, after a stream's own last event.


async def test_the_rest_is_relayed(upstream: Upstream, gateway: InProcess):
    """Comments and blank lines after a stream's last event are relayed as they come, and add no span."""
    gates = [asyncio.Event(), asyncio.Event()]
    upstream.answers(stream([EVENT, DONE, gates[0], b": later\n\n", gates[1], b"\n"]))
    async with connected(gateway.url) as connection:
        await connection.send(asking())
        await connection.head()
        assert await exactly(connection, len(EVENT + DONE)) == EVENT + DONE
        for gate, piece in zip(gates, (b": later\n\n", b"\n"), strict=True):
            gate.set()
            assert await exactly(connection, len(piece)) == piece
        assert await connection.rest() == b""
        assert connection.whole
    assert [row["outcome"] for row in gateway.rows()] == ["ok", "ok"]


async def test_a_rest_that_breaks_does_not_look_whole(upstream: Upstream, gateway: InProcess):
    """If the provider's body breaks after its last event, so does the client's; the outcome stays."""
    gate = asyncio.Event()
    upstream.answers(stream([EVENT, DONE, gate], end=CLOSE))
    async with connected(gateway.url) as connection:
        await connection.send(asking())
        await connection.head()
        assert await exactly(connection, len(EVENT + DONE)) == EVENT + DONE
        gate.set()
        assert await connection.rest() == b""
        assert not connection.whole
    assert [row["outcome"] for row in gateway.rows()] == ["ok", "ok"]


async def test_a_client_that_leaves_the_rest_frees_the_provider(upstream: Upstream, gateway: InProcess):
    """Most clients hang up after the last event: the provider's connection is dropped, and the outcome is `ok`."""
    upstream.answers(stream([EVENT, DONE, *[b": more\n\n", 0.01] * 500, 30.0]))
    async with connected(gateway.url) as connection:
        await connection.send(asking())
        await connection.head()
        await exactly(connection, len(EVENT + DONE))
    await upstream.left()
    assert [row["outcome"] for row in gateway.rows()] == ["ok", "ok"]


# A connection that is broken off.


@pytest.mark.parametrize("last", [b"", b"data: the error\n\n"], ids=["without an event", "with an event"])
@pytest.mark.parametrize("length", [None, 100])
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_broken_answer_never_looks_whole(version: bytes, length: int | None, last: bytes):
    """The client reads all that was sent, then an end that is none: a reset if only the connection ends the body."""
    headers = () if length is None else ((b"Content-Length", b"%d" % length),)

    def build() -> Answer:
        return Answer(
            outcome=Outcome("upstream_abort", 200),
            response=Relayed(upstream_head(headers), {}),
            last=last,
            broken=True,
        )

    async with answering(build, begun=EVENT) as url, connected(url) as connection:
        await connection.send(request("GET", "/").replace(b"HTTP/1.1", b"HTTP/" + version))
        await connection.head()
        body = await connection.rest()
    assert (EVENT + last).startswith(body)
    if last:  # it leaves a moment before the end
        assert body == EVENT + last
    assert not connection.whole


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_answer_that_is_not_broken_looks_whole(version: bytes):
    """In the same framings an orderly end is whole."""
    async with (
        answering(
            lambda: Answer(outcome=Outcome(OK, 200), response=Relayed(upstream_head(), {}), last=DONE), begun=EVENT
        ) as url,
        connected(url) as connection,
    ):
        await connection.send(request("GET", "/").replace(b"HTTP/1.1", b"HTTP/" + version))
        await connection.head()
        assert await connection.rest() == EVENT + DONE
    assert connection.whole
