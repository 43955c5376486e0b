"""The demo provider's HTTP server, on a port of its own, so that a request takes the whole path to it.

The model's name selects its behaviour: see MODELS.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import cast

import httptools
import msgspec

from gateway.providers.demo import replies
from gateway.providers.demo.replies import Json, Reply

MODELS = {
    "chat": "a made-up answer, a word every few milliseconds when streamed; calls a tool when asked for one",
    "echo": "repeats the last message",
    "reasoning": "an answer with reasoning tokens",
    "slow": "waits 1.5 s before the first byte",
    "flaky": "answers 500 at first, then like chat",
    "error-500": "always answers 500",
    "rate-limited": "answers 429 with Retry-After: 1 at first, then like chat",
    "rate-limited-always": "always answers 429, with Retry-After: 30",
    "broken-stream": "closes the connection in the middle of a stream",
    "no-usage": "never reports token usage",
    "embed": "embeddings of eight numbers",
}
_FAIL_FIRST = {"flaky", "rate-limited"}
_REMEMBERED = 1000
_PACE = 0.01


class DemoProvider:
    """The server. `pace` scales all its waits; tests set it to a small number."""

    def __init__(self, *, pace: float = 1.0) -> None:
        self._pace = pace
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._failed: dict[bytes, None] = {}

    async def start(self) -> str:
        """Listen on a free port and return the base URL."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def stop(self) -> None:
        """Close everything."""
        for connection in list(self._connections):
            connection.close()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def connected(self, connection: "_Connection") -> None:
        """Remember a connection, to close it on stop."""
        self._connections.add(connection)

    def disconnected(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def fails_now(self, model: str, body: bytes) -> bool:
        """Whether this request fails: every other time it is sent, so that a retry succeeds."""
        if model not in _FAIL_FIRST:
            return False
        if body in self._failed:
            del self._failed[body]
            return False
        if len(self._failed) >= _REMEMBERED:
            del self._failed[next(iter(self._failed))]
        self._failed[body] = None
        return True

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`, scaled by the pace."""
        await asyncio.sleep(seconds * self._pace)


class _Connection(asyncio.Protocol):
    """One client connection; its requests are answered in order."""

    def __init__(self, provider: DemoProvider) -> None:
        self._provider = provider
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._url = b""
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._provider.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._provider.disconnected(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_message_begin(self) -> None:
        self._url = b""
        self._body = bytearray()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        path = self._url.decode("latin-1").partition("?")[0]
        self._task = asyncio.get_running_loop().create_task(self._answer(method, path, bytes(self._body)))

    def close(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    async def _answer(self, method: str, path: str, raw: bytes) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            try:
                body = msgspec.json.decode(raw) if raw else {}
            except msgspec.DecodeError:
                self._send(400, _error(path, "invalid_request_error", "the body is not JSON"))
                return
            await self._dispatch(method, path, body if isinstance(body, dict) else {}, raw)

    async def _dispatch(self, method: str, path: str, body: Json, raw: bytes) -> None:
        model = str(body.get("model") or "chat")
        failing = self._provider.fails_now(model, raw)
        if path == "/v1/models" and method == "GET":
            self._send(200, _models())
        elif model not in MODELS:
            known = ", ".join(f"demo/{name}" for name in MODELS)
            self._send(404, _error(path, "not_found_error", f"there is no model demo/{model}; there are {known}"))
        elif model == "error-500" or (failing and model == "flaky"):
            self._send(500, _error(path, "api_error", "the demo provider fails, as this model does"))
        elif model == "rate-limited-always":
            self._send(429, _error(path, "rate_limit_error", "wait 30 seconds"), "Retry-After: 30\r\n")
        elif failing:
            self._send(429, _error(path, "rate_limit_error", "wait a second"), "Retry-After: 1\r\n")
        else:
            if model == "slow":
                await self._provider.sleep(1.5)
            await self._succeed(path, body, model)

    async def _succeed(self, path: str, body: Json, model: str) -> None:
        reply = replies.generate(body, model)
        usage = bool((body.get("stream_options") or {}).get("include_usage")) and model != "no-usage"
        whole: dict[str, Callable[[Reply], Json]] = {
            "/v1/chat/completions": replies.chat,
            "/v1/completions": replies.completion,
            "/v1/responses": replies.response,
            "/v1/messages": replies.message,
            "/v1/messages/count_tokens": lambda reply: {"input_tokens": reply.input_tokens},
            "/v1/embeddings": lambda _reply: replies.embeddings(body, model),
        }
        streamed: dict[str, Callable[[Reply], Iterable[Json | str]]] = {
            "/v1/chat/completions": lambda reply: replies.chat_events(reply, usage=usage),
            "/v1/responses": replies.response_events,
            "/v1/messages": replies.message_events,
        }
        if path in streamed and body.get("stream") is True:
            await self._stream(streamed[path](reply), model)
        elif path in whole:
            answer = whole[path](reply)
            if model == "no-usage":
                answer.pop("usage", None)
            self._send(200, answer)
        else:
            self._send(404, _error(path, "not_found_error", f"the demo provider has no {path}"))

    def _send(self, status: int, body: Json, headers: str = "") -> None:
        data = msgspec.json.encode(body)
        self._write(_head(status, f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n{headers}") + data)

    async def _stream(self, events: Iterable[Json | str], model: str) -> None:
        """Send events a few milliseconds apart, each named by its type if it has one."""
        self._write(_head(200, "Content-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n"))
        for number, event in enumerate(events):
            if model == "broken-stream" and number == 5:
                self.close()
                return
            name = ""
            if isinstance(event, dict) and (kind := event.get("type")):
                name = f"event: {kind}\n"
                if kind.startswith("response."):
                    event["sequence_number"] = number
            data = event if isinstance(event, str) else msgspec.json.encode(event).decode()
            self._write(_chunk(f"{name}data: {data}\n\n".encode()))
            await self._provider.sleep(_PACE)
        self._write(_chunk(b""))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 500: "Internal Server Error"}


def _head(status: int, headers: str) -> bytes:
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\n{headers}x-request-id: req_demo\r\nrequest-id: req_demo\r\n\r\n"
    ).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _models() -> Json:
    data = [
        {"id": name, "object": "model", "type": "model", "display_name": about, "created": 0, "owned_by": "demo"}
        for name, about in MODELS.items()
    ]
    return {"object": "list", "data": data, "has_more": False, "first_id": "chat", "last_id": "embed"}


def _error(path: str, kind: str, text: str) -> Json:
    """Return an error in the shape of this path's API."""
    if path.startswith("/v1/messages"):
        return {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_demo"}
    return {"error": {"message": text, "type": kind, "param": None, "code": kind}}
