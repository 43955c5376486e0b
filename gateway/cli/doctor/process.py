"""The examined gateway: the real command in a folder of its own, and a client that keeps the bytes it gets."""

import asyncio
import re
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from msgspec import Struct

from gateway.cli.doctor.configuration import LoopbackConfig
from gateway.cli.doctor.requests import Request
from gateway.errors import GatewayError

_LISTENING = re.compile(rb"is listening on http://[^\s:]+:(\d+)")
_START_SECONDS, _STOP_SECONDS, _RESPONSE_SECONDS = 60.0, 30.0, 15.0
_POLL_SECONDS = 0.05
_CONCURRENT = 8


class GatewayProcess:
    """Runs from `start` to `stop`, which block, at the most verbose log level. `log` is outside of `folder`."""

    def __init__(self, command: Sequence[str], folder: Path, log: Path, loopback: LoopbackConfig) -> None:
        self._command = command
        self._folder = folder
        self._log = log
        self._environ = dict(loopback.environ)
        self._process: subprocess.Popen[bytes] | None = None
        self.config = folder / "gateway.toml"
        self.data = folder / "data"
        self.port = 0
        self.config.touch(0o600)
        self.config.write_text(loopback.toml, encoding="utf-8")

    def __repr__(self) -> str:
        return f"<GatewayProcess on port {self.port}>"

    def start(self) -> None:
        """Start it and wait until it listens. Raises GatewayError, with its output, if it does not in time."""
        self._process = self._popen(
            "serve", "--bare", "-c", str(self.config), "--host", "127.0.0.1", "--port", "0", "--verbose",
            "--data", str(self.data), log=self._log,
        )  # fmt: skip
        deadline = monotonic() + _START_SECONDS
        while self._process.poll() is None and monotonic() < deadline:
            if found := _LISTENING.search(self.output):
                self.port = int(found[1])
                return
            sleep(_POLL_SECONDS)
        self.stop()
        output = self.output.decode("utf-8", "replace").strip() or "it wrote nothing"
        raise GatewayError(f"the gateway did not start with this configuration: {output}")

    @property
    def pid(self) -> int:
        """The supervisor's process id; 0 before the start."""
        return self._process.pid if self._process is not None else 0

    @property
    def output(self) -> bytes:
        """All of stdout and stderr so far."""
        return self._log.read_bytes()

    def stop(self) -> None:
        """Stop it, so that it seals its journals."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def run(self, *arguments: str) -> bytes:
        """Run another command in the same environment; return its output."""
        log = self._log.with_suffix(".command")
        self._popen(*arguments, log=log).wait()
        return log.read_bytes()

    def _popen(self, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            return subprocess.Popen(  # noqa: S603  our own command
                [*self._command, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=self._environ, cwd=self._folder,
            )  # fmt: skip


class Response(Struct, frozen=True, kw_only=True):
    """The bytes that a client got. `status`: 0 without a response. `body`: without chunk heads."""

    status: int
    head: bytes = b""
    body: bytes = b""

    @property
    def data(self) -> bytes:
        """Head and body."""
        return self.head + self.body


async def send_all(port: int, requests: Sequence[Request], progress: Callable[[int, int], None]) -> dict[str, Response]:
    """Send requests, some at a time; return the responses by id. `progress` gets the numbers of done and of all."""
    gate, responses = asyncio.Semaphore(_CONCURRENT), dict[str, Response]()

    async def one(request: Request) -> None:
        async with gate:
            responses[request.id] = await send(port, request.data, disconnects=request.disconnects)
        progress(len(responses), len(requests))

    async with asyncio.TaskGroup() as group:
        for request in requests:
            group.create_task(one(request))
    return responses


async def send(port: int, data: bytes, *, disconnects: bool = False) -> Response:
    """Send a `Connection: close` request and read to the end, or with `disconnects` until the body has begun."""
    read = b""
    with suppress(OSError, TimeoutError):  # the bytes until then count
        async with asyncio.timeout(_RESPONSE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(data)
                while piece := await reader.read(65536):
                    read += piece
                    if disconnects and read.partition(b"\r\n\r\n")[2]:
                        break
            finally:
                writer.transport.abort()
                await writer.wait_closed()
    return parse_response(read)


def parse_response(read: bytes) -> Response:
    """Return a response as far as it came."""
    head, _, body = read.partition(b"\r\n\r\n")
    first = head.split(b" ", 2)
    if len(first) < 2 or not first[1].isdigit():
        return Response(status=0, body=read)
    chunked = b"transfer-encoding: chunked" in head.lower()
    return Response(status=int(first[1]), head=head, body=_unchunked(body) if chunked else body)


def _unchunked(body: bytes) -> bytes:
    pieces: list[bytes] = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        try:
            length = int(size.partition(b";")[0], 16)
        except ValueError:
            return b"".join(pieces) + body
        if not length:
            break
        pieces.append(rest[:length])
        body = rest[length + 2 :]
    return b"".join(pieces)
