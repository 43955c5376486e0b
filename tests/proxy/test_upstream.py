"""What comes from providers that misbehave: a clear error or the bytes as they are, one record, and no trace left."""

import itertools
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.config.model import parse
from gateway.errors import ExchangeError, Kind
from gateway.providers.http.client import Client, Origin
from gateway.providers.table import build
from gateway.proxy.upstream import Body, Deadlines
from tests.support.gateway_errors import gateway_error
from tests.support.gateways import InProcess, to
from tests.support.raw_http import exchange, request
from tests.support.upstream import CLOSE, RESET, Asked, Step, Upstream, reply, stream

CHAT = json.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}).encode()
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def post(family: str = "openai", body: bytes = CHAT) -> bytes:
    """Return a request to a family's own path."""
    return request("POST", PATHS[family], [("Content-Type", "application/json")], body)


@pytest.fixture(name="gateway")
async def _gateway(upstream: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Start a worker that tries once and is not patient."""
    more = "max_tries = 1\n[timeouts]\nfirst_byte = 0.2\nidle = 0.2\n"
    async with InProcess(tmp_path / "data", to(upstream.url, more)) as gateway:
        yield gateway


async def recorded(gateway: InProcess, upstream: Upstream, outcome: str) -> None:
    """Require one exchange with one attempt and this outcome, and that the next request is served."""
    await gateway.ended()
    assert [(row["kind"], row["outcome"]) for row in gateway.rows()] == [("CLIENT", outcome), ("SERVER", outcome)]
    assert gateway.journal.in_flight == 0
    assert gateway.journal.dropped == {}
    upstream.answers(reply({"next": 1}))
    answer = await exchange(gateway.url, post())
    assert (answer.status, answer.body) == (200, b'{"next": 1}')
    assert gateway.ask("SELECT count(*), count(DISTINCT trace_id) FROM exchanges") == [(2, 2)]


def endless_head(_asked: Asked) -> Iterator[Step]:
    """Answer with a head that has no end."""
    yield b"HTTP/1.1 200 OK\r\n"
    for n in itertools.count():
        yield b"X-%d: %b\r\n" % (n, b"a" * 1000)


# What no client can be given: steps, outcome, status, and what the message says of it.
NO_RESPONSE: dict[str, tuple[list[Step], str, int, str]] = {
    "garbage": ([b"garbage\r\n\r\n", CLOSE], "parsing", 502, "not a valid HTTP response"),
    "garbage, and it waits": ([b"\x00\x01\x02" * 50, 30.0], "parsing", 502, "not a valid HTTP response"),
    "another protocol": ([b"\x15\x03\x01\x00\x02\x02\x46", CLOSE], "parsing", 502, "not a valid HTTP response"),
    "a header that is none": ([b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"], "parsing", 502, "not a valid HTTP response"),
    "a control character": ([b"HTTP/1.1 200 OK\r\nX: a\x01\r\n\r\n"], "parsing", 502, "not a valid HTTP response"),
    "two lengths": ([HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"], "parsing", 502, "Content-Length"),
    "a negative length": ([HEAD + b"Content-Length: -2\r\n\r\n{}"], "parsing", 502, "Content-Length"),
    "a length and chunks": (
        [HEAD + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        "parsing", 502, "Transfer-Encoding",
    ),
    "another protocol, unasked": (
        [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello"],
        "parsing", 502, "switched protocols",
    ),
    "closed at once": ([CLOSE], "upstream_abort", 502, "closed before the end of any response"),
    "reset at once": ([RESET], "upstream_abort", 502, "closed before the end of any response"),
    "closed within the head": ([b"HTTP/1.1 200 O", CLOSE], "upstream_abort", 502, "closed before the end of the head"),
    "closed after the head": ([HEAD + b"Content-Length: 2\r\n\r\n", CLOSE], "upstream_abort", 502, "end of the body"),
    "an error that breaks": (
        [b"HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\n{", CLOSE], "upstream_abort", 502, "end of the body",
    ),
    "no answer": ([30.0], "timeout", 504, "(0.2 s) (setting: $.timeouts.first_byte)"),
    "half a head": ([b"HTTP/1.1 200 OK\r\nX: ", 30.0], "timeout", 504, "(0.2 s) (setting: $.timeouts.first_byte)"),
    "a head without its body": (
        [HEAD + b"Content-Length: 2\r\n\r\n", 30.0], "timeout", 504, "(0.2 s) (setting: $.timeouts.idle)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", PATHS)
@pytest.mark.parametrize("name", NO_RESPONSE)
async def test_no_response_is_an_error_in_the_dialect(name: str, family: str, upstream: Upstream, gateway: InProcess):
    """What is no HTTP response becomes an error that names the provider, what happened, and the setting."""
    steps, outcome, status, words = NO_RESPONSE[name]
    upstream.answers(steps)
    answer = await exchange(gateway.url, post(family))
    assert answer.status == status
    error = gateway_error(answer, family)
    assert f"'{family}'" in error["message"]
    assert words in error["message"]
    assert "(setting: $." in error["message"]
    (attempt,) = gateway.rows("CLIENT")
    assert attempt["error"] == gateway.exchange()["error"] == error["message"]
    await recorded(gateway, upstream, outcome)


async def test_a_head_that_never_ends_is_given_up(upstream: Upstream, gateway: InProcess):
    """Only so much of a head is taken in."""
    upstream.answer = endless_head
    answer = await exchange(gateway.url, post())
    assert answer.status == 502
    assert "more than 65536 bytes of head" in gateway_error(answer, "openai")["message"]
    await recorded(gateway, upstream, "parsing")


# What is passed on as far as it came: steps, outcome, the body the client has, and whether it looks whole.
BODIES: dict[str, tuple[list[Step], str, bytes, bool]] = {
    "longer than it said": ([HEAD + b"Content-Length: 2\r\n\r\n{}tail"], "ok", b"{}", True),
    "another response behind it": (
        [HEAD + b"Content-Length: 2\r\n\r\n{}" + HEAD + b"Content-Length: 6\r\n\r\nstolen"], "ok", b"{}", True,
    ),
    "shorter than it said": ([HEAD + b"Content-Length: 9\r\n\r\n{}", CLOSE], "upstream_abort", b"{}", False),
    "reset within it": ([HEAD + b"Content-Length: 9\r\n\r\n{}", 0.05, RESET], "upstream_abort", b"{}", False),
    "stalled within it": ([HEAD + b"Content-Length: 9\r\n\r\n{}", 30.0], "timeout", b"{}", False),
    "a bad chunk size": (
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", 0.02, b"zz\r\n"], "parsing", b"{}", False,
    ),
    "a chunk that is too long": (
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}", 0.02, b"xx0\r\n\r\n"], "parsing", b"{}", False,
    ),
    "no last chunk": ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", CLOSE], "upstream_abort", b"{}", False),
    "bad gzip": (
        [HEAD + b"Content-Encoding: gzip\r\nContent-Length: 7\r\n\r\ngarbage"], "unread", b"garbage", True,
    ),
    "half of a gzip": (
        [HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"],
        "parsing", b"\x1f\x8b\x08\x00", True,
    ),
    "no JSON": ([HEAD + b"Content-Length: 3\r\n\r\n{\x00\xff"], "parsing", b"{\x00\xff", True),
    "JSON of other types": (reply({"choices": 7, "usage": ["x"], "model": {}, "id": 1}), "ok",
        b'{"choices": 7, "usage": ["x"], "model": {}, "id": 1}', True),
    "deep JSON": (reply(b"[" * 200_000), "parsing", b"[" * 200_000, True),
    "a reason that cannot be written": ([b"HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\n{}"], "ok", b"{}", True),
    "a redirect to itself": (
        reply(b"", "308 Permanent Redirect", [("Location", "/v1/chat/completions")]), "ok", b"", True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_is_passed_on_as_it_is(name: str, upstream: Upstream, gateway: InProcess):
    """The client has every byte of a body that came whole by its framing; of a small one that did not it has none."""
    steps, outcome, body, whole = BODIES[name]
    upstream.answers(steps)
    answer = await exchange(gateway.url, post())
    if whole:
        assert answer.status in {200, 308}
        assert answer.body == body
    else:
        assert answer.status in {502, 504}
        assert b"'openai' failed" in answer.body
    assert answer.whole
    assert len(upstream.asked) == 1
    await recorded(gateway, upstream, outcome)


# Which deadline it was.

DEADLINES: dict[str, tuple[str, list[Step], str]] = {
    "first byte": ("[timeouts]\nfirst_byte = 0.2\n", [30.0], "(0.2 s) (setting: $.timeouts.first_byte)"),
    "idle": (
        "[timeouts]\nidle = 0.2\n", [HEAD + b"Content-Length: 2\r\n\r\n", 30.0], "(0.2 s) (setting: $.timeouts.idle)",
    ),
    "total, for the head": ("default_timeout = 0.2\n", [30.0], "(0.2 s) (setting: $.default_timeout)"),
    "total, for the body": (
        "default_timeout = 0.2\n", [HEAD + b"Content-Length: 2\r\n\r\n", 30.0],
        "did not finish within 0.2 s (setting: $.default_timeout)",
    ),
    "the provider's total": ("timeout = 0.2\n", [30.0], "(0.2 s) (setting: $.providers.openai.timeout)"),
    "the provider's total, for the body": (
        "timeout = 0.2\n", [HEAD + b"Content-Length: 2\r\n\r\n", 30.0],
        "did not finish within 0.2 s (setting: $.providers.openai.timeout)",
    ),
}  # fmt: skip


def configured(url: str, setting: str) -> str:
    """Return a gateway.toml with a setting in its place."""
    toml = to(url, "max_tries = 1\n")
    if setting.startswith("default"):
        return setting + toml
    if setting.startswith("timeout ="):
        return toml.replace("[providers.openai]\n", f"[providers.openai]\n{setting}")
    return toml + setting


@pytest.mark.parametrize("name", DEADLINES)
async def test_the_message_says_which_deadline_it_was(name: str, upstream: Upstream, tmp_path: Path):
    """A timeout names the setting that fired and its seconds, where another one is bounded by it, too."""
    setting, steps, words = DEADLINES[name]
    upstream.answers(steps)
    async with InProcess(tmp_path / "data", configured(upstream.url, setting)) as gateway:
        answer = await exchange(gateway.url, post())
        assert answer.status == 504
        assert gateway_error(answer, "openai")["type"] == "timeout_error"
        assert words in gateway_error(answer, "openai")["message"]
        assert gateway.exchange()["outcome"] == gateway.attempt()["outcome"] == "timeout"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("[timeouts]\nconnect = 0.1\n", "no connection within 0.1 s (setting: $.timeouts.connect)"),
        ("default_timeout = 0.1\n", "no connection within 0.1 s (setting: $.default_timeout)"),
    ],
)
async def test_the_message_says_that_it_could_not_connect(setting: str, words: str, tmp_path: Path):
    """A provider that does not take the connection is told by the connect timeout, or the total that bounds it."""
    with closing(socket.socket()) as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:  # they fill its backlog, so that the next one hears nothing
            each.setblocking(False)
            each.connect_ex(deaf.getsockname())
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        async with InProcess(tmp_path / "data", configured(url, setting)) as gateway:
            answer = await exchange(gateway.url, post())
            assert answer.status == 502
            assert words in gateway_error(answer, "openai")["message"]
            assert gateway.exchange()["outcome"] == gateway.attempt()["outcome"] == "sending"
        for each in waiting:
            each.close()


async def test_a_steady_stream_ends_at_the_total(upstream: Upstream, tmp_path: Path):
    """A stream whose events keep coming is ended by the total, in the middle, and the client is told."""
    event = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    upstream.answers(stream([event, 0.02] * 500))
    async with InProcess(tmp_path / "data", configured(upstream.url, "default_timeout = 0.3\n")) as gateway:
        answer = await exchange(gateway.url, post(body=b'{"model":"m","stream":true,"stream_options":{}}'))
        assert answer.status == 200
        assert not answer.whole
        assert b"did not finish within 0.3 s (setting: $.default_timeout)" in answer.body.split(b"\n\n")[-2]
        assert gateway.exchange()["outcome"] == "timeout"
        await upstream.left()


class _Waits:
    waited = 0.0


async def test_the_total_runs_from_the_request(upstream: Upstream):
    """What the provider took for its head is a part of the time that it has for the whole."""
    upstream.answers([HEAD + b"Content-Length: 2\r\n\r\n", 30.0])
    provider = build(parse(to(upstream.url), {}, "test.toml"), {})["openai"]
    client = Client()
    origin, _ = Origin.from_url(upstream.url)
    response = await client.send(origin, b"GET", b"/", (), b"", connect_timeout=5, first_byte_timeout=5)
    response.sent_at -= 100
    deadlines = Deadlines(connect=5, first_byte=5, idle=5, total=50, total_setting="$.here")
    with pytest.raises(ExchangeError, match=r"did not finish within 50 s \(setting: \$\.here\)") as raised:
        await Body(response, provider, deadlines, _Waits()).read()
    assert raised.value.kind is Kind.TIMEOUT
    await client.close()


# Which key is sent.

CLIENT = [("Authorization", "Bearer sk-client"), ("x-gateway-session", "s"), ("X-Kept", "1"), ("x-kept", "2")]
KEYS = {"authorization", "x-api-key", "api-key"}
SENT: dict[str, tuple[str, str, dict[str, str], list[tuple[str, str]], list[tuple[str, str]]]] = {
    "the client's": ("openai", "", {"OPENAI_API_KEY": "sk-env"}, CLIENT, [("Authorization", "Bearer sk-client")]),
    "the environment's, where there is none": (
        "openai", "", {"OPENAI_API_KEY": "sk-env"}, CLIENT[1:], [("authorization", "Bearer sk-env")],
    ),
    "the environment's, as Anthropic wants it": (
        "anthropic", "", {"ANTHROPIC_API_KEY": "sk-env"}, CLIENT[1:], [("x-api-key", "sk-env")],
    ),
    "the configured": ("openai", 'api_key = "sk-ours"\n', {}, CLIENT, [("authorization", "Bearer sk-ours")]),
    "a configured header": (
        "openai", 'headers = {authorization = "Basic ours"}\n', {}, CLIENT, [("authorization", "Basic ours")],
    ),
    "none": ("openai", "", {}, CLIENT[1:], []),
}  # fmt: skip


@pytest.mark.parametrize("name", SENT)
async def test_the_right_key_is_sent(name: str, upstream: Upstream, tmp_path: Path):
    """A configured key replaces the client's, the environment's is for clients without one; all else is passed on."""
    family, setting, environ, headers, keys = SENT[name]
    toml = to(upstream.url).replace("[providers.openai]\n", f"[providers.openai]\n{setting}")
    async with InProcess(tmp_path / "data", toml, environ) as gateway:
        assert (await exchange(gateway.url, request("POST", PATHS[family], headers, CHAT))).status == 200
    (asked,) = upstream.asked
    assert [header for header in asked.headers if header[0].lower() in KEYS] == keys
    assert [header for header in asked.headers if header[0].lower() == "x-kept"] == [("X-Kept", "1"), ("x-kept", "2")]
    assert asked.header("x-gateway-session") is None
    assert "sk-" not in json.dumps(gateway.rows())


async def test_what_is_of_the_clients_connection_is_not_sent(upstream: Upstream, gateway: InProcess):
    """What the client says of its own connection, by known names or by naming them, stays on that connection."""
    hop = [("Connection", "X-Hop, keep-alive"), ("x-hop", "1"), ("Keep-Alive", "timeout=5"), ("TE", "trailers")]
    hop += [("Proxy-Authorization", "Basic x"), ("Proxy-Connection", "close"), ("X-Kept", "1")]
    await exchange(gateway.url, request("POST", PATHS["openai"], hop, CHAT))
    assert {name.lower() for name, _ in upstream.asked[0].headers} == {"host", "x-kept", "content-length"}
