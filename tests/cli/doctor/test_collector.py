"""The collector keeps bodies without their coding, and takes spans apart."""

import gzip
from urllib.request import Request, urlopen

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gateway.cli.doctor.collector import Collector


def post(url: str, body: bytes, **headers: str) -> None:
    """Post to a collector."""
    with urlopen(Request(url, data=body, headers={k.replace("_", "-"): v for k, v in headers.items()})) as response:
        assert response.status == 200


def test_spans_are_read_from_plain_and_compressed_requests():
    """Each span comes with its trace id and name; metrics are no spans."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.name = b"\xab" * 16, "chat m"
    body = request.SerializeToString()
    with Collector() as collector:
        post(f"{collector.url}/v1/traces", body)
        post(f"{collector.url}/v1/traces", gzip.compress(body), content_encoding="gzip")
        post(f"{collector.url}/v1/metrics", body)
    assert [each[:2] for each in collector.spans()] == [("ab" * 16, "chat m")] * 2
    assert [batch.signal for batch in collector.batches] == ["traces", "traces", "metrics"]
    assert {batch.body for batch in collector.batches} == {body}


def test_requests_that_cannot_be_read_are_counted():
    """Neither a broken coding nor a broken message is passed over in silence."""
    with Collector() as collector:
        post(f"{collector.url}/v1/traces", b"no gzip", content_encoding="gzip")
        post(f"{collector.url}/v1/traces", b"\xff")
    assert list(collector.spans()) == []
    assert collector.unreadable == 2
