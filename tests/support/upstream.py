"""A scripted provider over real sockets: a function of what was asked says which bytes go back, and when.

An answer is a list of steps: bytes are written, a number is waited for in seconds, an event until it is set, CLOSE ends
the connection in order, RESET does not.
"""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple, Self

CLOSE, RESET = "close", "reset"

Step = bytes | float | str | asyncio.Event


class Asked(NamedTuple):
    """One request as it came in, byte for byte."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first header of a name, in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


Answer = Callable[[Asked], Iterable[Step]]


def reply(
    body: bytes | dict[str, Any] | list[Any],
    status: str = "200 OK",
    headers: Iterable[tuple[str, str]] = (),
    content_type: str = "application/json",
) -> list[Step]:
    """Return a whole response with its length."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ["\r\n".join(lines).encode() + b"\r\n\r\n" + data]


def stream(
    pieces: Iterable[bytes | float | asyncio.Event],
    headers: Iterable[tuple[str, str]] = (),
    content_type: str = "text/event-stream; charset=utf-8",
    *,
    end: Step = b"0\r\n\r\n",
) -> list[Step]:
    """Return a chunked response, a chunk a piece; what else is among the pieces is waited for. `end` closes it."""
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {content_type}", "Transfer-Encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in headers]
    steps: list[Step] = ["\r\n".join(lines).encode() + b"\r\n\r\n"]
    steps += [b"%x\r\n%b\r\n" % (len(p), p) if isinstance(p, bytes) else p for p in pieces]
    return [*steps, end]


def events(data: bytes) -> list[bytes]:
    """Cut a fixture into its events, each with its blank line."""
    return [event + b"\n\n" for event in data.split(b"\n\n") if event]


class Upstream:
    """The server. `answer` may be replaced at any time; `asked` has all requests so far; `gone` those left early."""

    def __init__(self, answer: Answer | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._secured: list[asyncio.StreamWriter] = []
        self.answer: Answer = answer or (lambda _asked: reply({"ok": True}))
        self.asked: list[Asked] = []
        self.gone = 0
        self.connections = 0
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=2048, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._secured:
            writer.transport.abort()  # a TLS connection that is closed waits for its peer
        await asyncio.sleep(0.0 if self._tls is None else 0.05)

    def answers(self, *scripts: list[Step]) -> None:
        """Answer the next requests by these, one each; the last one for ever."""
        left = list(scripts)
        self.answer = lambda _asked: left.pop(0) if len(left) > 1 else left[0]

    async def left(self, count: int = 1) -> None:
        """Wait until so many clients have left early; one is seen to leave while a number is waited for."""
        for _ in range(1000):
            if self.gone >= count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{self.gone} clients have left, not {count}")

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._tls is not None:
            self._secured.append(writer)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (asked := await _read(reader)) is not None:
                self.asked.append(asked)
                if not await self._play(self.answer(asked), reader, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone += 1
        finally:
            with suppress(ConnectionError):
                writer.close()

    async def _play(self, steps: Iterable[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Do the steps; return whether the connection may carry another request."""
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, asyncio.Event):
                await step.wait()
            elif step == CLOSE:
                return False
            elif step == RESET:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
                return False
            else:
                await self._wait(float(step), reader)
        return True

    async def _wait(self, seconds: float, reader: asyncio.StreamReader) -> None:
        """Wait, and notice a client that leaves meanwhile."""
        deadline = asyncio.get_running_loop().time() + seconds
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            if reader.at_eof() or reader.exception():
                raise ConnectionResetError
            await asyncio.sleep(min(left, 0.01))


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    """Read one request, its body by its length or its chunks; None where the client has no further one."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    asked = Asked(method, target, headers, b"")
    if "chunked" in (asked.header("Transfer-Encoding") or ""):
        body = b""
        while size := int((await reader.readline()).partition(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.readexactly(int(asked.header("Content-Length") or 0))
    return asked._replace(body=body)
