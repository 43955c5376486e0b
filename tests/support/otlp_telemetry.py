"""OTLP log records and metrics of applications: small examples, and requests that carry them."""

from collections.abc import Mapping

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tests.support.otlp_spans import otlp_attributes

TIME_NS = 1_764_000_000_000_000_000
RESOURCE = Resource(attributes=otlp_attributes({"service.name": "agent"}), dropped_attributes_count=1)
SCOPE = InstrumentationScope(name="app", version="1")


def log(text: str, attributes: Mapping[str, str] | None = None) -> LogRecord:
    """Return a log record."""
    return LogRecord(
        time_unix_nano=TIME_NS,
        severity_number=9,  # type: ignore[arg-type]
        body=AnyValue(string_value=text),
        attributes=otlp_attributes(dict(attributes or {})),
    )


def metric(name: str, attributes: Mapping[str, str] | None = None) -> Metric:
    """Return a sum with one data point."""
    made = Metric(name=name, unit="1")
    made.sum.data_points.add(as_int=1, time_unix_nano=TIME_NS, attributes=otlp_attributes(dict(attributes or {})))
    return made


def logs_request(*records: LogRecord, resource: Resource = RESOURCE) -> ExportLogsServiceRequest:
    """Return a request with log records of one scope."""
    request = ExportLogsServiceRequest()
    of_resource = request.resource_logs.add(resource=resource, schema_url="https://r")
    of_resource.scope_logs.add(scope=SCOPE, log_records=records, schema_url="https://s")
    return request


def metrics_request(*metrics: Metric, resource: Resource = RESOURCE) -> ExportMetricsServiceRequest:
    """Return a request with metrics of one scope."""
    request = ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add(resource=resource, schema_url="https://r")
    of_resource.scope_metrics.add(scope=SCOPE, metrics=metrics, schema_url="https://s")
    return request
