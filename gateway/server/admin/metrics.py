"""/-/metrics of a running recorder, and the export of the same metrics over OTLP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
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
    from gateway.store.metrics.export import MetricsExporter

Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def metrics_page(
    data: Path,
    environ: Mapping[str, str],
    health: Callable[[], Mapping[str, Any]],
    workers: Callable[[], Iterable[WorkerGauges]],
) -> AsyncIterator[Handler]:
    """Count from now on, export if the environment enables it, and yield the handler of the page.

    `health`: the recorder's part of /-/health. `workers`: their gauges.
    """
    meter, sending = await asyncio.to_thread(_build, environ, data, Sources(data, health, workers))

    async def show(request: web.Request) -> web.Response:
        body, kind = await meter.page(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": kind})

    stop = asyncio.Event()
    counting = asyncio.get_running_loop().create_task(meter.run(stop))
    if sending is not None:
        sending.start()
    try:
        yield show
    finally:
        stop.set()
        await counting
        if sending is not None:
            await asyncio.to_thread(sending.stop)
        await asyncio.to_thread(meter.close)


def _build(environ: Mapping[str, str], data: Path, sources: Sources) -> "tuple[Meter, MetricsExporter | None]":
    """Return the meter, and the exporter if there is one. Reads files."""
    meter = Meter(data, sources, tracer.resource(environ, data).attributes)
    if not wanted(environ, METRICS):
        return meter, None
    from gateway.store.metrics.export import MetricsExporter  # noqa: PLC0415  loads the SDK's metrics, only if they are used

    return meter, MetricsExporter.from_environment(environ, meter)
