"""`gateway export --parquet` and `--jsonl`: the store's rows in one file, whole or not at all."""

import json
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from gateway.cli.main import main
from gateway.semconv import COLUMNS
from gateway.store.dump import DumpError, dump
from gateway.store.times import period
from gateway.store.views import OF_OTHERS
from tests.support.store import START_NS, exchange, header, journal, over, sealed, small


def test_a_parquet_file_has_all_rows_and_columns(tmp_path):
    """Sealed and live rows are in it, with the columns of `spans`; JSON is text."""
    data = small(tmp_path / "data")
    file = tmp_path / "spans.parquet"
    assert dump(data, file, "parquet", "true") == 6
    with duckdb.connect() as con:
        cursor = con.execute(f"FROM '{file}' ORDER BY span_id")
        columns = [column[0] for column in cursor.description]
        rows = cursor.fetchall()
    assert columns == ["started_at", *(column.name for column in COLUMNS), "origin", *OF_OTHERS]
    segments, journals = list((data / "segments").iterdir()), list((data / "live").iterdir())
    assert rows == over("FROM spans ORDER BY span_id", segments, journals)[1]
    assert not list(tmp_path.glob("*.tmp"))


def test_json_lines_nest_what_is_json(tmp_path):
    """Each line is an object; messages and attributes are values in it, no text."""
    messages = [{"role": "user", "parts": [{"type": "text", "content": "é\n"}]}]
    sealed(tmp_path / "data", [header(), *exchange(1, input_messages=messages, attributes={"a": 1})])
    file = tmp_path / "spans.jsonl"
    assert dump(tmp_path / "data", file, "jsonl", "kind = 'CLIENT'") == 1
    (row,) = [json.loads(line) for line in file.read_text().splitlines()]
    assert (row["input_messages"], row["attributes"], row["start_ns"]) == (messages, {"a": 1}, START_NS)


def test_the_command_takes_a_time_and_a_condition(tmp_path):
    """--since, --until and --where hold for files too; the number of rows is printed."""
    data = small(tmp_path / "data")
    file = tmp_path / "spans.jsonl"
    more = ["--where", "kind = 'SERVER' -- exchanges", "--since", "2023-11-14", "--until", "2023-11-15", "--json"]
    result = CliRunner().invoke(main, ["export", "--jsonl", str(file), "--data", str(data), *more])
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"rows": 3})
    assert len(file.read_text().splitlines()) == 3
    assert "start_ns < " not in period("true", "2023-11-14", None, 0)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("nonsense = 1", "nonsense"),
        ("true))) TO 'x'; COPY (SELECT 1 WHERE ((true", "not several"),
        ("name IN (SELECT content FROM read_text('/etc/hosts'))", "/etc/hosts"),
    ],
)
def test_a_wrong_condition_leaves_the_file_as_it_was(tmp_path, where, said):
    """An error says what is wrong; the file of before is still there, and nothing half made beside it."""
    data = small(tmp_path / "data")
    file = tmp_path / "spans.jsonl"
    file.write_text("before")
    with pytest.raises(DumpError, match=said):
        dump(data, file, "jsonl", period(where, None, None, 0))
    assert file.read_text() == "before"
    assert list(tmp_path.glob("spans*")) == [file]


def test_what_cannot_be_read_or_written_is_said(tmp_path):
    """No data folder, or a place where no file can be, is an error with its name."""
    with pytest.raises(DumpError, match="there is no data folder"):
        dump(tmp_path / "none", tmp_path / "x", "jsonl", "true")
    journal(tmp_path / "data", [header(), *exchange(1)])
    with pytest.raises(DumpError, match="nowhere"):
        dump(tmp_path / "data", tmp_path / "nowhere" / "x", "jsonl", "true")
    assert not Path(tmp_path / "nowhere").exists()
