"""The gateway that is examined: the real command, with its supervisor, worker and recorder, in a folder of its own."""

import asyncio
import contextlib
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from gateway.errors import GatewayError

_LISTENING = re.compile(rb"is listening on http://[^\s:]+:(\d+)")
_START_SECONDS = 20.0
_STOP_SECONDS = 15.0


class Child:
    """Runs from entry to `stop`. `output`: all that it has said on stdout and stderr, with the most verbose log."""

    def __init__(self, command: Sequence[str], folder: Path, toml: str, environ: Mapping[str, str]) -> None:
        self._command = command
        self._folder = folder
        self._environ = environ
        self.config = folder / "gateway.toml"
        self.data = folder / "data"
        self.output = b""
        self.port = 0
        self._toml = toml

    def __repr__(self) -> str:
        return f"<Child on port {self.port}>"

    async def __aenter__(self) -> Self:
        """Start it. Raises GatewayError where it does not come up, with what it said."""
        await asyncio.to_thread(self._write)
        options = ["serve", "--bare", "-c", str(self.config), "--host", "127.0.0.1", "--port", "0", "--verbose"]
        self._process = await asyncio.create_subprocess_exec(
            *self._command, *options, "--data", str(self.data),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env=dict(self._environ), cwd=self._folder,
        )  # fmt: skip
        self._listens = asyncio.Event()
        self._reading = asyncio.get_running_loop().create_task(self._read())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                await self._listens.wait()
        if not self.port:
            await self.stop()
            said = self.output.decode("utf-8", "replace").strip()
            raise GatewayError(f"the gateway did not start with this configuration: {said or 'it said nothing'}")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self._process.pid

    async def stop(self) -> int:
        """Stop it, so that it seals what it has; return its exit code."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
        code = await self._process.wait()
        await self._reading
        return code

    async def asked(self, *options: str) -> bytes:
        """Run another command of the gateway's in the same surroundings; return all that it says."""
        process = await asyncio.create_subprocess_exec(
            *self._command, *options,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env=dict(self._environ), cwd=self._folder,
        )  # fmt: skip
        said, _ = await process.communicate()
        return said

    def _write(self) -> None:
        self.config.touch(0o600)
        self.config.write_text(self._toml, encoding="utf-8")

    async def _read(self) -> None:
        stdout = self._process.stdout
        while stdout is not None and (piece := await stdout.read(65536)):
            self.output += piece
            if not self.port and (found := _LISTENING.search(self.output)):
                self.port = int(found.group(1))
                self._listens.set()
        self._listens.set()
