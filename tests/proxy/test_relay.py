"""A provider's bytes relayed as they arrive, streams that break, and clients that leave. Last bytes: `test_answer`."""

import asyncio
import itertools
import json
import zlib
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.conftest import FIXTURES
from tests.support.examples import examples
from tests.support.gateways import InProcess, to
from tests.support.raw_http import Connection, connected, exchange, request
from tests.support.upstream import CLOSE, RESET, Step, Upstream, events, reply, stream

CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}], "stream": True}
UNASKED = dict(CHAT)
CHAT |= {"stream_options": {"include_usage": True}}
PATHS = {
    "chat": "/v1/chat/completions",
    "completion": "/v1/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
}
# The fixtures of the dialects that clients may speak to us.
STREAMS = sorted(path.name for path in FIXTURES.glob("*.sse") if path.stem.partition("_")[0] in PATHS)
# Fields that differ between two exchanges with the same bytes.
FLEETING = {
    "trace_id", "span_id", "parent_span_id", "start_ns", "duration_ns", "overhead_us", "ttfb_ms", "ttfc_s",
    "chunk_times_ms",
}  # fmt: skip


def asking(name: str = "chat", body: dict[str, Any] = CHAT, version: bytes = b"1.1") -> bytes:
    """Return a request for a stream to the path that a fixture is from."""
    kind = name.removesuffix(".sse").partition("_")[0]
    path = PATHS[kind]
    if kind == "responses":
        body = {"model": "gpt-5", "input": "hi", "stream": True}
    data = request("POST", path, [("Content-Type", "application/json")], json.dumps(body).encode())
    return data.replace(b"HTTP/1.1", b"HTTP/" + version, 1)


def gated(pieces: list[bytes]) -> tuple[list[asyncio.Event], list[Step]]:
    """Return a gate for each piece, and the stream that sends a piece only once its gate is open."""
    gates = [asyncio.Event() for _ in pieces]
    return gates, stream(step for pair in zip(gates, pieces, strict=True) for step in pair)


async def exactly(connection: Connection, size: int) -> bytes:
    """Read so many bytes of a body."""
    data = b""
    while len(data) < size and (piece := await connection.piece()):
        data += piece
    return data


