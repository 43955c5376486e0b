"""A dialect that only this test has, served end to end: all that the gateway needs of it is one registered endpoint."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from gateway.dialects import Dialect, events
from gateway.dialects.conversation import ChatRequest, ChatResponse, Message, Text, Usage
from gateway.dialects.endpoint import Endpoint, PathOperation
from gateway.dialects.registry import register, unregister
from gateway.dialects.shared.parameters import TEMPERATURE
from gateway.dialects.shared.stream_reader import EventReader
from gateway.dialects.shared.writer import StreamWriter, Writer, Written
from gateway.dialects.wire.sse import Event
from gateway.errors import Kind
from gateway.semconv import CHAT
from tests.support.gateways import InProcess
from tests.support.raw_http import Answer, exchange, request
from tests.support.upstream import CLOSE, Upstream, reply, stream
from tests.support.upstream import events as cut

# The toy's format: turns of [role, text] up, {"toy": text, "words": [in, out]} back, streamed in lines: `+` and a piece
# of text, `=` and the words at the end, `!` and an error. The model, and whether it streams, are in the path.
MEDIA_TYPE = "application/x-toy"
PATH = re.compile(r"^/+toys/([^/]+)/(say|sing)$")


def read_request(body: bytes) -> ChatRequest:
    """Read the turns."""
    turns = json.loads(body)["turns"]
    messages = [Message(role=role, parts=[Text(content=text)]) for role, text in turns]
    return ChatRequest(operation=CHAT, input_messages=messages)


def read_response(body: bytes) -> ChatResponse:
    """Read a whole response, or an error."""
    whole = json.loads(body)
    if "oops" in whole:
        return ChatResponse(error_message=whole["oops"])
    message = Message(role="assistant", parts=[Text(content=whole["toy"])], finish_reason="stop")
    return ChatResponse(output_messages=[message], finish_reasons=["stop"], usage=words(*whole["words"]))


def words(up: int, back: int) -> Usage:
    """Return the usage of so many words."""
    return Usage(input_tokens=up, output_tokens=back, total_tokens=up + back)


class Lines:
    """Cuts a stream into lines."""

    def __init__(self) -> None:
        self.dropped = 0
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return the lines that end in them."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [Event(None, line) for line in lines]


class ToyReader(EventReader):
    """Reads a stream."""

    def __init__(self) -> None:
        super().__init__(Lines())
        self._pieces: list[str] = []
        self._usage: Usage | None = None
        self._error: str | None = None

    def _take(self, event: Event) -> bool:
        kind, text = event.data[:1], event.data[1:].decode()
        if kind == b"+":
            self._emit(events.Begun(), events.PartBegun(index=0, part=Text(content=""))) if not self._pieces else None
            self._keep(self._pieces, text)
            self._emit(events.PartGrown(index=0, text=text))
        elif kind == b"=":
            self._usage, self.ended = words(*map(int, text.split(","))), True
            whole = Text(content="".join(self._pieces))
            self._emit(events.PartDone(index=0, part=whole), events.ChoiceDone(finish_reason="stop"))
            self._emit(events.UsageUpdated(usage=self._usage), events.Ended())
        else:
            self._error = text
            self._emit(events.Broken(message=text))
        return kind in {b"+", b"=", b"!"}

    def _emit(self, *emitted: events.Event) -> None:
        if self.events is not None:
            self.events += emitted

    def response(self) -> ChatResponse:
        """Return what was read so far."""
        message = Message(role="assistant", parts=[Text(content="".join(self._pieces))])
        reasons = ["stop"] if self.ended else []
        return ChatResponse(
            output_messages=[message], finish_reasons=reasons, usage=self._usage, error_message=self._error
        )


def write_request(asked: ChatRequest) -> Written:
    """Write the turns, with the model in the path."""
    turns = [[m.role, "".join(p.content for p in m.parts if isinstance(p, Text))] for m in asked.input_messages]
    verb = "sing" if asked.stream else "say"
    dropped = ["temperature"] if TEMPERATURE in asked.parameters else []
    return Written(
        body=json.dumps({"turns": turns}).encode(),
        path=f"/toys/{quote(asked.model or '', safe='')}/{verb}",
        dropped=dropped,
    )


def write_response(answered: ChatResponse, _asked: ChatRequest, _now: float) -> tuple[bytes, list[str]]:
    """Write a whole response."""
    (message,) = answered.output_messages
    usage = answered.usage or Usage(input_tokens=0, output_tokens=0)
    text = "".join(part.content for part in message.parts if isinstance(part, Text))
    return json.dumps({"toy": text, "words": [usage.input_tokens, usage.output_tokens]}).encode(), []


class ToyStream(StreamWriter):
    """Writes a stream."""

    content_type = MEDIA_TYPE

    def __init__(self) -> None:
        super().__init__()
        self._usage = b"=0,0\n"

    def _write(self, event: events.Event) -> bytes:
        match event:
            case events.PartGrown(text=text):
                return b"+%b\n" % text.encode()
            case events.UsageUpdated(usage=usage):
                self._usage = b"=%d,%d\n" % (usage.input_tokens or 0, usage.output_tokens or 0)
            case events.Ended():
                return self._usage
            case events.Broken(message=message):
                return b"!%b\n" % (message or "").encode()
        return b""


def error_body(_kind: Kind, _status: int, message: str, _word: str | None, _request_id: str) -> bytes:
    """Write an error."""
    return json.dumps({"oops": message}).encode()


def error_line(_kind: Kind, _status: int, message: str, _word: str | None, _request_id: str) -> bytes:
    """Write an error in the middle of a stream."""
    return b"!%b\n" % message.encode()


def read_conversation(body: bytes, path: str) -> ChatRequest:
    """Read the turns, and the values in the path."""
    operation = read_path("POST", path)
    assert operation is not None
    asked = read_request(body)
    return ChatRequest(
        operation=CHAT, model=operation.model, stream=operation.stream, input_messages=asked.input_messages
    )


TOY = Dialect(
    name="toy",
    read_request=read_request,
    read_response=read_response,
    stream_reader=ToyReader,
    read_conversation=read_conversation,
)


def read_path(method: str, path: str) -> PathOperation | None:
    """Read the model, and whether it streams."""
    found = PATH.match(path)
    if found is None:
        return None
    return PathOperation("toy", TOY if method == "POST" else None, unquote(found[1]), found[2] == "sing")


ENDPOINT = Endpoint(
    name="toy",
    dialect="toy",
    writer=Writer(
        name="toy",
        request=write_request,
        response=write_response,
        stream=lambda _asked, _now: ToyStream(),
        error=error_body,
    ),
    provider="box",
    path_operations=(TOY,),
    read_path=read_path,
    write_path=lambda path, model: f"/toys/{quote(model, safe='')}/{path.rpartition('/')[2]}",
    paths=re.compile(r"^/+toys/"),
    stream_type=MEDIA_TYPE,
    headers=((b"x-toy-version", b"1"),),
    header_prefixes=(b"x-toy-",),
    option_prefix=b"x-play-",
    error=error_body,
    error_event=error_line,
    error_headers=lambda kind, _status: {"x-toy-error": kind.value},
    statuses={418: 503},
)
TURNS = {"turns": [["user", "hi"]]}
CHAT_BODY = {"model": "box/m", "messages": [{"role": "user", "content": "hi"}]}
WHOLE = {"toy": "hello", "words": [2, 1]}
SUNG = [b"+hel\n", b"+lo\n", b"=2,1\n"]
JSON = ("Content-Type", "application/json")


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    register(ENDPOINT)
    yield
    unregister("toy")


@pytest.fixture(name="gateway")
async def _gateway(upstream: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    toml = (
        f'[providers.box]\nbase_url = "{upstream.url}"\ndialect = "toy"\n'
        f'[providers.openai]\nbase_url = "{upstream.url}/v1"\napi_key = "sk-ours"\n[retry]\nmax_tries = 1\n'
    )
    async with InProcess(tmp_path / "data", toml) as gateway:
        yield gateway


async def post(gateway: InProcess, path: str, body: Any, *headers: tuple[str, str]) -> Answer:
    """Post a body as JSON."""
    return await exchange(gateway.url, request("POST", path, [JSON, *headers], json.dumps(body).encode()))


def toys(pieces: list[bytes], **more: Any) -> list[Any]:
    """Return a stream of the toy's."""
    return stream(pieces, content_type=MEDIA_TYPE, **more)


