"""Reads a YAML file, and writes a new one. Blocks."""

from pathlib import Path
from typing import Any

from gateway.config.files import read_text
from gateway.errors import ConfigError


def read(path: Path) -> Any:
    """Return what a YAML file says. Raises ConfigError."""
    try:
        import yaml
    except ImportError:
        raise ConfigError("reading YAML needs PyYAML: pip install 'tracing-gateway[import]'") from None
    text = read_text(path, str(path), named=True, instead="name another one", warn=lambda _: None)
    try:
        return yaml.load(text or "", Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  both are safe
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        # Its own text shows the lines around, which may have keys in them.
        raise ConfigError(f"{path}: not valid YAML{where}: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError):
        raise ConfigError(f"{path}: not valid YAML: a character, a number or a date in it is none") from None


def write(path: Path, text: str) -> None:
    """Write a file that is not there yet. Raises ConfigError."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} is there already; remove it, or name another one with --output") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}; name another one with --output") from None
