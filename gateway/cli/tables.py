"""Output of rows: a table, JSON lines or CSV."""

import csv
import io
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TextIO

import msgspec

Format = Literal["table", "json", "csv"]

_CELL_MAX = 200
_WIDE = 1000  # columns, if the output is not a terminal
_COLUMN_MIN = 14  # narrower columns of a table cannot be read
# Clients and providers send these texts: they must not move the cursor or forge a line.
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
    console = Console(file=stream, width=None if stream.isatty() else _WIDE, highlight=False)
    if (
        rows
        and console.measure(table, options=console.options.update(max_width=_WIDE)).maximum > console.width
        and len(columns) * _COLUMN_MIN > console.width
    ):
        _print_records(columns, rows, stream)
    else:
        console.print(table)


def _print_records(columns: Sequence[str], rows: Iterable[Sequence[Any]], stream: TextIO) -> None:
    """Write each row as lines of column and value, for tables that are too wide for the terminal."""
    width = max(len(on_one_line(column)) for column in columns)
    for number, row in enumerate(rows, 1):
        stream.write(f"-- row {number}\n")
        cells = zip(columns, row, strict=True)
        stream.writelines(f"{on_one_line(column):<{width}}  {_cell(value)}\n" for column, value in cells)


def on_one_line(text: str) -> str:
    r"""Return text for a terminal with control characters made visible.

    >>> on_one_line("two\nlines \x1b[2J")
    'two⏎lines \\x1b[2J'
    """
    return _CONTROL.sub(lambda found: "⏎" if found[0] == "\n" else ascii(found[0])[1:-1], text)


def _plain(value: Any) -> Any:
    """Return a value for CSV: JSON for lists, dicts and booleans (as DuckDB writes them)."""
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
