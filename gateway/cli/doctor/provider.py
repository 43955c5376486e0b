"""The scripted provider: on loopback, it does as a path says, and repeats every key that it is shown."""

import asyncio
import socket
import struct
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

import msgspec
from msgspec import Struct

from gateway.cli.doctor import answers
from gateway.cli.doctor.paths import MARK, Path
from gateway.cli.doctor.scanning import written
from gateway.config.model import DialectName

# Longer than any run: a client that leaves ends it, and so does the run.
_FOR_EVER = 60.0
_HEAD = "HTTP/1.1 {status} {reason}\r\nContent-Type: {type}\r\nConnection: close\r\n{more}\r\n"
# What a client's first record of TLS begins with (RFC 8446, section 5.1: handshake).
_TLS = b"\x16"
# Headers that say nothing secret; all others are repeated.
_PLAIN = frozenset({"host", "accept", "content-type", "content-length", "connection", "traceparent", MARK})


class Asked(Struct, frozen=True, kw_only=True):
    """One request as it came."""

    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """Return the first header of a name; empty where there is none."""
        return next((value for key, value in self.headers if key.lower() == name), "")


class Provider:
    """Serves until it is closed. `asked`: what came, by path; `said`: all bytes that were sent back, by path."""

    def __init__(self) -> None:
        self._paths: Mapping[str, Path] = {}
        self.asked: dict[str, list[Asked]] = {}
        self.said: dict[str, bytes] = {}
        self.strangers = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=1024)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def use(self, paths: Mapping[str, Path]) -> None:
        """Take the paths, by their ids."""
        self._paths = paths

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await _read(reader)
            path = self._paths.get(asked.header(MARK))
            if path is None:
                self.strangers += 1
            else:
                self.asked.setdefault(path.id, []).append(asked)
                await self._play(path, asked, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            return
        finally:
            with suppress(ConnectionError):
                writer.close()

    async def _play(self, path: Path, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(data: bytes) -> None:
            self.said[path.id] = self.said.get(path.id, b"") + data
            writer.write(data)
            await writer.drain()

        dialect, by_path = answers.dialect_of(asked.target)
        text, arguments, detail = path.says
        shown = _shown(asked)
        text = " ".join((text, *shown))
        failing = path.script == "refuse" or (path.script == "retry" and len(self.asked[path.id]) == 1)
        if failing:
            await say(_refusal(dialect, path, asked, shown, detail))
        elif path.script == "silent":
            await _until_left(reader)
        elif path.script == "garbage":
            await say(" ".join(shown).encode("latin-1", "replace") + b"\r\n\r\n")
        elif path.script == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        elif by_path or (path.stream and dialect is not None and _streams(asked)):
            pieces = answers.streamed(dialect, text, arguments)
            more = "Transfer-Encoding: chunked\r\n"
            await say(_HEAD.format(status=200, reason="OK", type=answers.content_type(dialect), more=more).encode())
            whole = path.script in {"answer", "retry"}
            for piece in pieces if whole else pieces[: max(1, len(pieces) - 2)]:
                await say(b"%x\r\n%b\r\n" % (len(piece), piece))
            if path.script == "hang":
                await _until_left(reader)
            elif whole:
                await say(b"0\r\n\r\n")
        else:
            await say(_response(200, "OK", answers.whole(dialect, text, arguments)))


def _response(status: int, reason: str, body: bytes, more: str = "") -> bytes:
    more = f"{more}Content-Length: {len(body)}\r\n"
    return _HEAD.format(status=status, reason=reason, type="application/json", more=more).encode("latin-1") + body


def _shown(asked: Asked) -> list[str]:
    """Return all that a request shows and that may be secret, as it came."""
    query = asked.target.partition("?")[2]
    return [*(value for name, value in asked.headers if name.lower() not in _PLAIN), *([query] if query else [])]


def _refusal(dialect: DialectName | None, path: Path, asked: Asked, shown: list[str], detail: str) -> bytes:
    """Return an error that repeats each key as it came and as others write it; of status 400, with escaped slashes."""
    keys = [_key(value) for value in shown]
    forms = {name: " ".join(written(key)[name] for key in keys) for name in written("")}
    message = f"Incorrect key provided: {' '.join(shown)} ({forms['percent-encoded']}, {forms['base64']})"
    more = {f"key, {name}": text for name, text in forms.items() if name != "JSON-escaped"}
    body = answers.error(dialect, path.status, message, {"said": detail, "asked": asked.target, **more})
    if path.status == 400:
        body = body.replace(b"/", b"\\/")
    challenge = f"WWW-Authenticate: Bearer error={shown[0] if shown else ''}\r\nRetry-After: 0\r\n"
    return _response(path.status, "Refused", body, challenge)


def _key(shown: str) -> str:
    """Return the key of a header's value or of a query; of a user and a password, the password."""
    scheme, _, last = shown.rpartition(" ")
    if scheme == "Basic":
        return b64decode(last).decode().partition(":")[2]
    return last.rpartition("=")[2]


def _streams(asked: Asked) -> bool:
    try:
        return msgspec.json.decode(asked.body, type=dict[str, object]).get("stream") is not False
    except msgspec.MsgspecError:
        return False


async def _until_left(reader: asyncio.StreamReader) -> None:
    """Wait until whom we speak to has left."""
    async with asyncio.timeout(_FOR_EVER):
        await reader.read()


async def _read(reader: asyncio.StreamReader) -> Asked:
    """Read one request. Raises IncompleteReadError, ConnectionError, ValueError."""
    first = await reader.readexactly(1)
    if first == _TLS:
        raise ConnectionError("a greeting of TLS, which is not spoken here")
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    _, target, _ = line.split(" ")
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    asked = Asked(target=target, headers=headers, body=b"")
    length = int(asked.header("content-length") or 0)
    return Asked(target=target, headers=headers, body=await reader.readexactly(length))
