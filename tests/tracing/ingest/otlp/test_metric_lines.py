"""Lines of metrics restore the metric, with its attributes as `[capture]` and `[redaction]` allow."""

import pytest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from gateway.config.model import Capture
from gateway.redaction import Redaction
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.ingest.otlp.lines import source_fields
from gateway.tracing.ingest.otlp.metric_lines import map_attributes, metric_in, metric_line
from gateway.tracing.ingest.otlp.protocol import Malformed, Source
from tests.support.otlp_spans import otlp_attributes

SHARED = source_fields(Source(Resource(), InstrumentationScope(name="x")), CapturePolicy())
KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")


def metric(kind: str, **attributes: str) -> Metric:
    """Return a metric of a kind with one data point, and the same attributes in every place."""
    made = Metric(name="n", metadata=otlp_attributes(attributes))
    point = getattr(made, kind).data_points.add(attributes=otlp_attributes(attributes), time_unix_nano=5)
    if kind != "summary":
        point.exemplars.add(filtered_attributes=otlp_attributes(attributes), trace_id=b"\1" * 16, as_double=0.5)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_metric_is_restored_from_its_line(kind):
    """Byte for byte, if nothing of it is redacted."""
    sent = metric(kind, model="m")
    line = metric_line(Metric.FromString(sent.SerializeToString()), SHARED, CapturePolicy(), 7)
    assert not isinstance(line, Malformed)
    assert (line["t"], line["otlp"], line["received_ns"]) == ("metric", {"scope": {"name": "x"}}, 7)
    assert metric_in(line) == sent


@pytest.mark.parametrize("kind", KINDS)
def test_attributes_are_redacted_and_captured_everywhere(kind):
    """In metadata, data points and exemplars; secrets by name, by pattern and of the request."""
    policy = CapturePolicy(Capture(store="metadata"), Redaction(("emails",)))
    sent = metric(kind, mail="me@example.com", prompt="hello", password="p", own="key-of-the-request", model="m")
    line = metric_line(
        sent,
        SHARED,
        policy,
        7,
        lambda each: {name: "gone" if text.startswith("key") else text for name, text in each.items()},
    )
    assert not isinstance(line, Malformed)
    expected = metric(kind, mail="[redacted: email]", password="[redacted]", own="gone", model="m")
    assert metric_in(line) == expected


def test_a_metric_without_data_is_malformed():
    """Its name alone is worth nothing."""
    assert isinstance(metric_line(Metric(name="n"), SHARED, CapturePolicy(), 7), Malformed)


def test_unchanged_attributes_stay_as_they_are():
    """A repeated key, which OTLP forbids, is not normalized."""
    sent = metric("sum", a="1")
    sent.sum.data_points[0].attributes.extend(otlp_attributes({"a": "1"}))
    before = sent.SerializeToString()
    map_attributes(sent, dict)
    assert sent.SerializeToString() == before


@pytest.mark.parametrize("wrong", [{}, {"metric": "é"}, {"metric": "AAAA"}])
def test_a_damaged_line_is_an_error(wrong):
    """The exporter counts it."""
    with pytest.raises((KeyError, ValueError)):
        metric_in(wrong)
