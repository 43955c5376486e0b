"""OTLP over HTTP: replies by status, headers, compression."""

from gateway.store.otlp.http import reply_of
from gateway.store.otlp.request import Later, Refused, Taken
from tests.support.exported import exchange, journal_in, until


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