def facts(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a span says, without the ids and the times."""
    kept = {key: value for key, value in row.items() if key not in FLEETING}
    said = kept.get("attributes", {}).items()
    return kept | {"attributes": {key: value for key, value in said if ".overhead." not in key}}


async def test_a_stream_is_relayed_and_recorded(upstream: Upstream, gateway: InProcess, read):
    """What the provider streamed arrives byte for byte, and is one exchange with one attempt."""
    data = read("chat_text.sse")
    upstream.answers(stream(events(data)))
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{gateway.url}/v1/chat/completions", json=CHAT) as response,
    ):
        assert await response.read() == data
    assert gateway.exchange()["outcome"] == "ok"
    assert gateway.attempt()["usage_source"] == "reported"
    assert gateway.ask("SELECT outcome, attempts FROM exchanges") == [("ok", 1)]


# Chunk by chunk: the provider sends a piece only after the client has had the one before.


@pytest.mark.parametrize("name", ["chat_tools.sse", "messages_text.sse", "responses_text.sse"])
@pytest.mark.parametrize("asked", [CHAT, UNASKED], ids=["as it is", "usage asked for"])
async def test_an_event_is_passed_on_before_the_next_is_sent(name, asked, upstream: Upstream, gateway: InProcess, read):
    """The head is with the client together with the first event, and each event before the next one exists."""
    pieces = events(read(name))
    gates, steps = gated(pieces)
    upstream.answers(steps)
    async with connected(gateway.url) as connection:
        await connection.send(asking(name, asked))
        gates[0].set()
        assert await connection.head() == (200, b"OK")
        for gate, piece in zip(gates, pieces, strict=True):
            gate.set()
            assert await exactly(connection, len(piece)) == piece
        assert await connection.rest() == b""
        assert connection.whole


_baselines: dict[tuple[str, str], list[dict[str, Any]]] = {}


# A stream that fails before its content is another attempt's, unless its first event comes long before.
@pytest.mark.parametrize("name", [name for name in STREAMS if "error" not in name])
@examples(20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 5000), max_size=12))
async def test_any_split_gives_the_same_bytes_and_the_same_row(
    name, cuts, upstream: Upstream, gateway: InProcess, read
):
    """Wherever the network cuts a stream, each piece after the first event is passed on at once.

    The record is the one of the whole.
    """
    data, of = read(name), (name, upstream.url)
    if of not in _baselines:
        upstream.answers(stream([data]))
        assert (await exchange(gateway.url, asking(name))).body == data
        _baselines[of] = [facts(row) for row in gateway.rows()[-2:]]
    ends = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[a:b] for a, b in itertools.pairwise(ends)]
    gates, steps = gated(pieces)
    upstream.answers(steps)
    async with connected(gateway.url) as connection:
        await connection.send(asking(name))
        first, held = data.index(b"\n\n", data.index(b"data:")) + 2, b""
        for gate, piece, end in zip(gates, pieces, ends[1:], strict=True):
            gate.set()
            held += piece
            if end < first:
                continue
            if first:
                await connection.head()
            assert await exactly(connection, len(held)) == held
            first, held = 0, b""
        assert await connection.rest() == b""
        assert connection.whole
    assert len(_baselines[of]) == 2
    assert [facts(row) for row in gateway.rows()[-2:]] == _baselines[of]


async def test_asking_for_usage_shows_the_client_nothing(upstream: Upstream, gateway: InProcess, read):
    """Where usage is asked for in the client's place, its extra event is withheld and every other byte is passed on."""
    pieces = events(read("chat_text.sse"))
    extra = next(piece for piece in pieces if b'"choices":[]' in piece.replace(b" ", b""))
    upstream.answers(stream(pieces))
    answer = await exchange(gateway.url, asking(body=UNASKED))
    assert answer.body == b"".join(piece for piece in pieces if piece is not extra)
    assert answer.whole
    assert upstream.asked[0].json == CHAT
    assert gateway.attempt()["usage_source"] == "reported"


# A stream that breaks.

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
FRAMINGS = {
    "chunked": (b"Transfer-Encoding: chunked\r\n\r\n", lambda data: b"%x\r\n%b\r\n" % (len(data), data)),
    "length": (b"Content-Length: %d\r\n\r\n" % (len(EVENT) + 90), bytes),
    "connection": (b"\r\n", bytes),
}
# How, what that is, and for how many seconds the gateway waits for more.
BREAKS: dict[str, tuple[Step, str, float]] = {
    "closed": (CLOSE, "upstream_abort", 30.0),
    "reset": (RESET, "upstream_abort", 30.0),
    "stalled": (30.0, "timeout", 0.2),
}


@pytest.fixture(name="how")
def _how() -> str:
    return "reset"


@pytest.fixture(name="impatient")
async def _impatient(how: str, upstream: Upstream, tmp_path):
    """Start a worker that tries once, and where a provider stalls waits a fifth of a second for the rest of a body."""
    more = f"max_tries = 1\n[timeouts]\nidle = {BREAKS[how][2]}\n"
    async with InProcess(tmp_path / "impatient", to(upstream.url, more)) as gateway:
        yield gateway


async def broken(
    connection: Connection, gateway: InProcess, upstream: Upstream, sent: bytes, gate: asyncio.Event
) -> bytes:
    """Read what was sent, let the provider break, and return what else comes, which must not look whole."""
    await connection.head()
    assert await exactly(connection, len(sent)) == sent
    gate.set()
    rest = await connection.rest()
    assert not connection.whole
    await gateway.ended()
    assert len(gateway.rows()) == 2
    upstream.answers(reply({"choices": []}))
    assert (await exchange(gateway.url, asking())).status == 200  # the next one is served
    return rest


@pytest.mark.parametrize("sent", [EVENT, EVENT + EVENT[:20]], ids=["between events", "within an event"])
@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_a_broken_stream_never_looks_whole(version, framing, how, sent, upstream: Upstream, impatient: InProcess):
    """However the provider frames its body and breaks off, the client's own ends without its end."""
    (more, encode), (step, outcome, _), gate = FRAMINGS[framing], BREAKS[how], asyncio.Event()
    upstream.answers([HEAD + more, encode(sent), gate, step])
    async with connected(impatient.url) as connection:
        await connection.send(asking(version=version))
        rest = await broken(connection, impatient, upstream, sent, gate)
    attempt, whole = impatient.rows()[:2]
    assert (attempt["outcome"], whole["outcome"]) == (outcome, outcome)
    assert whole["error"]
    assert attempt["error"]
    # A client that can be told is told: between two events.
    tellable = sent == EVENT and not (framing == "connection" and how == "closed")
    if version == b"1.1":
        assert rest.startswith(b'data: {"error":{"message":"The provider \'openai\' failed') == tellable
        assert bool(rest) == tellable


@pytest.mark.parametrize(("name", "start"), [("messages", b"event: error\ndata: "), ("responses", b"data: ")])
async def test_a_break_is_told_in_the_dialect(name: str, start: bytes, upstream: Upstream, impatient: InProcess):
    """The event that tells of a break is one that the dialect's SDKs raise on."""
    gate, ping = asyncio.Event(), b'event: ping\ndata: {"type": "ping"}\n\n'
    upstream.answers(stream([ping, gate], end=CLOSE))
    async with connected(impatient.url) as connection:
        await connection.send(asking(name))
        rest = await broken(connection, impatient, upstream, ping, gate)
        trace = dict(connection.headers)[b"x-gateway-trace-id"].decode()
    assert rest.startswith(start)
    assert rest.endswith(b"\n\n")
    told = json.loads(rest.removeprefix(start))
    assert "closed before the end of the body" in told["error"]["message"]
    if name == "messages":
        assert (told["type"], told["error"]["type"], told["request_id"]) == ("error", "api_error", trace)
    else:
        assert (told["error"]["type"], told["error"]["code"]) == ("server_error", "upstream_abort")


@pytest.mark.parametrize("framed", ["chunked", "length", "connection"])
@pytest.mark.parametrize(("name", "count"), [("chat", 3), ("messages", 5), ("responses", 6)])
async def test_a_stream_that_ends_early_is_reported_once(
    name: str, count: int, framed: str, upstream: Upstream, impatient: InProcess, read
):
    """A body that is whole by its framing, and lacks the stream's last event, gets an error event in the dialect."""
    sent = b"".join(events(read(f"{name}_text.sse"))[:count])
    more, encode = FRAMINGS[framed]
    end: list[Step] = {"chunked": [b"0\r\n\r\n"], "connection": [CLOSE]}.get(framed, [])
    upstream.answers([HEAD + more.replace(b"%d" % (len(EVENT) + 90), b"%d" % len(sent)), encode(sent), *end])
    answer = await exchange(impatient.url, asking(name))
    assert answer.body.startswith(sent)
    rest = answer.body.removeprefix(sent)
    assert rest.startswith(b"event: error\ndata: {" if name == "messages" else b"data: {")
    assert rest.count(b"the stream stopped before its last event") == 1
    assert answer.whole == (framed != "connection")
    assert impatient.attempt()["outcome"] == impatient.exchange()["outcome"] == "upstream_abort"


async def test_an_error_of_the_providers_own_is_the_last(upstream: Upstream, impatient: InProcess, read):
    """After the provider's error event the gateway adds none, whether the body ends well or not."""
    sent = b"".join(events(read("messages_text.sse"))[:5])
    sent += b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"no"}}\n\n'
    for end in (b"0\r\n\r\n", CLOSE):
        upstream.answers(stream([sent, 0.02], end=end))
        answer = await exchange(impatient.url, asking("messages"))
        assert (answer.body, answer.whole) == (sent, end != CLOSE)
        assert impatient.rows("CLIENT")[-1]["error_type"] == "overloaded_error"


