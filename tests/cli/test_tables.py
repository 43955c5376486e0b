"""Rows as tables, records, CSV and JSON."""

import csv
import io
import json

import pytest

from gateway.cli.tables import on_one_line, print_rows

COLUMNS = ["name", "count", "of", "flag", "nothing"]
ROWS = [
    ['two\nlines, "quoted"', 12, {"a": [1, "é"]}, True, None],
    ["\x1b[2J\x07 red", 1.5, [None], False, None],
]


def _printed(form: str, columns=COLUMNS, rows=ROWS) -> str:
    out = io.StringIO()
    print_rows(columns, rows, form, out)
    return out.getvalue()


def test_json_is_an_object_a_line():
    """Values are what they were, control characters included: it is for programs."""
    lines = _printed("json").splitlines()
    assert [json.loads(line) for line in lines] == [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]


def test_csv_has_a_header_and_json_where_a_value_is_no_scalar():
    """Any reader of CSV gets the texts back; NULL is nothing, and truth is written as DuckDB writes it."""
    header, *rows = csv.reader(io.StringIO(_printed("csv")))
    assert header == COLUMNS
    assert rows == [
        [ROWS[0][0], "12", '{"a":[1,"é"]}', "true", ""],
        [ROWS[1][0], "1.5", "[null]", "false", ""],
    ]


def test_a_table_is_a_line_a_row_whatever_is_in_it():
    """Nothing that a client sent can move the cursor, colour the terminal, or look like another row."""
    lines = [line for line in _printed("table").splitlines() if line.strip()]
    head, _, first, second = lines
    assert head.split() == COLUMNS
    assert "two⏎lines" in first
    assert "NULL" in first
    assert r"\x1b[2J\x07 red" in second
    assert "\x1b" not in _printed("table")


def test_a_table_shortens_long_texts_and_shows_markup_as_it_is():
    """A prompt of a megabyte is not shown as a whole."""
    text = _printed("table", ["[b]"], [["[red]x[/red] " + "y" * 1000]])
    assert "[red]x[/red] yyy" in text
    assert "[b]" in text
    assert "y…" in text
    assert "y" * 200 not in text


class Terminal(io.StringIO):
    """A terminal of 80 columns, as rich finds it in the environment."""

    def isatty(self) -> bool:
        return True


def test_rows_that_are_too_wide_for_a_terminal_are_written_one_value_a_line(monkeypatch):
    """A table of twenty columns would have no room for any value on 80 columns; one of two wraps its texts."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    columns = [f"column_{number}" for number in range(20)]
    out = Terminal()
    print_rows(columns, [[None, *["x" * 12] * 19]] * 2, "table", out)
    lines = out.getvalue().splitlines()
    assert lines[:3] == ["-- row 1", "column_0   NULL", "column_1   xxxxxxxxxxxx"]
    assert (len(lines), lines[21]) == (42, "-- row 2")
    out = Terminal()
    print_rows(["a", "b"], [["x" * 60, "y" * 60]], "table", out)
    assert "-- row" not in out.getvalue()
    assert max(len(line) for line in out.getvalue().splitlines()) <= 80
    assert out.getvalue().count("x") == out.getvalue().count("y") == 60


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_no_rows_are_no_error(form):
    """Tables and CSV have the columns."""
    text = _printed(form, ["a", "b"], [])
    assert text.split() == {"table": text.split(), "csv": ["a,b"], "json": []}[form]
    assert ("a" in text) == (form != "json")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é ☃", "plain é ☃"),
        ("a\nb\r\tc", "a⏎b\\r\\tc"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m\x7f\x00", "\\x9b31m\\x7f\\x00"),
        ("line\u2028\u202eright to left", "line\\u2028\\u202eright to left"),
    ],
)
def test_control_characters_are_made_visible(text, shown):
    """All others are left alone."""
    assert on_one_line(text) == shown
