"""The configuration in force as pages and commands show it: as JSON, with origins and no secret. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.config.layers import Loaded
from gateway.proxy.routing import runtime
from gateway.server.live_config import report
from gateway.server.live_config.overrides import OverridableTable, UnknownEntryError


def whole(loaded: Loaded) -> dict[str, Any]:
    """Return all of it, as `gateway check --json` has it."""
    made = runtime.build(loaded.config, loaded.environ)
    return {
        "files": [str(path) for path in loaded.read],
        "settings": msgspec.to_builtins(report.settings(loaded)),
        "providers": msgspec.to_builtins(report.providers(made, loaded)),
        "aliases": msgspec.to_builtins(report.aliases(made)),
        "warnings": list(loaded.warnings),
    }


def table(loaded: Loaded, name: OverridableTable, kept: str) -> dict[str, Any]:
    """Return the entries of a table by their names. `kept`: the file of what was set while running."""
    comes_to = _comes_to(loaded, name)
    names = dict.fromkeys((*getattr(loaded.config, name), *comes_to))
    return {each: _entry(loaded, name, each, comes_to, kept) for each in names}


def entry(loaded: Loaded, table: OverridableTable, name: str, kept: str) -> dict[str, Any]:
    """Return one entry. Raises UnknownEntryError."""
    comes_to = _comes_to(loaded, table)
    if name not in getattr(loaded.config, table) and name not in comes_to:
        raise UnknownEntryError(f"there is no {table}.{name}")
    return _entry(loaded, table, name, comes_to, kept)


def _entry(
    loaded: Loaded, table: OverridableTable, name: str, comes_to: Mapping[str, Any], kept: str
) -> dict[str, Any]:
    """Say what was set, what that comes to, and whether it was set while running: then it can be deleted so too."""
    said = report.entry(loaded, table, name)
    return {
        "settings": msgspec.to_builtins(said),
        "kept": any(each.origin.file == kept for each in said),
        "comes_to": comes_to.get(name),
    }


def _comes_to(loaded: Loaded, table: OverridableTable) -> dict[str, Any]:
    if table == "api_keys":
        return {}
    made = runtime.build(loaded.config, loaded.environ)
    found = report.providers(made, loaded) if table == "providers" else report.aliases(made)
    return {each.name: msgspec.to_builtins(each) for each in found}