@pytest.mark.parametrize("path", ["/toys/m/say", "/box/toys/m/say"])
async def test_a_whole_response_is_relayed(upstream: Upstream, gateway: InProcess, path: str):
    """By its bare path and below the mount: the same bytes both ways, and the tokens and the text are in the span."""
    upstream.answers(reply(WHOLE))
    answer = await post(gateway, path, TURNS, ("X-Toy-Colour", "red"), ("X-Play-User", "ann"))
    assert (answer.status, json.loads(answer.body)) == (200, WHOLE)
    (asked,) = upstream.asked
    assert (asked.target, asked.json) == ("/toys/m/say", TURNS)
    assert (asked.header("x-toy-colour"), asked.header("x-play-user")) == ("red", None)
    row = gateway.attempt()
    assert (row["provider"], row["dialect"], row["request_model"], row["input_tokens"]) == ("box", "toy", "m", 2)
    assert gateway.exchange()["user_id"] == "ann"


async def test_a_stream_is_relayed(upstream: Upstream, gateway: InProcess):
    """Its media type is known as that of a stream, whose own end is seen."""
    upstream.answers(toys(SUNG))
    answer = await post(gateway, "/toys/m/sing", TURNS)
    assert answer.body == b"".join(SUNG)
    row = gateway.attempt()
    assert (row["stream"], row["outcome"], row["output_tokens"]) == (True, "ok", 1)


