"""Results of the sandbox: every type of DuckDB as JSON, and no more than a caller can take."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from gateway.store.query import QueryError, run_sql, run_sql_async

VALUES = {
    "truth": ("true", True),
    "a small number": ("-7::TINYINT", -7),
    "the largest BIGINT": ("9223372036854775807", 2**63 - 1),
    "the smallest BIGINT": ("-9223372036854775807 - 1", -(2**63)),
    "the largest UBIGINT": ("18446744073709551615::UBIGINT", 2**64 - 1),
    "a HUGEINT that fits": ("3::HUGEINT", 3),
    "a HUGEINT that does not": ("170141183460469231731687303715884105727::HUGEINT", str(2**127 - 1)),
    "a UHUGEINT": ("340282366920938463463374607431768211455::UHUGEINT", str(2**128 - 1)),
    "a sum": ("(SELECT sum(range) FROM range(10))", 45),
    "a DOUBLE": ("0.1::DOUBLE", 0.1),
    "no number": ("'NaN'::DOUBLE", "nan"),
    "infinity": ("'-inf'::FLOAT", "-inf"),
    "a DECIMAL": ("1.50::DECIMAL(10, 2)", 1.5),
    "an average": ("(SELECT avg(range) FROM range(4))", 1.5),
    "text": ("'é☃😀'", "é☃😀"),
    "text with zeros": ("'a' || chr(0) || 'b'", "a\0b"),
    "an empty text": ("''", ""),
    "a date": ("DATE '2024-02-29'", "2024-02-29"),
    "a time": ("TIME '01:02:03.5'", "01:02:03.500000"),
    "a timestamp": ("TIMESTAMP '2024-01-02 03:04:05.678901'", "2024-01-02T03:04:05.678901Z"),
    "a timestamp in seconds": ("'2024-01-02 03:04:05'::TIMESTAMP_S", "2024-01-02T03:04:05.000000Z"),
    "a timestamp in nanoseconds": ("'2024-01-02 03:04:05.123456789'::TIMESTAMP_NS", "2024-01-02T03:04:05.123456Z"),
    "a timestamp with a zone": ("TIMESTAMPTZ '2024-01-02 03:04:05+02'", "2024-01-02T01:04:05.000000Z"),
    "one in a list": ("[TIMESTAMPTZ '2024-01-02 03:04:05+02']", ["2024-01-02T01:04:05.000000Z"]),
    "one in a struct": ("{'at': TIMESTAMPTZ '2024-01-02 03:04:05+02'}", {"at": "2024-01-02T01:04:05.000000Z"}),
    "a time with a zone": ("'01:02:03+02'::TIMETZ", "01:02:03+02:00"),
    "a year before Christ": ("DATE '0044-03-15 (BC)'", "0044-03-15 (BC)"),
    "a year far off": ("TIMESTAMP '12024-01-01'", "12024-01-01 00:00:00"),
    "an interval": ("INTERVAL '1 day 2 hours 3 milliseconds'", 93600.003),
    "a BLOB": ("'\\xAA\\x00b'::BLOB", "aa0062"),
    "bits": ("'10101'::BIT", "10101"),
    "a UUID": ("'6ba7b810-9dad-11d1-80b4-00c04fd430c8'::UUID", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
    "an ENUM": ("'happy'::ENUM('sad', 'happy')", "happy"),
    "a list": ("[1, NULL, 3]", [1, None, 3]),
    "lists in a list": ("[[1], [], NULL]", [[1], [], None]),
    "an array": ("array_value(1.5::DOUBLE, 'inf'::DOUBLE)", [1.5, "inf"]),
    "a struct": ("{'a': 1, 'b': {'c': [2]}}", {"a": 1, "b": {"c": [2]}}),
    "a map": ("MAP {'k': 1, 'l': 2}", {"k": 1, "l": 2}),
    "a map from numbers": ("MAP {1: 'a'}", {"1": "a"}),
    "a union": ("union_value(n := 1)", 1),
    "JSON": ("'{\"a\":  [1]}'::JSON", '{"a":  [1]}'),
    "nothing": ("NULL", None),
}


def test_every_type_is_json(tmp_path):
    """What JSON cannot hold is text: numbers of more than 64 bits, infinity, times, bytes."""
    selected = ", ".join(f"{sql} AS c{index}" for index, (sql, _) in enumerate(VALUES.values()))
    result = run_sql(tmp_path, f"SELECT {selected}")
    assert dict(zip(VALUES, result.rows[0], strict=True)) == {name: value for name, (_, value) in VALUES.items()}
    assert json.loads(msgspec.json.encode(result.rows)) == result.rows


NAMES = {
    "the same name twice": ("SELECT 1 AS a, 2 AS a", ["a", "a_1"]),
    "a join": ("SELECT * FROM (SELECT 1 AS id, 2 AS x) JOIN (SELECT 1 AS id, 3 AS x) USING (id)", ["id", "x", "x_1"]),
    "quotes and blanks": ('SELECT 1 AS "a""b", 2 AS "c d", 3 AS "TIMESTAMP WITH TIME ZONE"', None),
    "a keyword": ('SELECT 1 AS "select"', ["select"]),
    "no name": ("SELECT 1 + 1", ["(1 + 1)"]),
}


@pytest.mark.parametrize("what", NAMES)
def test_every_column_has_a_name_of_its_own(tmp_path, what):
    """So that a row can be an object."""
    sql, names = NAMES[what]
    result = run_sql(tmp_path, sql)
    assert result.columns == (names or ['a"b', "c d", "TIMESTAMP WITH TIME ZONE"])
    assert len(result.columns) == len(result.types) == len(result.rows[0]) == len(set(result.columns))


@pytest.mark.parametrize("rows", [0, 1, 255, 256, 257, 1000])
async def test_rows_are_all_there_up_to_the_limit(tmp_path, rows):
    """However they are fetched, in order; one more than the limit is not sent, but said."""
    exact, less = await asyncio.gather(
        *(run_sql_async(tmp_path, f"FROM range({count})", limit=max(rows, 1)) for count in (rows, rows + 1))
    )
    assert exact.rows == [[number] for number in range(rows)]
    assert exact.truncated is False
    assert (len(less.rows), less.truncated) == (max(rows, 1), rows > 0)


def test_an_answer_has_a_size(tmp_path):
    """Rows are sent until they are too much, and then it is said that there are more."""
    result = run_sql(tmp_path, "SELECT repeat('x', 30000000) AS a FROM range(5)")
    assert (len(result.rows), result.truncated) == (2, True)
    result = run_sql(tmp_path, "SELECT repeat('x', 70000000) AS a")
    assert (result.rows, result.truncated) == ([], True)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT error('what I say')", "what I say"),
        ("SELECT 'x'::INTEGER", "Could not convert string 'x' to INT32"),
        ("SELECT nosuch(1)", "nosuch"),
        ("SELECT sum(outcome) FROM exchanges", "sum"),
    ],
)
def test_a_query_that_fails_when_it_runs_says_why(tmp_path, sql, said):
    """With DuckDB's words, in one exception."""
    with pytest.raises(QueryError, match=said):
        run_sql(tmp_path, sql)


def test_a_relative_folder_is_the_callers(tmp_path, monkeypatch):
    """The sandbox runs in another folder, and finds it all the same."""
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run_sql(Path("data"), "SELECT count(*) FROM spans").rows == [[0]]
