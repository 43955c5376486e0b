"""Start a server, learn what it has used, and stop it: all of its processes, however it forks.

A child belongs to a server if it is in the session the server was started in or descends from it. CPU time comes from
the POSIX CPU clock of each process (nanoseconds, every thread, dead ones too) plus what its reaped children had used.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

STOP_SECONDS: Final = 15.0
"""How long a server may take to stop when asked, before it is killed."""


class Stat(NamedTuple):
    """What is used of one `/proc/<pid>/stat`."""

    pid: int
    parent: int
    session: int
    own_cpu: float
    reaped_cpu: float
    rss_bytes: int


def _stat(pid: int) -> Stat | None:
    """Return a process's numbers, or None if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    ticks = [int(field) * _TICK for field in fields[11:15]]
    return Stat(pid, int(fields[1]), int(fields[3]), ticks[0] + ticks[1], ticks[2] + ticks[3], int(fields[21]) * _PAGE)


def family(leader: int) -> list[Stat]:
    """Return the live processes of the session that `leader` leads and all of their descendants."""
    stats = [stat for path in Path("/proc").glob("[0-9]*") if (stat := _stat(int(path.name)))]
    members = {leader} | {stat.pid for stat in stats if stat.session == leader}
    size = 0
    while size != len(members):
        size = len(members)
        members |= {stat.pid for stat in stats if stat.parent in members}
    return [stat for stat in stats if stat.pid in members]


def cpu_seconds(leader: int) -> float:
    """Return the CPU time used so far by a process and all that belong to it."""
    total = 0.0
    for stat in family(leader):
        try:
            own = time.clock_gettime((~stat.pid << 3) | 2)  # the process-wide CPU clock, clock_getcpuclockid(3)
        except OSError:
            own = stat.own_cpu
        total += own + stat.reaped_cpu
    return total


class Server:
    """One running server of a row, stopped when its `with` block ends."""

    def __init__(self, name: str, argv: Sequence[str], environ: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log: Final = folder / "log.txt"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                argv,
                env=dict(environ),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __repr__(self) -> str:
        return f"<Server {self.name!r} pid={self._process.pid} returncode={self._process.returncode}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def ended(self) -> bool:
        """Whether its first process is gone."""
        return self._process.poll() is not None

    def cpu_seconds(self) -> float:
        """Return the CPU time used by every process so far."""
        return cpu_seconds(self._process.pid)

    def rss_bytes(self) -> int:
        """Return the resident memory of every process; pages they share are counted in each."""
        return sum(stat.rss_bytes for stat in family(self._process.pid))

    def last_words(self, lines: int = 12) -> str:
        """Return the end of its output, for a message about why it failed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """Ask its first process to stop, then kill what is left of all of them."""
        members = {stat.pid for stat in family(self._process.pid)}
        self._process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and not self.ended:
            time.sleep(0.05)
        for pid in members | {stat.pid for stat in family(self._process.pid)}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


class Helper:
    """A process of the bench's own, upstream or client: a module that talks in lines and ends with its input."""

    def __init__(self, module: str, environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, line: bytes = b"") -> bytes:
        """Send a line, if any, and return the next one that comes back."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if line:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args!r} has ended")
        return answer

    def cpu_seconds(self) -> float:
        """Return the CPU time it has used so far."""
        return cpu_seconds(self._process.pid)
