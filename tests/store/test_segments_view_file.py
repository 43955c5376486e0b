"""Replacement of the view file under a reader: DuckDB opens it by name again after it has read the header."""

import random
from itertools import pairwise

import duckdb
import pytest

from gateway.store.segments import VIEWS, publish, store_files
from tests.support.gateways import ask
from tests.support.store import exchange, header, journal, sealed

HEADER_BYTES = 3 * 4096  # DuckDB reads these first, then opens the file again
NAMES = "SELECT count(*) FROM duckdb_views() WHERE NOT internal"
COUNT = "SELECT count(*) FROM exchanges"


def _published(data, segments, journals):
    """Publish these files, and return the view file's bytes."""
    publish(data, segments, journals)
    return (data / VIEWS).read_bytes()


@pytest.fixture(name="segments")
def _segments(tmp_path):
    """Make segments of one exchange each."""
    first = sealed(tmp_path, [header(), *exchange(1)], "w0-100")
    paths = [first]
    for number in range(101, 125):
        path = first.with_name(f"w0-{number}.duckdb")
        path.hardlink_to(first)
        paths.append(path)
    return paths


def test_a_header_of_before_and_the_blocks_of_now_are_the_views_of_before(tmp_path, segments):
    """Whatever number of files either lists; this is what a reader has that is overtaken by a publication."""
    rng, mixed = random.Random(1), tmp_path / "mixed.duckdb"
    listed = [1, 24, 3, 9, *(rng.randint(1, 24) for _ in range(2))]
    before = _published(tmp_path, segments[: listed[0]], [])
    for previous, number in pairwise(listed):
        now = _published(tmp_path, segments[:number], [])
        mixed.write_bytes(before[:HEADER_BYTES] + now[HEADER_BYTES:])
        with duckdb.connect(str(mixed), read_only=True) as con:
            assert con.execute(COUNT).fetchall() == [(previous,)]
        assert ask(tmp_path, COUNT) == [(number,)]
        before = now


def test_the_file_does_not_grow_by_being_replaced(tmp_path, segments):
    """Blocks of the views before last are used again."""
    sizes = [len(_published(tmp_path, segments[:number], [])) for number in (1, 24, 1, 24, 1)]
    assert max(sizes) <= 2 * sizes[0]


BROKEN = {
    "half a file": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "no database": lambda path: path.write_bytes(b"no database"),
    "an empty file": lambda path: path.write_bytes(b""),
    "no file": lambda path: path.unlink(),
    "another database": lambda path: _write(path, "CREATE TABLE mine (a INTEGER)", fresh=True),
    "a table of another session": lambda path: _write(path, "CREATE TABLE mine (a INTEGER)"),
    "a view of another version": lambda path: _write(path, "CREATE VIEW older AS SELECT 1"),
    "a macro of another version": lambda path: _write(path, "CREATE MACRO older() AS 1"),
    "a view with other columns": lambda path: _write(path, "CREATE OR REPLACE VIEW exchanges AS SELECT 1"),
    "a table in the place of a view": lambda path: _write(path, "DROP VIEW costs; CREATE TABLE costs (a INTEGER)"),
}


def _write(path, sql, *, fresh=False):
    if fresh:
        path.unlink()
    with duckdb.connect(str(path)) as con:
        con.execute(sql)


@pytest.mark.parametrize("break_", BROKEN.values(), ids=BROKEN)
def test_a_file_that_cannot_be_copied_is_made_anew(tmp_path, break_):
    """Damaged, absent, or with anything in it that is not of this version."""
    sealed(tmp_path, [header(), *exchange(1)])
    journal(tmp_path, [header(), *exchange(2)])
    _published(tmp_path, *store_files(tmp_path))
    names = ask(tmp_path, NAMES)
    break_(tmp_path / VIEWS)
    _published(tmp_path, *store_files(tmp_path))
    assert ask(tmp_path, COUNT) == [(2,)]
    assert ask(tmp_path, NAMES) == names
    assert ask(tmp_path, "SELECT count(*) FROM duckdb_tables() WHERE NOT internal") == [(0,)]
    assert not list(tmp_path.glob(f"{VIEWS}.*"))
