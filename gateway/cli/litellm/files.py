"""The files of an import: YAML is read, TOML is written. Reading and writing block.

Both libraries are in the extra `import`, since no other command needs them: PyYAML, whose C loader is used if it was
built, and tomli-w.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from gateway.config.files import read_text
from gateway.errors import ConfigError


def read(path: Path) -> Any:
    """Return the value in a YAML file; None if it is empty.

    Raises ConfigError, with the line but without its text, which may have keys in it.
    """
    yaml = _extra("yaml", "PyYAML")
    text = read_text(path, str(path), named=True, instead="name another one", warn=lambda _: None)
    try:
        return yaml.load(text or "", Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        # str(error) quotes the lines around.
        raise ConfigError(f"{path}: not valid YAML{place}: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError):
        raise ConfigError(f"{path}: not valid YAML: an invalid character, number or date") from None


def dumps(tables: Mapping[str, Any]) -> str:
    """Return tables as TOML text that UTF-8 can encode: lone surrogates become question marks.

    Raises ConfigError if tomli-w is not installed.
    """
    text: str = _extra("tomli_w", "tomli-w").dumps(tables)
    return text.encode("utf-8", "replace").decode()


def write(path: Path, text: str) -> None:
    """Write a new file. Raises ConfigError, also if it exists: an import replaces no configuration."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} exists already; remove it, or name another file with --output") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}; name another file with --output") from None


def _extra(module: str, distribution: str) -> ModuleType:
    """Import a library of the extra `import`. Raises ConfigError if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        message = f"gateway import needs {distribution}: pip install 'tracing-gateway[import]'"
        raise ConfigError(message) from None
