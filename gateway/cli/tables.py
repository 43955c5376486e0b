"""How rows are shown: a table on a terminal, JSON lines or CSV for programs."""

import csv
import io
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TextIO

import msgspec

Format = Literal["table", "json", "csv"]

_CELL_MAX = 200
# What clients and providers sent is shown on terminals: nothing in it may move the cursor, or look like another line.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]], form: Format, out: TextIO | None = None) -> None:
    """Write rows to `out` (standard output)."""
    stream = out or sys.stdout
    if form == "json":
        for row in rows:
            stream.write(msgspec.json.encode(dict(zip(columns, row, strict=True))).decode() + "\n")
    elif form == "csv":
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_plain(value) for value in row] for row in rows)
        stream.write(buffer.getvalue())
    else:
        _print_table(columns, rows, stream)


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], stream: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        numbers = all(isinstance(row[index], int | float) or row[index] is None for row in rows) and bool(rows)
        table.add_column(Text(on_one_line(column)), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value), style="dim" if value is None else "") for value in row))
    console = Console(file=stream, width=None if stream.isatty() else 1000, highlight=False)
    console.print(table)


def on_one_line(text: str) -> str:
    r"""Return text for a terminal, with what would control it made visible.

    >>> on_one_line("two\nlines \x1b[2J")
    'two⏎lines \\x1b[2J'
    """
    return _CONTROL.sub(lambda found: "⏎" if found[0] == "\n" else ascii(found[0])[1:-1], text)


def _plain(value: Any) -> Any:
    """Return a value as CSV holds it: JSON where it is no scalar, as DuckDB writes a truth value, nothing for NULL."""
    if isinstance(value, bool | dict | list):
        return msgspec.json.encode(value).decode()
    return value


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.10g}"
    text = on_one_line(str(_plain(value)))
    return text if len(text) <= _CELL_MAX else text[: _CELL_MAX - 1] + "…"
