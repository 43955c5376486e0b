"""`gateway config`: providers, aliases and keys that are set at runtime, and stored in the data folder."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click

from gateway.cli.options import config_option, data_option, here, url_option
from gateway.errors import ConfigError, GatewayError

F = TypeVar("F", bound=Callable[..., Any])

_table = click.argument("table", type=click.Choice(["providers", "aliases", "api_keys"]))


def _gateway_options(function: F) -> F:
    """Add the options that name a gateway."""
    return config_option(data_option(url_option(function)))


@click.group()
def config() -> None:
    """Show and set providers, aliases and keys at runtime.

    They apply at once, and are stored in the data folder.

    \b
    gateway config set providers local base_url=http://127.0.0.1:9000/v1
    gateway config set aliases smart candidates='["local/big", "groq/small"]'
    gateway config set api_keys team --env TEAM_KEY
    gateway config list
    """


@config.command(name="list")
@_gateway_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(data: Path, config: Path | None, url: str | None, as_json: bool) -> None:
    """List providers, aliases and keys with their origins, without secrets."""
    from gateway.server.live_config import report
    from gateway.server.live_config.overrides import TABLES

    found: dict[str, Any] = {}
    for table in TABLES:
        answer = _gateway(data, url).ask("GET", f"/-/config/{table}", table)
        if answer is None:
            source = _source(data, config)
            answer = {table: report.table(source.load(), table, str(source.overrides))}
        found |= answer
    _show(found, as_json)


@config.command()
@_table
@click.argument("name")
@_gateway_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def get(table: str, name: str, data: Path, config: Path | None, url: str | None, as_json: bool) -> None:
    """Show one provider, alias or key with its origin, without secrets.

    \b
    gateway config get providers openai
    """
    from gateway.server.live_config import report
    from gateway.server.live_config.overrides import table_of

    answer = _gateway(data, url).ask("GET", _path(table, name), "settings")
    if answer is None:
        source = _source(data, config)
        answer = report.table_entry(source.load(), table_of(table), name, str(source.overrides))
    _show({table: {name: answer}}, as_json)


@config.command(name="set")
@_table
@click.argument("name")
@click.argument("values", nargs=-1)
@click.option("--json", "as_json", metavar="JSON", help="The entry as JSON; - reads standard input.")
@click.option("--env", "variable", metavar="NAME", help="For a key: the environment variable with its value.")
@_gateway_options
def set_(
    table: str,
    name: str,
    values: tuple[str, ...],
    as_json: str | None,
    variable: str | None,
    data: Path,
    config: Path | None,
    url: str | None,
) -> None:
    """Set a provider, alias or key, replacing the one of that name.

    VALUES are key=value pairs; settings without one have their defaults. For a key it is the key itself; - reads it
    from standard input, so that the shell's history does not have it.

    \b
    gateway config set providers local base_url=http://127.0.0.1:9000/v1
    gateway config set aliases fast order=fastest candidates='["a/x", "b/y"]'
    pass show team-key | gateway config set api_keys team -
    """
    from gateway.server.live_config.overrides import OverridesFile, table_of

    if sum((bool(values), as_json is not None, variable is not None)) != 1:
        raise click.UsageError("give the entry as values, with --json, or with --env for a key")
    if as_json is not None:
        entry = _json(sys.stdin.read() if as_json == "-" else as_json)
    elif table == "api_keys":
        entry = _key(values, variable)
    elif variable is not None:
        raise click.UsageError("--env is for keys; write key='${env:NAME}'")
    else:
        entry = _entry(table, values)

    def offline(file: OverridesFile) -> object:
        return file.put(table_of(table), name, entry)

    _change("PUT", table, name, entry, offline, data, config, url)


@config.command()
@_table
@click.argument("name")
@_gateway_options
def delete(table: str, name: str, data: Path, config: Path | None, url: str | None) -> None:
    """Delete a provider, alias or key that was set at runtime.

    An entry of the same name in a file applies again.

    \b
    gateway config delete providers local
    """
    from gateway.server.live_config.overrides import OverridesFile, table_of

    def offline(file: OverridesFile) -> object:
        return file.delete(table_of(table), name)

    _change("DELETE", table, name, None, offline, data, config, url)


def _change(
    method: str,
    table: str,
    name: str,
    entry: Any,
    offline: Callable[[Any], object],
    data: Path,
    config: Path | None,
    url: str | None,
) -> None:
    """Change an entry through the running gateway, or in the data folder if none runs; print the result as JSON."""
    from gateway.server.live_config.overrides import locked

    answer = _gateway(data, url).ask(method, _path(table, name), "applied", entry)
    if answer is None:
        with locked(_source(data, config)) as file:
            offline(file)
        answer = {"generation": None, "applied": False}
        click.echo(f"no gateway runs on {data}; the change is stored for its next start", err=True)
    elif not answer["applied"]:
        click.echo("the change is stored; not every worker uses it yet, see /-/health", err=True)
    click.echo(json.dumps(answer))


def _gateway(data: Path, url: str | None) -> Any:
    from gateway.cli.admin_client import Gateway

    return Gateway(data, url, os.environ)


def _source(data: Path, config: Path | None) -> Any:
    from gateway.server.live_config.source import Source

    return Source(data=data, environ=dict(os.environ), cwd=here(), named=config)


def _path(table: str, name: str) -> str:
    if not name:
        raise GatewayError("a name cannot be empty")
    return f"/-/config/{table}/{quote(name, safe='')}"


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise GatewayError("the entry is not valid JSON") from None


def _key(values: tuple[str, ...], variable: str | None) -> dict[str, str]:
    if variable is not None:
        return {"source": "env", "value": variable}
    if len(values) != 1:
        raise click.UsageError("a key is one value; - reads it from standard input")
    if values[0] == "-":
        return {"value": sys.stdin.read().strip()}
    _warn(values[0])
    return {"value": values[0]}


def _warn(key: str) -> None:
    """Warn of a key in an argument: the shell's history has it, and process listings show it."""
    if not key.startswith("${env:"):
        click.echo("Warning: the key is in the shell's history now; use --env NAME or - the next time", err=True)


def _entry(table: str, values: tuple[str, ...]) -> dict[str, Any]:
    """Return the entry of `key=value` words; values of settings that are not text are JSON."""
    from typing import get_type_hints

    from gateway.config.model import Alias, Provider

    types = get_type_hints(Provider if table == "providers" else Alias)
    entry: dict[str, Any] = {}
    for word in values:
        key, equals, value = word.partition("=")
        if not equals:
            raise click.UsageError(f"{word!r} is not key=value")
        if key in {"api_key", "api_keys"}:
            _warn(value)
        entry[key] = _read(key, value, types.get(key, str))
    return entry


def _read(key: str, value: str, kind: Any) -> Any:
    """Convert a setting's value to its type; loading validates it further."""
    import msgspec

    if value[:1] in {"[", "{"}:
        return _json(value)
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{key}: {error}") from None


def _show(tables: dict[str, dict[str, Any]], as_json: bool) -> None:
    from gateway.cli.tables import print_rows

    if as_json:
        click.echo(json.dumps(tables))
        return
    rows = []
    for entries in tables.values():
        for entry in entries.values():
            for setting in entry["settings"]:
                value = setting["value"]
                origin = setting["origin"]
                source = " ".join(filter(None, (origin["file"] or origin["kind"], *origin["variables"])))
                rows.append((setting["path"], value if isinstance(value, str) else json.dumps(value), source))
    if rows:
        print_rows(("setting", "value", "from"), rows, "table")