async def test_a_break_can_be_read_before_the_connection_ends(upstream: Upstream, impatient: InProcess):
    """Node's fetch throws away what it has not read by then: the event that tells of a break leaves some time ahead."""
    upstream.answers(stream([EVENT], end=RESET))
    async with connected(impatient.url) as connection:
        await connection.send(asking())
        await connection.head()
        while b'"error"' not in await connection.piece():
            pass
        for _ in range(5):  # whatever came with it has been taken by now
            await asyncio.sleep(0)
        assert not connection.reader.at_eof()
        assert await connection.rest() == b""
        assert not connection.whole


async def test_no_event_is_written_into_a_coding(upstream: Upstream, impatient: InProcess):
    """A coded stream that breaks gets no plain text of ours behind it."""
    gate, coder = asyncio.Event(), zlib.compressobj(wbits=31)
    sent = coder.compress(EVENT) + coder.flush(zlib.Z_SYNC_FLUSH)
    upstream.answers(stream([sent, gate], [("Content-Encoding", "gzip")], end=RESET))
    async with connected(impatient.url) as connection:
        await connection.send(asking())
        assert await broken(connection, impatient, upstream, sent, gate) == b""


@pytest.mark.parametrize(("path", "data"), [("chat", EVENT + b"data: [DONE]\n\n"), ("unknown", EVENT)])
async def test_a_connections_end_may_end_a_stream(path: str, data: bytes, upstream: Upstream, gateway: InProcess):
    """A body that ends with its connection is whole where its last event came, or where nothing is known of it."""
    upstream.answers([HEAD + b"\r\n", data, CLOSE])
    answer = await exchange(gateway.url, asking() if path == "chat" else request("POST", "/v1/files", (), b"{}"))
    assert (answer.body, answer.whole) == (data, True)
    assert gateway.exchange()["outcome"] == "ok"


