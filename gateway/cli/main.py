"""The command line: one function per command. Data goes to stdout, progress and errors to stderr.

A command imports its modules when it runs, so that `--help` and queries do not load the proxy.
"""

import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from gateway.cli.config import config as config_group
from gateway.cli.export import export
from gateway.cli.options import config_option, data_option, format_options, here
from gateway.cli.tables import Format
from gateway.errors import ConfigError, GatewayError


class _ServeByDefault(click.Group):
    """A group with the default command `serve`, also in front of options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in {"--help", "-h", "--version"}):
            args = ["serve", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except GatewayError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_ServeByDefault, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tracing-gateway", prog_name="gateway")
def main() -> None:
    """Run a drop-in LLM gateway that traces every upstream attempt, in DuckDB and over OTLP.

    \b
    gateway                        serve on http://127.0.0.1:4000
    gateway demo                   try it, offline and without a key
    gateway sql "FROM exchanges"   query the traces
    """


main.add_command(config_group)
main.add_command(export)


@main.command()
@click.option("--host", help="Listen on this address.  [default: $.host, 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Listen on this port; 0 picks a free one.  [default: $.port, 4000]"
)
@data_option
@config_option
@click.option("--bare", is_flag=True, help="Read only the file of -c, and search for no gateway.toml.")
@click.option(
    "--workers",
    default="1",
    show_default=True,
    metavar="N|auto",
    help="Number of worker processes; auto is one per core.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log more to stderr.")
def serve(
    host: str | None, port: int | None, data: Path, config: Path | None, bare: bool, workers: str, verbose: bool
) -> None:
    """Run the gateway (the default command).

    \b
    gateway serve --port 4001 -c gateway.toml --workers auto
    gateway serve --data /var/lib/gateway
    """
    from gateway.server.live_config.source import Source
    from gateway.server.main import Options
    from gateway.server.main import serve as run

    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    if workers != "auto" and not (workers.isdigit() and int(workers) > 0):
        raise click.BadParameter("a number from 1, or auto", param_hint="--workers")
    count = _cores() if workers == "auto" else int(workers)
    flags = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    source = Source(data=data, environ=dict(os.environ), cwd=here(), named=config, flags=flags, search=not bare)
    raise SystemExit(run(Options(source=source, workers=count)))


@main.command()
@data_option
@config_option
def recorder(data: Path, config: Path | None) -> None:
    """Serve the data folder of embedded gateways.

    It seals, exports and queries for applications that embed the gateway with recorder="none".

    \b
    gateway recorder --data /var/lib/gateway
    """
    from gateway.server.live_config.source import Source
    from gateway.server.main import record

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    record(Source(data=data, environ=dict(os.environ), cwd=here(), named=config))


@main.command()
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(config: Path | None, data: Path, as_json: bool) -> None:
    """Show the resulting configuration, or why it fails.

    Every value has its origin. Secrets are not shown, and nothing is started. The exit code is 1 for a configuration
    that cannot work.

    \b
    gateway check -c gateway.toml
    gateway check --json
    """
    from gateway.cli.check import load, write

    report = load(config, data, os.environ, here())
    write(report, here(), as_json=as_json)
    for warning in report.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if report.error is not None:
        raise click.ClickException(report.error)


@main.command()
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--example", "examples", multiple=True, metavar="TEXT", help="A text that one of your patterns matches.")
def doctor(config: Path | None, data: Path, as_json: bool, examples: tuple[str, ...]) -> None:
    """Test a configuration for leaks of keys and content.

    Canaries are sent through a gateway with this configuration, and every sink is searched for them. Everything runs on
    this machine: none of your providers, collectors and keys is used.

    \b
    exit codes: 0 no leak
                1 a leak
                2 the configuration cannot work
                3 something could not be checked

    \b
    gateway doctor -c gateway.toml
    gateway doctor --json | jq .leaks
    """
    import secrets

    from gateway.cli.doctor import report as reporting
    from gateway.cli.doctor.run import Progress, examine, load

    def step(text: str) -> None:
        click.echo(text, err=True)

    def requests(done: int, total: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{done}/{total} requests", nl=done == total, err=True)

    try:
        loaded, built = load(config, data, os.environ, here())
        report = examine(loaded, built, secrets.SystemRandom(), Progress(step, requests), examples=examples)
    except GatewayError as error:
        click.echo(f"Error: {error}", err=True)
        wrong = isinstance(error, ConfigError)
        raise SystemExit(reporting.BAD_CONFIGURATION if wrong else reporting.NOT_CHECKED) from None
    reporting.write(report, as_json=as_json)
    raise SystemExit(report.code)


@main.group(name="import")
def import_() -> None:
    """Convert another tool's configuration into a gateway.toml.

    \b
    gateway import litellm config.yaml --output gateway.toml
    """


@import_.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this new file instead of stdout."
)
@click.option("--json", "as_json", is_flag=True, help="Print TOML, warnings and variables as one JSON object.")
def litellm(file: Path, output: Path | None, as_json: bool) -> None:
    """Convert LiteLLM's config.yaml: models, keys, fallbacks.

    Settings without an equivalent are listed on stderr, with the environment variables to set. Keys are not copied.

    \b
    gateway import litellm config.yaml
    gateway import litellm config.yaml --output gateway.toml && gateway check
    """
    from gateway.cli.litellm import files
    from gateway.cli.litellm.convert import convert
    from gateway.cli.tables import on_one_line, print_rows

    found = convert(files.read(file))
    text = f"# From {on_one_line(file.name)}, by gateway import litellm\n{files.dumps(found.tables)}"
    if output is not None:
        files.write(output, text)
    if as_json:
        print_rows(("toml", "warnings", "variables"), [(text, found.warnings, found.variables)], "json")
    elif output is None:
        click.echo(text, nl=False)
    for warning in found.warnings:
        click.echo(f"Warning: {on_one_line(warning)}", err=True)
    for name, what in found.variables.items():
        click.echo(f"Set {name}: {on_one_line(what)}", err=True)


def _cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@main.command()
@click.argument("query")
@data_option
@format_options
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1), help="Maximum number of rows.")
@click.option("--timeout", default=30.0, show_default=True, help="Time limit in seconds.")
def sql(query: str, data: Path, form: Format | None, limit: int, timeout: float) -> None:
    """Query the store, also while the gateway runs.

    \b
    gateway sql "FROM exchanges ORDER BY started_at DESC LIMIT 5"
    gateway sql "SELECT model, count(*) FROM exchanges GROUP BY ALL"
    gateway sql --json "FROM attempts WHERE outcome <> 'ok'"
    """
    from gateway.cli.tables import print_rows
    from gateway.store.query import run_sql

    result = run_sql(data, query, limit=limit, timeout_s=timeout)
    print_rows(result.columns, result.rows, form or ("table" if sys.stdout.isatty() else "csv"))
    if result.truncated:
        click.echo(f"only the first {limit} rows are shown; --limit raises the limit", err=True)


@main.command()
@data_option
@click.option("-n", "count", default=10, show_default=True, type=click.IntRange(0), help="Number of past exchanges.")
@click.option("-f", "--follow", "following", is_flag=True, help="Continue with new exchanges as they end.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def tail(data: Path, count: int, following: bool, as_json: bool) -> None:
    """Show the last exchanges, and follow new ones.

    On a terminal narrower than 120 columns, trace ids and errors are left out; --json has them.

    \b
    gateway tail -n 20
    gateway tail -f
    """
    from gateway.cli.tail import WIDE, Follower, follow, last, line, line_header

    follower = Follower(data)
    narrow = sys.stdout.isatty() and shutil.get_terminal_size().columns < WIDE
    seen = set()
    if not as_json:
        click.echo(line_header(narrow=narrow))
    try:
        for row in last(data, count) if count else []:
            seen.add(row["span_id"])
            click.echo(line(row, as_json, narrow=narrow))
        for row in follow(follower) if following else []:
            if row["span_id"] not in seen:
                click.echo(line(row, as_json, narrow=narrow))
                sys.stdout.flush()
    except KeyboardInterrupt:
        return


@main.command()
@data_option
@click.option(
    "--rounds", default=9, show_default=True, type=click.IntRange(1, 1000), help="Number of rounds of five requests."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def demo(data: Path, rounds: int, as_json: bool) -> None:
    """Start a gateway, send it mixed traffic, and query the traces.

    It works offline and without a key. The traces stay in the data folder.

    \b
    gateway demo
    gateway sql "FROM attempts"
    """
    import asyncio

    from gateway.cli.demo import QUERIES, running, send
    from gateway.cli.tables import print_rows
    from gateway.store.query import run_sql

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{done}/{total} requests", nl=done == total, err=True)

    with running(data) as url:
        click.echo(f"sending {rounds * 5} requests to a gateway at {url}", err=True)
        asyncio.run(send(url, rounds, progress))
        for title, query in QUERIES:
            result = run_sql(data, query)
            if not as_json:
                click.echo(f"{title}\n{query}")
            print_rows(result.columns, result.rows, "json" if as_json else "table")
    click.echo(f"the traces are in {data}; query them with: gateway sql --data {data} 'FROM attempts'", err=True)
