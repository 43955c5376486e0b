"""`gateway check`: the resulting configuration, the origin of each value, and errors. Nothing is started."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from gateway.cli.tables import on_one_line, print_rows
from gateway.config.layers import load as load_layers
from gateway.errors import ConfigError
from gateway.providers.auth import extras
from gateway.providers.auth.aws import with_region
from gateway.proxy.routing.context import build_runtime
from gateway.server.live_config import report as effective
from gateway.server.live_config.report import AliasReport, ProviderReport, Setting

_WIDEST = 48


class Report(Struct, frozen=True, kw_only=True):
    """The configuration. `error`: why it cannot work; the rest may be empty then."""

    files: list[str] = []
    settings: list[Setting] = []
    providers: list[ProviderReport] = []
    aliases: list[AliasReport] = []
    warnings: list[str] = []
    error: str | None = None


def load(config: Path | None, data: Path, environ: Mapping[str, str], cwd: Path) -> Report:
    """Load all layers, and resolve providers and aliases. Blocks."""
    try:
        loaded = load_layers(named=config, data=data, environ=environ, cwd=cwd)
    except ConfigError as error:
        return Report(error=str(error))
    found = Report(
        files=[str(path) for path in loaded.read],
        settings=effective.settings(loaded),
        warnings=list(loaded.warnings),
    )
    loaded = msgspec.structs.replace(loaded, environ=with_region(loaded.environ))
    try:
        made = build_runtime(loaded.config, loaded.environ)
    except ConfigError as error:
        return msgspec.structs.replace(found, error=str(loaded.blamed(error)))
    missing = extras.warnings(loaded.config, made.providers, loaded.environ)
    found = msgspec.structs.replace(found, warnings=[*found.warnings, *missing])
    return msgspec.structs.replace(found, providers=effective.providers(made, loaded), aliases=effective.aliases(made))


def write(report: Report, cwd: Path, *, as_json: bool) -> None:
    """Write a report to standard output: one JSON object, tables on a terminal, else plain lines without the error."""
    if as_json:
        found = {"ok": report.error is None, **msgspec.to_builtins(report)}
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        return

    def origin(each: Setting | ProviderReport) -> str:
        """Return an origin, without the working directory in front of its file."""
        return str(each.origin).removeprefix(f"{cwd}/")

    _section("files (the last one wins)", ["file"], [(file,) for file in report.files])
    _section("settings", ["setting", "value", "from"], [(s.path, _shown(s.value), origin(s)) for s in report.settings])
    _section(
        "providers that are ready",
        ["name", "URL", "dialects", "key", "from"],
        [(p.name, p.url, ", ".join(p.dialects), p.key, origin(p)) for p in report.providers if p.ready],
    )
    _section(
        "providers that take a client's key",
        ["name", "key"],
        [(each.name, each.key) for each in report.providers if not each.ready],
    )
    _section(
        "aliases",
        ["name", "order", "candidates"],
        [(each.name, each.order, " -> ".join(each.candidates)) for each in report.aliases],
    )


def _section(title: str, columns: Sequence[str], rows: list[tuple[str, ...]]) -> None:
    if not rows:
        return
    out = sys.stdout
    out.write(f"{title}\n")
    if out.isatty():
        print_rows(columns, rows, "table")
        return
    widths = [max(len(row[index]) for row in rows) for index in range(len(columns))]
    for row in rows:
        line = "  ".join(cell.ljust(min(width, _WIDEST)) for cell, width in zip(row, widths, strict=True))
        out.write(f"  {on_one_line(line).rstrip()}\n")
    out.write("\n")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
