"""The supervisor process: forks the recorder and the workers, restarts those that die, and stops them in order.

It has no threads and no event loop, so that it can fork at any time, and a child is up in milliseconds. It also owns
the listening sockets: connections made while a worker is down wait for its successor instead of being refused.
"""

import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType

from msgspec import Struct

from gateway.errors import ConfigError

log = logging.getLogger("gateway.supervisor")

BACKLOG = 1024
# A child that has never served, and dies this young this often in a row, ends the gateway: its error will not pass. One
# that has served is restarted for ever.
_YOUNG_SECONDS = 2.0
_YOUNG_DEATHS = 5
_TICK = 1.0
# The time that the recorder may take to stop.
_STOP_SECONDS = 5.0
# A terminal and a wrapper (npm, timeout) may both forward one signal; signals this close together count once.
_TOGETHER_SECONDS = 0.5


class Lifeline(Struct, frozen=True):
    """A child's pipe ends: it writes its pid to `ready` once it serves, and stops at the end of file of `alive`."""

    ready: int
    alive: int


class Role(Struct, kw_only=True):
    """One child process, and its state.

    Attributes:
        name: Its name in the log.
        run: Its main function, which returns on SIGTERM and when the parent is gone.
        pid: 0 while it does not run.
        born: The time of its fork; like all times here, of the monotonic clock.
        young_deaths: The number of times in a row that it died young.
        ready: Whether it serves.
        served: Whether it, or a predecessor, has served.
        end_by: The time at which it is killed, if it was stopped in order to be restarted; else 0.

    """

    name: str
    run: Callable[[Lifeline], None]
    pid: int = 0
    born: float = 0.0
    young_deaths: int = 0
    ready: bool = False
    served: bool = False
    end_by: float = 0.0


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Return `count` listening sockets on one address, one per worker. Raises ConfigError if it is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # Bound without SO_REUSEPORT first: with it, two gateways of one user would silently share a port.
        first = _bind(family, host, port, shared=False)
        if count == 1:
            return [first]
        port = first.getsockname()[1]
        first.close()
        return [_bind(family, host, port, shared=True) for _ in range(count)]
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with --port or --host"
        ) from None


