"""The command line: one function per command. Data goes to stdout, progress and errors to stderr.

Each command imports what it needs when it runs, so that `--help` and a query do not pay for the proxy.
"""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gateway.cli.config import config as config_group
from gateway.cli.export import export
from gateway.cli.options import config_option, data_option, here
from gateway.cli.tables import Format
from gateway.errors import ConfigError, GatewayError

F = TypeVar("F", bound=Callable[..., Any])


class _ServeByDefault(click.Group):
    """A group whose first command may be left out: a bare `gateway`, with or without options, serves."""

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
    """Trace every LLM call: a drop-in gateway whose every upstream attempt is a span, in DuckDB and over OTLP.

    \b
    gateway                      serve on http://127.0.0.1:4000
    gateway demo                 see it work, offline, with no key
    gateway sql "FROM exchanges" ask what happened
    """


main.add_command(config_group)
main.add_command(export)


@main.command()
@click.option("--host", help="The address to listen on.  [default: $.host, 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="0: any free port.  [default: $.port, 4000]")
@data_option
@config_option
@click.option("--bare", is_flag=True, help="Look for no gateway.toml; read the one named by -c only.")
@click.option("--workers", default="1", show_default=True, metavar="N|auto", help="Processes that proxy.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
def serve(
    host: str | None, port: int | None, data: Path, config: Path | None, bare: bool, workers: str, verbose: bool
) -> None:
    """Proxy and trace (what a bare `gateway` does).

    \b
    gateway serve --port 4001 --data /var/lib/gateway -c gateway.toml --workers auto
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
    """Look after a data folder that applications write to which have the gateway in them, with recorder="none".

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
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def check(config: Path | None, data: Path, as_json: bool) -> None:
    """Show the configuration that would be in force, every value with its origin and no secret; fail if it cannot work.

    \b
    gateway check -c gateway.toml
    gateway check --json
    """
    from gateway.cli.check import check as checked
    from gateway.cli.check import write

    report = checked(config, data, os.environ, here())
    write(report, here(), as_json=as_json)
    for warning in report.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if report.error is not None:
        raise click.ClickException(report.error)


@main.command()
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--example", "examples", multiple=True, metavar="TEXT", help="What a pattern of yours is to take out.")
def doctor(config: Path | None, data: Path, as_json: bool, examples: tuple[str, ...]) -> None:
    """See whether this configuration leaks: canary keys go through a gateway of it, and every sink is looked through.

    Everything is on this machine: no provider and no collector of yours is asked, and no key of yours is used.
    Exit code: 0 clean, 1 something leaked, 2 the configuration cannot work, 3 something could not be checked.

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
    """Make a gateway.toml of another tool's configuration.

    \b
    gateway import litellm config.yaml --output gateway.toml
    """


@import_.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A new file, instead of stdout.")
@click.option("--json", "as_json", is_flag=True, help="The TOML, the warnings and the variables as one JSON object.")
def litellm(file: Path, output: Path | None, as_json: bool) -> None:
    """Read LiteLLM's config.yaml: models, keys, fallbacks. What cannot be taken over is said on stderr.

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
    """Return how many cores this process may use, or, where a system does not tell, how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _format_options(function: F) -> F:
    function = click.option("--csv", "form", flag_value="csv", help="CSV, with a header.")(function)
    function = click.option("--json", "form", flag_value="json", help="One JSON object a line.")(function)
    return click.option("--table", "form", flag_value="table", help="A table (the default on a terminal).")(function)


@main.command()
@click.argument("query")
@data_option
@_format_options
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1), help="At most this many rows.")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds.")
def sql(query: str, data: Path, form: Format | None, limit: int, timeout: float) -> None:
    """Ask the store, while the gateway runs and after.

    \b
    gateway sql "FROM exchanges ORDER BY started_at DESC LIMIT 5"
    gateway sql "SELECT response_model, sum(output_tokens) FROM attempts GROUP BY ALL"
    gateway sql --json "FROM attempts WHERE outcome <> 'ok'"
    """
    from gateway.cli.tables import print_rows
    from gateway.store.query import run_sql

    result = run_sql(data, query, limit=limit, timeout_s=timeout)
    print_rows(result.columns, result.rows, form or ("table" if sys.stdout.isatty() else "csv"))
    if result.truncated:
        click.echo(f"only the first {limit} rows; ask for more with --limit", err=True)


@main.command()
@data_option
@click.option("-n", "count", default=10, show_default=True, type=click.IntRange(0), help="How many of the last.")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on as new ones end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def tail(data: Path, count: int, following: bool, as_json: bool) -> None:
    """Show the last exchanges, and new ones as they end.

    \b
    gateway tail -n 20
    gateway tail -f
    """
    from gateway.cli.tail import Follower, follow, last, line, line_header

    follower = Follower(data)
    seen = set()
    if not as_json:
        click.echo(line_header())
    try:
        for row in last(data, count) if count else []:
            seen.add(row["span_id"])
            click.echo(line(row, as_json))
        for row in follow(follower) if following else []:
            if row["span_id"] not in seen:
                click.echo(line(row, as_json))
                sys.stdout.flush()
    except KeyboardInterrupt:
        return


@main.command()
@data_option
@click.option("--rounds", default=9, show_default=True, type=click.IntRange(1, 1000), help="Five requests a round.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def demo(data: Path, rounds: int, as_json: bool) -> None:
    """See it work, offline and with no key: start a gateway, send it mixed traffic, and ask what happened.

    \b
    gateway demo
    gateway sql "FROM attempts"     the traces are still there
    """
    import asyncio

    from gateway.cli.demo import QUERIES, running, send
    from gateway.cli.tables import print_rows
    from gateway.store.query import run_sql

    def told(done: int, total: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{done}/{total} requests", nl=done == total, err=True)

    with running(data) as url:
        click.echo(f"a gateway runs at {url}; sending it {rounds * 5} requests", err=True)
        asyncio.run(send(url, rounds, told))
        for title, query in QUERIES:
            result = run_sql(data, query)
            if not as_json:
                click.echo(f"{title}\n{query}")
            print_rows(result.columns, result.rows, "json" if as_json else "table")
    click.echo(f"the traces stay in {data}; ask more with: gateway sql --data {data} 'FROM attempts'", err=True)
