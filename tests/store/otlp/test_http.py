"""OTLP over HTTP: replies by status, headers, compression."""

import asyncio

import pytest

from gateway.store.otlp.http import REFUSALS, HttpSender, reply_of
from gateway.store.otlp.request import Later, Refused, Taken, Unsupported
from gateway.tracing.ingest.otlp.protocol import LOGS, METRICS, TRACES, success_response
from tests.support.exported import exchange, journal_in, until
from tests.support.proxies import ScriptedProxy


def test_headers_path_and_compression_are_the_standard_ones(tmp_path, receiver, export):
    """The stock exporter's variables are honoured."""
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.close()
    export(EXPORTER_OTLP_HEADERS="x-team=a%20b", EXPORTER_OTLP_COMPRESSION="gzip")
    until(lambda: receiver.names)
    assert receiver.headers[0]["x-team"] == "a b"
    assert receiver.headers[0]["content-encoding"] == "gzip"


def test_what_a_status_means():
    """Only what is said of the bytes themselves is final; a redirect is no success."""
    assert reply_of(202, None, b"", 0.0) == Taken()
    assert reply_of(200, None, b"<html>", 0.0) == Taken()
    assert reply_of(413, None, b"", 0.0) == Refused("HTTP 413")
    assert reply_of(302, None, b"", 0.0) == Later("HTTP 302")
    assert reply_of(429, "7", b"", 0.0) == Later("HTTP 429", 7.0)
    assert reply_of(503, "Thu, 01 Jan 1970 00:01:00 GMT", b"", 10.0) == Later("HTTP 503", 50.0)
    assert reply_of(503, "soon", b"", 0.0) == Later("HTTP 503")


def test_the_statuses_that_refuse_a_batch_for_good():
    """A malformed request, one that is too large, and spans that cannot be processed; all others may be mended."""
    assert {400, 413, 422} == REFUSALS


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_status_about_the_bytes_is_a_refusal(status):
    """The batch is narrowed down to the span that is to blame."""
    assert reply_of(status, "7", b"", 0.0) == Refused(f"HTTP {status}")


@pytest.mark.parametrize("status", [100, 300, 302, 401, 403, 404, 405, 408, 415, 421, 429, 500, 502, 503, 504])
def test_any_other_status_is_tried_again(status):
    """A wrong path, token or proxy may be mended while the spans wait."""
    assert reply_of(status, None, b"", 0.0) == Later(f"HTTP {status}")


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_collector_may_lack_logs_and_metrics(status):
    """Nothing waits for it to get them; for spans the path may be mended."""
    for signal in (LOGS, METRICS):
        assert reply_of(status, None, b"", 0.0, signal) == Unsupported(f"HTTP {status}")
    assert reply_of(status, None, b"", 0.0) == Later(f"HTTP {status}")


RETRY_AFTER = [
    ("0", 0.0),
    (" 7 ", 7.0),
    ("Thu, 01 Jan 1970 00:01:00 GMT", 50.0),
    ("Thu, 01 Jan 1970 00:00:05 GMT", 0.0),
    ("-1", None),
    ("1.5", None),
    ("", None),
    (None, None),
]


@pytest.mark.parametrize(("header", "seconds"), RETRY_AFTER)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    """A date of the past is no wait; a text that is neither leaves the backoff."""
    assert reply_of(503, header, b"", 10.0) == Later("HTTP 503", seconds)


def test_rejected_spans_are_those_of_a_partial_success():
    """A body that is no OTLP has none."""
    for signal in (TRACES, LOGS, METRICS):
        body = success_response(signal, "protobuf", 3, "no")
        assert reply_of(200, None, body, 0.0, signal) == Taken(3)
    assert reply_of(200, None, b"{}", 0.0) == Taken()


@pytest.mark.parametrize("url", ["{}", "{}/", "{}/v1/traces", "{}/v1/traces/"])
def test_a_url_is_that_of_the_collector_or_of_its_signal(receiver, url):
    """The path of the signal is added once."""
    for signal in (TRACES, LOGS, METRICS):
        sender = HttpSender(url.format(f"http://127.0.0.1:{receiver.port}").replace("traces", signal.name), signal)
        assert sender.send([]) == Taken()
        sender.close()
        assert isinstance(sender.send([]), Later)
    assert [len(requests) for requests in receiver.telemetry.values()] == [1, 1]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "none"])
def test_the_body_is_in_the_coding_of_the_environment(receiver, monkeypatch, coding):
    """As the header has it, or the collector could not read it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", coding)
    sender = HttpSender(f"http://127.0.0.1:{receiver.port}")
    assert sender.send([]) == Taken()
    assert receiver.headers[0].get("content-encoding", "none") == coding
    sender.close()


async def test_a_proxy_of_the_environment(receiver, monkeypatch):
    """Spans go through HTTP_PROXY with its credentials; a refusal names the proxy and its variable only."""
    async with ScriptedProxy(receiver.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url("user:planted@"))
        sender = HttpSender("http://collector.corp.example:4318")
        assert await asyncio.to_thread(sender.send, []) == Taken()
        sender.close()
        assert proxy.lines() == [b"POST http://collector.corp.example:4318/v1/traces HTTP/1.1"]
        assert b"Proxy-Authorization: Basic dXNlcjpwbGFudGVk" in proxy.heads[0]
    for scheme, error in (("http", "HTTP 407"), ("https", "ProxyError")):
        async with ScriptedProxy(9, lambda _head: b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n") as proxy:
            monkeypatch.setenv(f"{scheme}_proxy", proxy.url("user:planted@"))
            sender = HttpSender(f"{scheme}://collector.corp.example")
            shown = f"{error} by the proxy 127.0.0.1:{proxy.port} (setting: {scheme}_proxy)"
            assert await asyncio.to_thread(sender.send, []) == Later(shown)
            sender.close()
