"""Options that several commands have, and where a command is run."""

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
        help="The folder the traces are kept in.",
    )(function)


def config_option(function: F) -> F:
    """Add `-c`."""
    return click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="A gateway.toml, which wins over those that are found; none is needed.",
    )(function)


def here() -> Path:
    """Return the working directory. Raises GatewayError where it has been removed."""
    try:
        return Path.cwd()
    except OSError:
        raise GatewayError("the working directory is gone; go to another one") from None
