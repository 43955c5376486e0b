"""The scripted provider on loopback: it follows a request's script, and repeats every key that it is shown.

Its answers are written by the dialects' own writers.
"""

import asyncio
import socket
import struct
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Self

import msgspec
from msgspec import Struct

from gateway.cli.doctor.requests import MARK, TOOL, Request
from gateway.cli.doctor.scanner import encodings
from gateway.dialects import events
from gateway.dialects.conversation import ChatRequest, ChatResponse, Message, Part, Text, ToolCall, Usage
from gateway.dialects.events import synthesize
from gateway.dialects.registry import TABLES, WRITERS, classify, in_path
from gateway.dialects.shared.writer import Writer
from gateway.errors import Kind
from gateway.semconv import CHAT

# Seconds, longer than any run.
_HANG_SECONDS = 60.0
_HEAD = "HTTP/1.1 {status} {reason}\r\nContent-Type: {type}\r\nConnection: close\r\n{more}\r\n"
# The first byte of a TLS handshake (RFC 8446, section 5.1).
_TLS = b"\x16"
# Headers without secrets; all others are repeated.
_PUBLIC = frozenset({"host", "accept", "content-type", "content-length", "connection", "traceparent", MARK})
_NOW = 1.0


class Received(Struct, frozen=True, kw_only=True):
    """One request as it came. `secrets`: the values of its headers and its query, any of which may be a key."""

    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def header(self, name: str) -> str:
        """Return the first header of a name, or an empty text."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def secrets(self) -> list[str]:
        """Return every value of the headers and the query that may be a key."""
        query = self.target.partition("?")[2]
        return [*(value for name, value in self.headers if name.lower() not in _PUBLIC), *([query] if query else [])]


class Provider:
    """Serves until closed. `received`: how many requests came, by id; `sent`: all response bytes, by id."""

    def __init__(self) -> None:
        self._requests: Mapping[str, Request] = {}
        self.received: Counter[str] = Counter()
        self.sent: dict[str, bytes] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def expect(self, requests: Mapping[str, Request]) -> None:
        """Take the requests to come, by id."""
        self._requests = requests

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            received = await _read(reader)
            if (request := self._requests.get(received.header(MARK))) is not None:
                self.received[request.id] += 1
                await self._play(request, received, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            return
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _play(
        self, request: Request, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async def send(data: bytes) -> None:
            self.sent[request.id] = self.sent.get(request.id, b"") + data
            writer.write(data)
            await writer.drain()

        dialect, streamed = _operation(received)
        match request.script:
            case "retry" | "refuse" if request.script == "refuse" or self.received[request.id] == 1:
                await send(_refusal(dialect, request, received))
            case "silent":
                await _until_closed(reader)
            case "garbage":
                await send(" ".join(received.secrets).encode("latin-1", "replace") + b"\r\n\r\n")
            case "reset":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
            case script if dialect is not None and (streamed or (request.stream and _wants_stream(received))):
                chat, whole = ChatRequest(operation=CHAT, stream=True), script in {"answer", "retry"}
                stream = dialect.stream(chat, _NOW)
                more = "Transfer-Encoding: chunked\r\n"
                await send(_HEAD.format(status=200, reason="OK", type=stream.content_type, more=more).encode())
                for event in _events(_answer(request, received), whole=whole):
                    if piece := stream.write(event):
                        await send(b"%x\r\n%b\r\n" % (len(piece), piece))
                if whole:
                    await send(b"0\r\n\r\n")
                elif script == "hang":
                    await _until_closed(reader)
            case _:
                answer = _answer(request, received)
                body = msgspec.json.encode(answer.output_messages)
                if dialect is not None:
                    body, _ = dialect.response(answer, ChatRequest(operation=CHAT), _NOW)
                await send(_response(200, "OK", body))


def _operation(received: Received) -> tuple[Writer | None, bool]:
    """Return the dialect that a path is in, and whether the path asks for a stream."""
    path = received.target.partition("?")[0]
    named = in_path("POST", path)
    dialect = named.dialect if named is not None else classify("POST", path)
    return (WRITERS.get(dialect.name) if dialect is not None else None), named is not None and named.stream


def _wants_stream(received: Received) -> bool:
    try:
        return msgspec.json.decode(received.body, type=dict[str, object]).get("stream") is not False
    except msgspec.MsgspecError:
        return False


def _answer(request: Request, received: Received) -> ChatResponse:
    """Return a text with every key that was shown, and a tool call."""
    text, argument, _ = request.texts
    call = ToolCall(id="call_2", name=TOOL, arguments={"q": argument})
    parts: list[Part] = [Text(content=" ".join((text, *received.secrets))), call]
    return ChatResponse(
        id="r1",
        model="m-1",
        finish_reasons=["tool_calls"],
        output_messages=[Message(role="assistant", parts=parts, finish_reason="tool_calls")],
        usage=Usage(input_tokens=3, output_tokens=4, total_tokens=7),
    )


def _events(answer: ChatResponse, *, whole: bool) -> Iterator[events.Event]:
    """Yield an answer's events with every text in two pieces, so that neither has all of a key; or all but its end."""
    for event in synthesize(answer):
        if isinstance(event, events.ChoiceDone) and not whole:
            return
        if isinstance(event, events.PartGrown):
            half = len(event.text) // 2
            for piece in (event.text[:half], event.text[half:]):
                yield msgspec.structs.replace(event, text=piece)
        else:
            yield event


def _response(status: int, reason: str, body: bytes, more: str = "") -> bytes:
    more = f"{more}Content-Length: {len(body)}\r\n"
    return _HEAD.format(status=status, reason=reason, type="application/json", more=more).encode("latin-1") + body


def _refusal(dialect: Writer | None, request: Request, received: Received) -> bytes:
    """Return an error that repeats each key in several encodings; with status 400, slashes are escaped."""
    secrets, keys = received.secrets, [_key(value) for value in received.secrets]
    forms = {name: " ".join(encodings(key)[name] for key in keys) for name in encodings("")}
    message = f"Incorrect key provided: {' '.join(secrets)} ({forms['percent-encoded']}, {forms['base64']})"
    writer = dialect or WRITERS[TABLES.default.dialect]
    detail = {"text": request.texts[2], "target": received.target}
    detail |= {f"key, {name}": text for name, text in forms.items() if name != "JSON-escaped"}
    error: dict[str, Any] = msgspec.json.decode(writer.error(Kind.AUTH, request.status, message, None, "r1"))
    body = msgspec.json.encode({**error, "detail": detail})
    if request.status == 400:
        body = body.replace(b"/", b"\\/")
    challenge = f"WWW-Authenticate: Bearer error={secrets[0] if secrets else ''}\r\nRetry-After: 0\r\n"
    return _response(request.status, "Refused", body, challenge)


def _key(value: str) -> str:
    """Return the key in a header's value or a query; the password of a user and a password."""
    scheme, _, last = value.rpartition(" ")
    if scheme == "Basic":
        return b64decode(last).decode().partition(":")[2]
    return last.rpartition("=")[2]


async def _until_closed(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(_HANG_SECONDS):
        await reader.read()


async def _read(reader: asyncio.StreamReader) -> Received:
    """Read one request. Raises IncompleteReadError, ConnectionError, ValueError."""
    first = await reader.readexactly(1)
    if first == _TLS:
        raise ConnectionError("a TLS handshake")
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    _, target, _ = line.split(" ")
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    received = Received(target=target, headers=headers)
    length = int(received.header("content-length") or 0)
    return msgspec.structs.replace(received, body=await reader.readexactly(length))