async def test_openais_client_of_a_toy(upstream: Upstream, gateway: InProcess):
    """The request is written in the toy's format, with the header that its API requires; what it lacks is named."""
    upstream.answers(reply(WHOLE), toys(SUNG))
    answer = await post(gateway, "/v1/chat/completions", CHAT_BODY | {"temperature": 0.5}, ("OpenAI-Beta", "x"))
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "hello"
    assert answer.values(b"x-gateway-dropped") == [b"temperature"]
    streamed = await post(gateway, "/v1/chat/completions", CHAT_BODY | {"stream": True})
    chunks = [json.loads(each.removeprefix(b"data: ")) for each in cut(streamed.body) if b"[DONE]" not in each]
    assert "".join(each["choices"][0]["delta"].get("content", "") for each in chunks if each["choices"]) == "hello"
    assert streamed.body.endswith(b"data: [DONE]\n\n")
    assert [(each.target, each.json) for each in upstream.asked] == [("/toys/m/say", TURNS), ("/toys/m/sing", TURNS)]
    assert [upstream.asked[0].header(name) for name in ("x-toy-version", "openai-beta")] == ["1", None]


async def test_a_toys_client_of_openai(upstream: Upstream, gateway: InProcess):
    """The answer is written in the toy's format, whole or streamed, and headers of the toy's stay here."""
    whole = {"id": "a", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}}]}
    whole |= {"usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}}
    chunk = b'data: {"id":"a","choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":"stop"}]}\n\n'
    upstream.answers(reply(whole), stream([chunk, b"data: [DONE]\n\n"]))
    answer = await post(gateway, "/toys/openai%2Fgpt-5/say", TURNS, ("X-Toy-Colour", "red"))
    assert json.loads(answer.body) == WHOLE
    streamed = await post(gateway, "/toys/openai%2Fgpt-5/sing", TURNS)
    assert (streamed.values(b"content-type"), streamed.body) == ([MEDIA_TYPE.encode()], b"+hello\n=0,0\n")
    assert [each.json["model"] for each in upstream.asked] == ["gpt-5", "gpt-5"]
    assert upstream.asked[0].header("x-toy-colour") is None


async def test_errors_are_the_toys(upstream: Upstream, gateway: InProcess):
    """A provider's passes as it came, another dialect's is written anew, and the gateway's own has the same form."""
    upstream.answers(
        reply({"oops": "no"}, "418 Teapot"),
        reply({"error": {"message": "not now", "type": "server_error"}}, "500 No"),
        reply({"oops": "too hot"}, "418 Teapot"),
    )
    answer = await post(gateway, "/toys/m/say", TURNS)
    assert (answer.status, json.loads(answer.body)) == (418, {"oops": "no"})
    answer = await post(gateway, "/toys/openai%2Fgpt-5/say", TURNS)
    assert (answer.status, json.loads(answer.body)) == (500, {"oops": "not now"})
    answer = await post(gateway, "/v1/chat/completions", CHAT_BODY)
    assert (answer.status, json.loads(answer.body)["error"]["message"]) == (503, "too hot")
    answer = await post(gateway, "/toys/box%2F/say", TURNS)
    assert (answer.status, answer.values(b"x-toy-error")) == (400, [b"bad_input"])
    assert "only a prefix" in json.loads(answer.body)["oops"]


async def test_a_broken_stream_ends_in_the_toys_error(upstream: Upstream, gateway: InProcess):
    """The provider's last line is followed by one of the gateway's, and the connection is aborted."""
    upstream.answers(toys(SUNG[:1], end=CLOSE))
    answer = await post(gateway, "/toys/m/sing", TURNS)
    assert answer.body.startswith(SUNG[0] + b"!")
    assert b"$.providers.box" in answer.body
    assert not answer.whole
    assert gateway.attempt()["outcome"] == "upstream_abort"


async def test_without_it_the_path_is_unknown(gateway: InProcess):
    """All of this is the endpoint's: without it the path belongs to none."""
    unregister("toy")
    try:
        answer = await post(gateway, "/toys/m/say", TURNS)
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (404, "unknown_path")
    finally:
        register(ENDPOINT)
