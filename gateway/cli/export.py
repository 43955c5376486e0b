"""`gateway export`: stored spans to a collector or a file."""

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from gateway.cli.options import data_option
from gateway.config.model import Capture, CaptureMode, VocabularyName

if TYPE_CHECKING:
    from gateway.store.otlp.backfill import Job, Summary

NOT_ALL_TAKEN = 3
INTERRUPTED = 130

_FILE = click.Path(path_type=Path, dir_okay=False, writable=True)


@click.command()
@click.option(
    "--otlp",
    "url",
    is_flag=False,
    flag_value="",
    metavar="[URL]",
    help="Send to this OTLP endpoint; without URL, to OTEL_EXPORTER_OTLP_ENDPOINT.",
)
@click.option("--jsonl", type=_FILE, help="Write a file of JSON lines.")
@click.option("--parquet", type=_FILE, help="Write a Parquet file.")
@data_option
@click.option(
    "--since",
    metavar="WHEN",
    help="Start: an age (1d, 12h, 2w) or a time (2026-11-01[T08:30Z]).  [default: the beginning]",
)
@click.option("--until", metavar="WHEN", help="End, likewise.  [default: now]")
@click.option("--where", metavar="SQL", help="An SQL condition on the view `spans`.")
@click.option(
    "--protocol", type=click.Choice(["http", "grpc"]), help="OTLP transport.  [default: by the port; 4317 is gRPC]"
)
@click.option(
    "--vocabulary",
    type=click.Choice(get_args(VocabularyName)),
    default="gen-ai",
    show_default=True,
    help="Attribute names.",
)
@click.option(
    "--content",
    type=click.Choice(get_args(CaptureMode)),
    help="Amount of content.  [default: truncated, or by the environment]",
)
@click.option("--resume/--restart", default=True, show_default=True, help="Continue an earlier export, or start again.")
@click.option("--patience", default=600.0, show_default=True, help="Seconds without success before giving up.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def export(
    url: str | None, jsonl: Path | None, parquet: Path | None, data: Path, since: str | None, until: str | None,
    where: str | None, protocol: str | None, vocabulary: VocabularyName, content: CaptureMode | None, resume: bool,
    patience: float, as_json: bool,
) -> None:  # fmt: skip
    """Send stored spans to an OTLP endpoint, or write them to a file.

    \b
    gateway export --otlp http://127.0.0.1:4318 --since 1d
    gateway export --otlp http://127.0.0.1:6006 --vocabulary openinference
    gateway export --otlp --since 2026-11-01 --where "outcome <> 'ok'"
    gateway export --parquet november.parquet --since 2026-11-01

    It also works while the gateway runs. Spans are sent oldest first, and a cursor is stored in DATA/export: the same
    command resumes after Ctrl-C or a crash, and later sends only new spans. The other OTEL_EXPORTER_OTLP_* variables
    apply too.

    \b
    exit codes: 0 all spans were accepted
                1 the export failed
                3 some spans were rejected
                130 interrupted
    """
    given = [option for option in (url, jsonl, parquet) if option is not None]
    if len(given) != 1:
        raise click.UsageError("give one of --otlp [URL], --jsonl FILE and --parquet FILE")
    if url is None:
        from gateway.store.dump import dump
        from gateway.store.times import period

        file = parquet or jsonl or Path()
        rows = dump(data, file, "parquet" if parquet else "jsonl", period(where, since, until, time.time_ns()))
        click.echo(f'{{"rows": {rows}}}' if as_json else f"{rows:,} spans written to {file}")
        return
    from gateway.store.otlp.backfill import Job

    job = Job(
        data=data, endpoint=url, since=since, until=until, where=where, vocabulary=vocabulary, restart=not resume,
        patience=patience,
    )  # fmt: skip
    raise SystemExit(to_collector(job, protocol, content, as_json=as_json))


def to_collector(job: "Job", transport: str | None, content: CaptureMode | None, *, as_json: bool) -> int:
    """Run an export with its progress, print the summary, and return the exit code.

    `transport` (http or grpc) and `content` win over the environment, which also has the endpoint of a job without one.
    Raises ExportError, QueryError, ConfigError, TimeError.
    """
    import msgspec
    from msgspec import structs

    from gateway.cli.progress import display
    from gateway.store.otlp.backfill import ExportError, backfill
    from gateway.store.otlp.exporter import content_wanted, protocol, sender_by, variable

    environ = os.environ
    url = job.endpoint or None
    configured = variable(environ, "ENDPOINT")
    if url is None and not configured:
        raise ExportError("no endpoint is set; use --otlp URL or OTEL_EXPORTER_OTLP_ENDPOINT")
    if url is not None and "://" not in url:
        raise ExportError(f"{url!r} is not a URL such as http://HOST:PORT")
    capture = Capture(otlp=content or ("truncated" if content_wanted(environ) else "metadata"))
    job = structs.replace(job, endpoint=url or configured, capture=capture)
    try:
        sender = sender_by(transport or protocol(environ, url), url)
    except Exception as error:  # raised by the SDK's exporters for their variables
        raise ExportError(f"an OTEL_EXPORTER_OTLP_* variable or the URL cannot be used: {error}") from None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with display() as progress:
            summary = backfill(job, sender, progress, environ, now_ns=time.time_ns())
    finally:
        sender.close()
    click.echo(msgspec.json.encode(summary).decode() if as_json else _text(summary))
    if not summary.finished:
        return INTERRUPTED
    return NOT_ALL_TAKEN if summary.dropped else 0


def _text(summary: "Summary") -> str:
    """Return the summary as text."""
    rate = summary.sent / max(summary.seconds, 0.001)
    text = f"{summary.sent:,} spans sent to {summary.endpoint} in {summary.seconds:.1f} s ({rate:,.0f} a second)"
    if summary.dropped:
        text += "; not taken: " + ", ".join(f"{count:,} {reason}" for reason, count in summary.dropped.items())
    return text if summary.finished else f"{text}; not finished"
