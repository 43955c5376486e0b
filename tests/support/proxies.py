"""Proxies for tests: one that is scripted and resolves every name to a port here, and a real one, proxy.py."""

import asyncio
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from gateway.providers.http.ways_out import Proxy

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class ScriptedProxy:
    """Leads every CONNECT, and every request in absolute form, to `port`; `heads` has what it was asked.

    `reply`: the bytes it answers a head with instead, None for none. `tls`: it is spoken to by TLS.
    """

    def __init__(
        self, port: int, reply: Callable[[bytes], bytes | None] = lambda _head: None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._port = port
        self._reply = reply
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.heads: list[bytes] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)  # clients have left: the other ends learn of it
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)

    def url(self, login: str = "") -> str:
        """Return its URL."""
        return f"{'https' if self._tls else 'http'}://{login}127.0.0.1:{self.port}"

    def proxy(self, login: str = "") -> Proxy:
        """Return it as the client has it."""
        found = Proxy.from_url(self.url(login), "HTTPS_PROXY")
        assert found is not None
        return found

    def lines(self) -> list[bytes]:
        """Return the request lines."""
        return [head.split(b"\r\n")[0] for head in self.heads]

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            reply = self._reply(head)
            if reply is not None:
                writer.write(reply)
            else:
                inner, outer = await asyncio.open_connection("127.0.0.1", self._port)
                self._writers.append(outer)
                if head.startswith(b"CONNECT"):
                    writer.write(ESTABLISHED)
                else:
                    outer.write(head)
                await asyncio.gather(_pump(reader, outer), _pump(inner, writer))
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class RealProxy:
    """proxy.py as a child process; `login`: the user and password it demands."""

    def __init__(self, folder: Path, login: str | None = None) -> None:
        self._folder = folder
        self._login = login

    async def __aenter__(self) -> Self:
        port_file, log = self._folder / "port", (self._folder / "proxy.log").open("wb")
        options = ["--basic-auth", self._login] if self._login else []
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0", "--port-file", port_file,
             "--num-acceptors", "1", "--num-workers", "1", *options,
            stdout=log, stderr=log, env={"PATH": "/usr/bin:/bin", "HOME": str(self._folder)},
        )  # fmt: skip
        log.close()
        for _ in range(500):
            if port_file.exists() and port_file.read_text().strip():
                break
            await asyncio.sleep(0.02)
        self.port = int(port_file.read_text())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.terminate()
        await self._process.wait()

    def log(self) -> str:
        """Return what it has logged."""
        return (self._folder / "proxy.log").read_text()