def _bind(family: socket.AddressFamily, host: str, port: int, *, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _has_terminal() -> bool:
    """Whether the process has a controlling terminal that still exists."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


class Hooks(Struct, frozen=True, kw_only=True):
    """Callbacks of the supervisor.

    Attributes:
        ready: Called once, when all children serve.
        tick: Called about once a second; returns after how many seconds to call it again.
        hangup: Called on SIGHUP, unless the terminal is gone, in which case the supervisor stops.
        stop: Called before the children are stopped, to accept no more connections.

    """

    ready: Callable[[], None]
    tick: Callable[[], float]
    hangup: Callable[[], None]
    stop: Callable[[], None]


class Supervisor:
    """Runs the recorder and the workers until SIGINT or SIGTERM. The recorder starts first and stops last.

    `drain_seconds`, the time that workers may take to stop, may be changed while it runs.
    """

    def __init__(
        self,
        recorder: Role,
        workers: list[Role],
        *,
        drain_seconds: float,
        hooks: Hooks,
    ) -> None:
        self._recorder = recorder
        self._workers = workers
        self.drain_seconds = drain_seconds
        self._hooks = hooks
        self._hung_up = False
        self._stops = 0
        self._stopped_at = 0.0
        self._failed: str | None = None
        self._wake_read, self._wake_write = _pipe()
        self._alive_read, self._alive_write = _pipe()
        self._ready_read, self._ready_write = _pipe()

    def run(self) -> int:
        """Run until stopped; return the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        self._terminal = _has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        signal.signal(signal.SIGHUP, self._on_hangup)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake_write)
        for role in (self._recorder, *self._workers):
            self._fork(role)
        announced, seconds = False, _TICK
        while not self._stops and self._failed is None:
            self._wait(seconds)
            self._reap(restart=True)
            if self._recorder.pid and 0.0 < self._recorder.end_by < time.monotonic():
                os.kill(self._recorder.pid, signal.SIGKILL)
            if not announced and all(role.ready for role in (self._recorder, *self._workers)):
                announced = True
                self._hooks.ready()
            if self._hung_up:
                self._hung_up = False
                self._hooks.hangup()
            seconds = self._hooks.tick()
        self._hooks.stop()
        self._stop_all()
        if self._failed is not None:
            log.error("%s", self._failed)
            return 1
        return 0

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._stops or now - self._stopped_at > _TOGETHER_SECONDS:
            self._stops += 1
            self._stopped_at = now

    def _on_hangup(self, number: int, frame: FrameType | None) -> None:
        if self._terminal and not _has_terminal():
            self._on_signal(number, frame)
        else:
            self._hung_up = True

    def wake_workers(self) -> None:
        """Send SIGHUP to the workers, which then apply the published configuration."""
        for role in self._workers:
            if role.pid:
                os.kill(role.pid, signal.SIGHUP)

    def restart_recorder(self) -> None:
        """Stop the recorder and start it again; one that does not stop in time is killed."""
        if self._recorder.pid:
            self._recorder.end_by = time.monotonic() + _STOP_SECONDS
            os.kill(self._recorder.pid, signal.SIGTERM)

    def _wait(self, seconds: float) -> None:
        """Sleep until a signal, a child that reports ready, or the end of the time."""
        readable, _, _ = select.select([self._wake_read, self._ready_read], [], [], seconds)
        if self._wake_read in readable:
            os.read(self._wake_read, 4096)
        if self._ready_read in readable:
            pids = os.read(self._ready_read, 4096).split()
            for role in (self._recorder, *self._workers):
                role.ready = role.ready or str(role.pid).encode() in pids
                role.served = role.served or role.ready

    def _fork(self, role: Role) -> None:
        role.ready = False
        role.end_by = 0.0
        role.born = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            role.pid = pid
            return
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # Ctrl-C reaches the whole process group; only the parent acts on it.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            # Until the child has a handler; it reads the published configuration after that, so that no SIGHUP is lost.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.close(self._alive_write)
            role.run(Lifeline(self._ready_write, self._alive_read))
            code = 0
        except BaseException:
            log.exception("%s failed", role.name)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self, *, restart: bool) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            role = next((each for each in (self._recorder, *self._workers) if each.pid == pid), None)
            if role is None:
                continue
            role.pid = 0
            if not restart or self._stops:
                continue
            self._restart(role, os.waitstatus_to_exitcode(status))

    def _restart(self, role: Role, code: int) -> None:
        if role.end_by:
            self._fork(role)
            return
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        young = time.monotonic() - role.born < _YOUNG_SECONDS and not role.ready
        role.young_deaths = role.young_deaths + 1 if young else 0
        if role.young_deaths >= _YOUNG_DEATHS and not role.served:
            self._failed = f"{role.name} {how} {_YOUNG_DEATHS} times in a row; see the lines above"
            return
        log.warning("%s %s; starting it again", role.name, how)
        if young:
            time.sleep(0.1 * 2 ** min(role.young_deaths, _YOUNG_DEATHS - 1))
        self._fork(role)

    def _stop_all(self) -> None:
        """Stop the workers, which drain, then the recorder, which seals their last lines. A second signal kills."""
        self._stop(self._workers, self.drain_seconds + 2.0)
        self._stop([self._recorder], _STOP_SECONDS)

    def _stop(self, roles: list[Role], seconds: float) -> None:
        stops = self._stops
        for role in roles:
            if role.pid:
                os.kill(role.pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while any(role.pid for role in roles) and time.monotonic() < deadline and self._stops <= max(stops, 1):
            self._wait(0.1)
            self._reap(restart=False)
        for role in roles:
            if role.pid:
                log.warning("%s did not stop in time and is killed", role.name)
                os.kill(role.pid, signal.SIGKILL)
                os.waitpid(role.pid, 0)
                role.pid = 0
