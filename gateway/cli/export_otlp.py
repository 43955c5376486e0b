"""`gateway export --otlp` as a command: its options and the environment in, an exit code out."""

import os
import signal
import time

import click
import msgspec
from msgspec import structs

from gateway.cli.progress import shown
from gateway.config.model import Capture, CaptureMode
from gateway.store.otlp.backfill import ExportError, Job, Summary, backfill
from gateway.store.otlp.exporter import content_wanted, protocol, sender_by, variable

NOT_ALL_TAKEN = 3
INTERRUPTED = 130


def to_collector(job: Job, spoken: str | None, content: CaptureMode | None, *, as_json: bool) -> int:
    """Run an export, show how far it is, and print the summary; return the exit code.

    `spoken`, `content`: http or grpc, and how much of the messages, where the command line says so. Without an endpoint
    of its own the job goes where the environment says. Raises ExportError, QueryError, ConfigError, MomentError.
    """
    environ = os.environ
    url = job.endpoint or None
    said = variable(environ, "ENDPOINT")
    if url is None and not said:
        raise ExportError("no endpoint is known; write --otlp URL, or set OTEL_EXPORTER_OTLP_ENDPOINT")
    if url is not None and "://" not in url:
        raise ExportError(f"{url!r} is no URL; write it as http://HOST:PORT")
    capture = Capture(otlp=content or ("truncated" if content_wanted(environ) else "metadata"))
    job = structs.replace(job, endpoint=url or said, capture=capture)
    try:
        sender = sender_by(spoken or protocol(environ, url), url)
    except Exception as error:  # of the stock exporters, about their variables
        raise ExportError(f"an OTEL_EXPORTER_OTLP_* variable or the URL cannot be used: {error}") from None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with shown() as progress:
            summary = backfill(job, sender, progress, environ, now_ns=time.time_ns())
    finally:
        sender.close()
    click.echo(msgspec.json.encode(summary).decode() if as_json else _told(summary))
    if not summary.finished:
        return INTERRUPTED
    return NOT_ALL_TAKEN if summary.dropped else 0


def _told(summary: Summary) -> str:
    """Return the summary for people."""
    rate = summary.sent / max(summary.seconds, 0.001)
    text = f"{summary.sent:,} spans sent to {summary.endpoint} in {summary.seconds:.1f} s ({rate:,.0f} a second)"
    if summary.dropped:
        text += "; not taken: " + ", ".join(f"{count:,} {reason}" for reason, count in summary.dropped.items())
    return text if summary.finished else f"{text}; not finished"
