"""The npm packages as clients: one Node process that sends the given requests, and prints the events it receives."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.matrix.clients import Delta, Got
from tests.matrix.scenes import BUDGET, EFFORT, Case
from tests.support.npm import node_packages
from tests.support.paths import TESTS
from tests.support.sdks import KEY


class NodeError(Exception):
    """An error that a package threw."""

    def __init__(self, name: str, message: str, status: int | None) -> None:
        super().__init__(message)
        self.name = name
        self.status = status


class Node:
    """The process; it lasts longer than a test's loop, so threads wait for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "node_modules").symlink_to(node_packages())
        shutil.copy(TESTS / "node" / "matrix.mjs", folder)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(["node", "matrix.mjs"], cwd=self._folder, stdin=pipe, stdout=pipe)
        return self._process

    def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.communicate()

    async def ask(self, client: str, url: str, model: str, case: Case, stream: bool) -> AsyncIterator[Delta | Got]:
        """Ask with one of its clients."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        asked: dict[str, Any] = {**case._asdict(), "effort": EFFORT, "budget": BUDGET, "completion": None}
        job = {"client": client, "url": url, "key": KEY, "model": model, "asked": asked, "stream": stream}
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()
        finished = False
        try:
            while not finished:
                seen = json.loads(await asyncio.to_thread(process.stdout.readline))
                finished = "delta" not in seen
                if "error" in seen:
                    raise NodeError(**seen["error"])
                if finished:
                    calls = [tuple(call) for call in seen["got"].pop("calls")]
                    yield Got(calls=calls, usage=tuple(seen["got"].pop("usage")), **seen["got"])
                else:
                    yield tuple(seen["delta"])
        finally:
            if not finished:
                self.stop()
