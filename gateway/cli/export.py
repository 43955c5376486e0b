"""`gateway export`: what is in the store, to a collector or to a file."""

import time
from pathlib import Path
from typing import get_args

import click

from gateway.cli.options import data_option
from gateway.config.model import CaptureMode, VocabularyName

_FILE = click.Path(path_type=Path, dir_okay=False, writable=True)


@click.command()
@click.option("--otlp", "url", is_flag=False, flag_value="", metavar="[URL]", help="To an OTLP endpoint.")
@click.option("--jsonl", type=_FILE, help="To a file of JSON lines.")
@click.option("--parquet", type=_FILE, help="To a Parquet file.")
@data_option
@click.option("--since", metavar="WHEN", help="1d, 12h, 2w ago, or 2026-11-01[T08:30Z]; the beginning, if not said.")
@click.option("--until", metavar="WHEN", help="Likewise; now if not said.")
@click.option("--where", metavar="SQL", help="A condition over the columns of `spans`.")
@click.option("--protocol", type=click.Choice(["http", "grpc"]), help="By the port, if not said: 4317 is gRPC's.")
@click.option(
    "--vocabulary",
    type=click.Choice(get_args(VocabularyName)),
    default="gen-ai",
    show_default=True,
    help="Under which names.",
)
@click.option(
    "--content",
    type=click.Choice(get_args(CaptureMode)),
    help="How much of the messages; truncated, unless the environment says none.",
)
@click.option("--resume/--restart", default=True, show_default=True, help="Go on where this export was, or begin anew.")
@click.option("--patience", default=600.0, show_default=True, help="Seconds that the collector may take nothing.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON.")
def export(
    url: str | None, jsonl: Path | None, parquet: Path | None, data: Path, since: str | None, until: str | None,
    where: str | None, protocol: str | None, vocabulary: VocabularyName, content: CaptureMode | None, resume: bool,
    patience: float, as_json: bool,
) -> None:  # fmt: skip
    """Send what is in the store to an OTLP endpoint, or write it to a file; while the gateway runs and after.

    \b
    gateway export --otlp http://127.0.0.1:4318 --since 1d
    gateway export --otlp http://127.0.0.1:6006 --vocabulary openinference --where "session_id = 'abc'"
    gateway export --otlp --since 2026-11-01 --until 2026-12-01     OTEL_EXPORTER_OTLP_ENDPOINT says where
    gateway export --parquet november.parquet --since 2026-11-01

    Spans are sent oldest first. A file below DATA/export remembers how far; the same command goes on from there, after
    Ctrl-C or a crash, and later sends what is new. The other OTEL_EXPORTER_OTLP_ variables hold as well.

    \b
    exit codes: 0 all was taken   1 it could not go on   3 some spans were not taken   130 interrupted
    """
    given = [option for option in (url, jsonl, parquet) if option is not None]
    if len(given) != 1:
        raise click.UsageError("say where to: --otlp [URL], --jsonl FILE or --parquet FILE, one of them")
    if url is None:
        from gateway.store.dump import dump
        from gateway.store.times import period

        file = parquet or jsonl or Path()
        rows = dump(data, file, "parquet" if parquet else "jsonl", period(where, since, until, time.time_ns()))
        click.echo(f'{{"rows": {rows}}}' if as_json else f"{rows:,} spans are in {file}")
        return
    from gateway.cli.export_otlp import to_collector
    from gateway.store.otlp.backfill import Job

    job = Job(
        data=data, endpoint=url, since=since, until=until, where=where, vocabulary=vocabulary, restart=not resume,
        patience=patience,
    )  # fmt: skip
    raise SystemExit(to_collector(job, protocol, content, as_json=as_json))
