"""The counts to a collector, by the stock exporters and the standard `OTEL_*` variables: cumulative, with exemplars.

A thread sends them every OTEL_METRIC_EXPORT_INTERVAL milliseconds and once more at the end. It is a daemon: a collector
that hangs cannot keep the recorder from ending. Nothing is kept for one that is down: the next counts have it all.
"""

import logging
import threading
from collections.abc import Mapping
from typing import Any, Protocol

from opentelemetry.sdk.metrics import Exemplar as SdkExemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.store.metrics.meter import Meter
from gateway.store.metrics.series import Exemplar, Family, Labels, Spread
from gateway.store.otlp.exporter import METRICS, protocol, wanted
from gateway.tracing.tracer import SCOPE, VERSION

log = logging.getLogger("gateway.metrics")

_INTERVAL_MS = 60_000
_SHORTEST_MS = 100
# Data points in one request: some 1 MiB. By gRPC no more than 4 MiB are taken.
_POINTS_MAX = 2000
_CUMULATIVE = AggregationTemporality.CUMULATIVE


class MetricSender(Protocol):
    """What we ask of a stock exporter."""

    def export(self, metrics_data: MetricsData) -> MetricExportResult:
        """Send, and wait for the answer."""

    def shutdown(self) -> None:
        """Let go of the connection."""


class Sending:
    """Sends what a meter counts. `start` it in the process that counts; `stop` ends it within seconds."""

    def __init__(self, meter: Meter, sender: MetricSender, interval: float) -> None:
        self._meter = meter
        self._sender = sender
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otlp-metrics", daemon=True)
        self._failing = False
        self.sent = 0

    def __repr__(self) -> str:
        return f"<Sending sent: {self.sent}>"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], meter: Meter) -> "Sending | None":
        """Return what the standard variables ask for, or None. Where and how is read from the process's environment."""
        if not wanted(environ, METRICS):
            return None
        try:
            interval = max(_SHORTEST_MS, float(environ.get("OTEL_METRIC_EXPORT_INTERVAL") or _INTERVAL_MS)) / 1000
            return cls(meter, _sender(protocol(environ, signal=METRICS)), interval)
        except Exception as error:
            log.error("OTLP of metrics is off, for OTEL_* variables that cannot be used: %s", error)  # noqa: TRY400
            return None

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """Send once more, as far as that goes in `timeout` seconds."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._sender.shutdown()

    def _run(self) -> None:
        last = False
        while not last:
            last = self._stop.wait(self._interval)
            try:
                # While the counts are held only the message is made of them.
                message = self._meter.read(lambda families: data_of(families, self._meter))
                taken = self._sender.export(message) is MetricExportResult.SUCCESS
            except Exception:
                if not self._failing:
                    log.exception("metrics could not be sent; trying again")
                self._failing = True
                continue
            self._say(taken)

    def _say(self, taken: bool) -> None:
        if taken:
            self.sent += 1
        elif not self._failing:  # once per outage
            log.warning(
                "the collector takes no metrics; they are sent again, and OTEL_METRICS_EXPORTER=none turns that off"
            )
        self._failing = not taken


def data_of(families: list[Family], meter: Meter, now_ns: int | None = None) -> MetricsData:
    """Return the counts in the SDK's form. `now_ns`: the Unix time, of the clock if not said."""
    now = meter.now() if now_ns is None else now_ns
    metrics = [
        Metric(
            name=family.instrument.name,
            description=family.instrument.help,
            unit=family.instrument.unit,
            data=_points(family, meter.started_ns, now),
        )
        for family in families
        if family.counts or family.spreads
    ]
    scope = ScopeMetrics(InstrumentationScope(SCOPE, VERSION), metrics, "")
    return MetricsData([ResourceMetrics(Resource(meter.resource), [scope], "")])


def _points(family: Family, start: int, now: int) -> Sum | Gauge | Histogram:
    if family.instrument.sort == "histogram":
        return Histogram(
            [_spread(family, labels, spread, start, now) for labels, spread in family.spreads.items()], _CUMULATIVE
        )
    points = [
        NumberDataPoint(
            family.named(labels),
            start,
            now,
            count.value,
            [] if count.exemplar is None else [_exemplar(count.exemplar, 1)],
        )
        for labels, count in family.counts.items()
    ]
    return Gauge(points) if family.instrument.sort == "gauge" else Sum(points, _CUMULATIVE, is_monotonic=True)


def _spread(family: Family, labels: Labels, spread: Spread, start: int, now: int) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=family.named(labels),
        start_time_unix_nano=start,
        time_unix_nano=now,
        count=sum(spread.counts),
        sum=spread.total,
        bucket_counts=list(spread.counts),
        explicit_bounds=family.instrument.bounds,
        min=spread.smallest,
        max=spread.largest,
        exemplars=[
            _exemplar(exemplar, value)
            for exemplar, value in zip(spread.exemplars, spread.latest, strict=True)
            if exemplar is not None
        ],
    )


def _exemplar(exemplar: Exemplar, value: float) -> SdkExemplar:
    return SdkExemplar({}, value, exemplar.time_ns, int(exemplar.span_id, 16), int(exemplar.trace_id, 16))


def _sender(name: str) -> Any:
    """Return the way to the collector; only its own libraries are loaded."""
    # They log every failed try, with the address.
    logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
    if name == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc  # noqa: PLC0415

        return Grpc(max_export_batch_size=_POINTS_MAX)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http  # noqa: PLC0415

    return Http(max_export_batch_size=_POINTS_MAX)