# Clients that leave, and clients that do not read.


async def test_a_client_that_leaves_frees_the_provider(upstream: Upstream, gateway: InProcess):
    """The provider sees the end at once, and the attempt is recorded with what came so far."""
    upstream.answers(stream([EVENT, 30.0]))
    async with connected(gateway.url) as connection:
        await connection.send(asking())
        await connection.head()
        assert await exactly(connection, len(EVENT)) == EVENT
    await upstream.left()
    await gateway.ended()
    assert (gateway.attempt()["outcome"], gateway.exchange()["outcome"]) == ("client_abort", "client_abort")
    assert gateway.attempt()["output_messages"][0]["parts"] == [{"type": "text", "content": "a"}]
    assert gateway.journal.in_flight == 0


async def test_an_endless_stream_is_held_back(upstream: Upstream, tmp_path):
    """A provider that never stops fills neither memory nor the journal: it waits for the client, which may leave."""
    sent = 0

    def endless(_asked):
        nonlocal sent
        yield HEAD + b"\r\n"
        while True:
            sent += 100_000
            yield EVENT.replace(b'"a"', b'"%b"' % (b"a" * 100_000))

    upstream.answer = endless
    async with InProcess(tmp_path / "data", to(upstream.url, "[capture]\nstore_bytes = 10000\n")) as gateway:
        async with connected(gateway.url) as connection:
            await connection.send(asking())
            await connection.head()
            before = -1
            while before != sent:  # until all buffers between are full
                before = sent
                await asyncio.sleep(0.1)
            assert sent < 30_000_000
            await exactly(connection, 5_000_000)
        await gateway.ended()
        assert gateway.exchange()["outcome"] == "client_abort"
        assert len(json.dumps(gateway.rows())) < 50_000
