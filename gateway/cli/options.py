"""Options of several commands, and the working directory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gateway.errors import GatewayError

F = TypeVar("F", bound=Callable[..., Any])

DATA = Path("gateway-data")


def data_option(function: F) -> F:
    """Add `--data`."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        default=DATA,
        show_default=True,
        help="The data folder.",
    )(function)


def config_option(function: F) -> F:
    """Add `-c`."""
    return click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="A gateway.toml that wins over the files that are found; optional.",
    )(function)


def url_option(function: F) -> F:
    """Add `--url`."""
    return click.option(
        "--url",
        help="A gateway on another machine, such as http://10.0.0.5:4000; the token is read from $GATEWAY_TOKEN.",
    )(function)


def format_options(function: F) -> F:
    """Add `--table`, `--json` and `--csv` as the parameter `form`: the last one given, or None.

    `tables` chooses the form for None: a table on a terminal, CSV into a pipe.
    """
    function = click.option("--csv", "form", flag_value="csv", help="Print CSV with a header.")(function)
    function = click.option("--json", "form", flag_value="json", help="Print one JSON object per line.")(function)
    return click.option("--table", "form", flag_value="table", help="Print a table (the default on a terminal).")(
        function
    )


def here() -> Path:
    """Return the working directory. Raises GatewayError if it has been removed."""
    try:
        return Path.cwd()
    except OSError:
        raise GatewayError("the working directory no longer exists; change to another one") from None
