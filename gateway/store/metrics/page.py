"""The metrics of a data folder while the recorder looks after it: the page /-/metrics, and what a collector is sent."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from gateway.store.metrics.instruments import WorkerGauges
from gateway.store.metrics.meter import Meter
from gateway.store.metrics.observed import Sources
from gateway.store.otlp.exporter import METRICS, wanted
from gateway.tracing import tracer

if TYPE_CHECKING:
    from gateway.store.metrics.export import Sending

PATH = "/-/metrics"


@asynccontextmanager
async def metered(
    data: Path,
    environ: Mapping[str, str],
    health: Callable[[], Mapping[str, Any]],
    workers: Callable[[], Iterable[WorkerGauges]],
) -> AsyncIterator[web.RouteDef]:
    """Count what is written from now on, and send it where the environment says; give the page that shows it.

    `health`: what /-/health says of the recorder. `workers`: what they say of themselves.
    """
    meter, sending = await asyncio.to_thread(_begun, environ, data, Sources(data, health, workers))

    async def show(request: web.Request) -> web.Response:
        body, kind = await meter.page(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": kind})

    stop = asyncio.Event()
    counting = asyncio.get_running_loop().create_task(meter.run(stop))
    if sending is not None:
        sending.start()
    try:
        yield web.get(PATH, show)
    finally:
        stop.set()
        await counting
        if sending is not None:
            await asyncio.to_thread(sending.stop)
        await asyncio.to_thread(meter.close)


def _begun(environ: Mapping[str, str], data: Path, sources: Sources) -> "tuple[Meter, Sending | None]":
    """Return what counts, and what sends. Files are read for both."""
    meter = Meter(data, sources, tracer.resource(environ, data).attributes)
    if not wanted(environ, METRICS):
        return meter, None
    from gateway.store.metrics.export import Sending  # noqa: PLC0415  the SDK's part for metrics is loaded where it is used

    return meter, Sending.from_environment(environ, meter)
