"""The supervisor's child processes: workers, which proxy, and the recorder, which seals, exports and queries."""

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop
from aiohttp import web
from msgspec import Struct

from gateway.config.model import Config
from gateway.errors import ConfigError
from gateway.server import memory
from gateway.server.admin.configuration import ConfigPages, Control
from gateway.server.admin.metrics import metrics_page
from gateway.server.data_dir import socket_path
from gateway.server.live_config.published import ConfigSnapshot, PublishedConfig
from gateway.server.live_config.source import Source
from gateway.server.log_filters import redact_libraries, redact_logs
from gateway.server.routes import recorder_app
from gateway.server.supervisor import Lifeline
from gateway.server.worker import Worker
from gateway.store.metrics.instruments import WorkerGauges
from gateway.store.otlp.exports import Exports
from gateway.store.recorder import Recorder
from gateway.tracing.capture import policy_of

log = logging.getLogger("gateway")

_TICK = 1.0
# A child without its supervisor ends within a second, so that a restart finds the data directory and the port free:
# seconds for the requests in flight, and until the kernel ends a child that is not done by then.
_ORPHAN_DRAIN_SECONDS, _ORPHAN_SECONDS = 0.3, 0.8


class Signals(Struct, frozen=True):
    """Events set by signals.

    Attributes:
        stop: On SIGTERM, and when the parent is gone.
        wake: On SIGHUP, to apply a published configuration at once; and on `stop`.
        orphaned: When the parent is gone.

    """

    stop: asyncio.Event
    wake: asyncio.Event
    orphaned: asyncio.Event


def run(
    main: Callable[[Lifeline, Signals], Awaitable[None]], others: Iterable[socket.socket], lifeline: Lifeline
) -> None:
    """Run a child's main coroutine on an event loop of its own until SIGTERM, or until the parent is gone.

    `others`: listening sockets of its siblings, closed here. An open one would accept connections while its sibling
    drains, and nothing would answer them.
    """
    for sock in others:
        sock.close()

    async def until_stopped() -> None:
        loop, signals = asyncio.get_running_loop(), Signals(asyncio.Event(), asyncio.Event(), asyncio.Event())

        def stop() -> None:
            signals.stop.set()
            signals.wake.set()

        def leave() -> None:
            loop.remove_reader(lifeline.alive)  # which stays at its end of file
            signal.setitimer(signal.ITIMER_REAL, _ORPHAN_SECONDS)  # SIGALRM ends the process, whatever it does
            signals.orphaned.set()
            stop()

        loop.add_signal_handler(signal.SIGTERM, stop)
        loop.add_signal_handler(signal.SIGHUP, signals.wake.set)
        loop.add_reader(lifeline.alive, leave)
        await main(lifeline, signals)
        loop.remove_reader(lifeline.alive)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_stopped())


def _report_ready(lifeline: Lifeline) -> None:
    os.write(lifeline.ready, f"{os.getpid()} ".encode())


def _urls(sock: socket.socket) -> list[str]:
    """Return the URLs of this gateway on this machine, to which a variable such as OPENAI_BASE_URL may point."""
    port = sock.getsockname()[1]
    return [f"http://{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")]


def _enter(published: PublishedConfig) -> tuple[int, ConfigSnapshot]:
    """Return the active configuration; set its environment in this process, and the redaction of its log."""
    generation, snapshot = published.get()
    os.environ.update(snapshot.loaded.environ)
    redact_logs(policy_of(snapshot.loaded.config).redaction)
    redact_libraries()
    return generation, snapshot


async def worker(
    published: PublishedConfig, slot: int, data: Path, sock: socket.socket, lifeline: Lifeline, signals: Signals
) -> None:
    """Proxy until stopped, then drain; apply each configuration that is published meanwhile."""
    memory.tune()
    generation, snapshot = _enter(published)
    one = Worker(
        snapshot.loaded.config,
        data,
        snapshot.loaded.environ,
        token=snapshot.token,
        required=snapshot.required,
        name=f"w{slot}",
        own_urls=_urls(sock),
        status=lambda: published.status.to_json(),  # noqa: PLW0108  the property is read for each page
    )
    await one.start()
    await web.SockSite(one.runner, sock).start()
    # Objects alive now stay alive: the garbage collector need not traverse them again.
    gc.collect()
    gc.freeze()
    published.applied.note(slot, generation)
    _report_ready(lifeline)
    trimmer = memory.Trimmer()
    try:
        while not signals.stop.is_set():
            one.journal.tick()
            await trimmer.tick(one.journal.in_flight)
            published.gauges.note(slot, one.numbers)
            generation = await _apply_newest(one, published, slot, generation)
            try:
                await asyncio.wait_for(signals.wake.wait(), _TICK)
            except TimeoutError:
                continue
            signals.wake.clear()
    finally:
        await one.stop(signals.orphaned, _ORPHAN_DRAIN_SECONDS)
        published.gauges.note(slot, WorkerGauges())


async def _apply_newest(one: Worker, published: PublishedConfig, slot: int, generation: int) -> int:
    """Apply the published configuration if it is newer than `generation`; return its generation."""
    if published.generation == generation:
        return generation
    newest, snapshot = await asyncio.to_thread(published.get)
    try:
        await one.use(snapshot.loaded.config, snapshot.loaded.environ, snapshot.token, required=snapshot.required)
    except ConfigError as error:
        log.error("w%d: the published configuration cannot be applied, and the active one stays: %s", slot, error)  # noqa: TRY400  the traceback has no use
    else:
        published.applied.note(slot, newest)
    return newest


async def recorder(published: PublishedConfig, source: Source, lifeline: Lifeline, signals: Signals) -> None:
    """Seal journals, export, and answer admin pages until stopped."""
    _, snapshot = _enter(published)
    parent = os.getppid()

    def reload() -> None:
        if os.getppid() == parent:
            os.kill(parent, signal.SIGHUP)

    pages = ConfigPages(Control(source=source, published=published, reload=reload))
    loaded = snapshot.loaded
    async with open_recorder(source.data, loaded.config, loaded.environ, pages, published.gauges.all) as one:
        _report_ready(lifeline)
        await one.run(signals.stop)


@asynccontextmanager
async def open_recorder(
    data: Path,
    config: Config,
    environ: Mapping[str, str],
    config_pages: ConfigPages | None = None,
    workers: Callable[[], Iterable[WorkerGauges]] = tuple,
) -> AsyncIterator[Recorder]:
    """Yield the recorder of a data directory, to be run by the caller; export and serve its pages meanwhile.

    `workers`: returns the gauges of every worker.
    """
    exporter = Exports.from_environment(environ, data, config.capture, config.otlp.vocabulary)
    one = Recorder(data, config.store, exporter)
    await asyncio.to_thread(one.prepare)

    def health() -> dict[str, object]:
        return {
            "sealed": one.sealed,
            "failures": one.failures,
            **(exporter.counters() if exporter is not None else {"otlp": None}),
        }

    async with metrics_page(data, environ, health, workers) as metrics:
        app = recorder_app(data, config.sql, health, metrics=metrics, config=config_pages)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        path = socket_path(data)
        await asyncio.to_thread(path.unlink, missing_ok=True)
        await web.UnixSite(runner, str(path)).start()
        if exporter is not None:
            exporter.start()
        try:
            yield one
        finally:
            if exporter is not None:
                await asyncio.to_thread(exporter.stop)
            await runner.cleanup()
            await asyncio.to_thread(path.unlink, missing_ok=True)
