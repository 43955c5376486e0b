"""What the supervisor's children run: a worker, which proxies, and the recorder, which looks after the store."""

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
from gateway.server.admin.configuration import ConfigPages, Control
from gateway.server.admin.pages import pages
from gateway.server.admin.sockets import socket_path
from gateway.server.live_config.published import ConfigSnapshot, PublishedConfig
from gateway.server.live_config.source import Source
from gateway.server.log_filters import redact_libraries, redact_logs
from gateway.server.supervisor import Lifeline
from gateway.server.worker import Worker
from gateway.store.metrics.instruments import WorkerGauges
from gateway.store.metrics.page import metered
from gateway.store.otlp.exporter import Exporter
from gateway.store.recorder import Recorder
from gateway.tracing.capture import policy_of

log = logging.getLogger("gateway")

_TICK = 1.0


class Wishes(Struct, frozen=True):
    """What a child is told by signals: to stop (SIGTERM, or its parent is gone), and to look (SIGHUP, or to stop)."""

    stop: asyncio.Event
    look: asyncio.Event


def run(
    main: Callable[[Lifeline, Wishes], Awaitable[None]], others: Iterable[socket.socket], lifeline: Lifeline
) -> None:
    """Run a child's main coroutine on its own event loop until SIGTERM, or until the parent is gone.

    `others`: listening sockets of its siblings. Held open here, they would take connections that nobody answers while
    those drain.
    """
    for sock in others:
        sock.close()

    async def until_stopped() -> None:
        loop, wishes = asyncio.get_running_loop(), Wishes(asyncio.Event(), asyncio.Event())

        def stop() -> None:
            wishes.stop.set()
            wishes.look.set()

        loop.add_signal_handler(signal.SIGTERM, stop)
        loop.add_signal_handler(signal.SIGHUP, wishes.look.set)
        loop.add_reader(lifeline.alive, stop)
        await main(lifeline, wishes)
        loop.remove_reader(lifeline.alive)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_stopped())


def _ready(lifeline: Lifeline) -> None:
    os.write(lifeline.ready, f"{os.getpid()} ".encode())


def _urls(sock: socket.socket) -> list[str]:
    """Return the URLs that a variable may tell clients of us by."""
    port = sock.getsockname()[1]
    return [f"http://{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")]


def _begin(published: PublishedConfig) -> tuple[int, ConfigSnapshot]:
    """Return what is in force. What `.env` files say is part of this process's environment from now on."""
    generation, current = published.get()
    os.environ.update(current.loaded.environ)
    redact_logs(policy_of(current.loaded.config).redaction)
    redact_libraries()
    return generation, current


async def worker(
    published: PublishedConfig, slot: int, data: Path, sock: socket.socket, lifeline: Lifeline, wishes: Wishes
) -> None:
    """Proxy until told to stop, then drain. Meanwhile go by what is published."""
    generation, current = _begin(published)
    one = Worker(
        current.loaded.config,
        data,
        current.loaded.environ,
        token=current.token,
        required=current.required,
        name=f"w{slot}",
        ours=_urls(sock),
        status=lambda: published.status.shown(),  # noqa: PLW0108  the newest each time
    )
    await one.start()
    await web.SockSite(one.runner, sock).start()
    # What is alive now stays alive; the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    published.applied.note(slot, generation)
    _ready(lifeline)
    try:
        while not wishes.stop.is_set():
            one.journal.tick()
            published.gauges.note(slot, one.numbers)
            generation = await _followed(one, published, slot, generation)
            try:
                await asyncio.wait_for(wishes.look.wait(), _TICK)
            except TimeoutError:
                continue
            wishes.look.clear()
    finally:
        await one.stop()
        published.gauges.note(slot, WorkerGauges())


async def _followed(one: Worker, published: PublishedConfig, slot: int, generation: int) -> int:
    """Go on by what is published, where that is something newer; return its generation."""
    if published.generation == generation:
        return generation
    newest, current = await asyncio.to_thread(published.get)
    try:
        await one.use(current.loaded.config, current.loaded.environ, current.token, required=current.required)
    except ConfigError as error:
        log.error("w%d goes on by the configuration that it has: %s", slot, error)  # noqa: TRY400  no place of ours
    else:
        published.applied.note(slot, newest)
    return newest


async def recorder(published: PublishedConfig, source: Source, lifeline: Lifeline, wishes: Wishes) -> None:
    """Look after the store, export, and answer queries until told to stop."""
    _, current = _begin(published)
    parent = os.getppid()

    def reload() -> None:
        if os.getppid() == parent:
            os.kill(parent, signal.SIGHUP)

    configuration = ConfigPages(Control(source=source, published=published, reload=reload))
    loaded = current.loaded
    routes = configuration.routes()
    async with looked_after(source.data, loaded.config, loaded.environ, routes, published.gauges.all) as one:
        _ready(lifeline)
        await one.run(wishes.stop)


@asynccontextmanager
async def looked_after(
    data: Path,
    config: Config,
    environ: Mapping[str, str],
    routes: Iterable[web.RouteDef] = (),
    workers: Callable[[], Iterable[WorkerGauges]] = tuple,
) -> AsyncIterator[Recorder]:
    """Prepare a data folder, and export from it and answer queries meanwhile. The recorder is still to be run.

    `workers`: what they say of themselves.
    """
    exporter = Exporter.from_environment(environ, data, config.capture, config.otlp.vocabulary)
    one = Recorder(data, config.store, exporter)
    await asyncio.to_thread(one.prepare)

    def health() -> dict[str, object]:
        return {
            "sealed": one.sealed,
            "failures": one.failures,
            "otlp": exporter.counters() if exporter is not None else None,
        }

    async with metered(data, environ, health, workers) as metrics:
        runner = web.AppRunner(
            pages(data, config.sql, health, [*routes, metrics]), access_log=None, handler_cancellation=True
        )
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
