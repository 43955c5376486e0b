"""Choice of the segments to merge: small ones of one day, enough of them, within a size."""

import pytest

from gateway.store.compaction import ENOUGH, MERGED_BYTES, SMALL_BYTES, due, merge
from gateway.store.segments import SOURCES, SegmentInfo, publish, replaced_by, store_files
from tests.support.gateways import ask
from tests.support.store import exchange, header, sealed

DAY = 86_400.0
NOW = 20_000 * DAY + 100.0


def segments(tmp_path, number, size=1000, newest=NOW):
    """Return small segments, a second apart."""
    return [SegmentInfo(path=tmp_path / f"{n:03}", bytes=size, newest=newest + n) for n in range(number)]


@pytest.mark.parametrize(
    ("number", "merged"), [(0, 0), (1, 0), (ENOUGH - 1, 0), (ENOUGH, ENOUGH), (ENOUGH + 5, ENOUGH + 5)]
)
def test_enough_small_segments_of_a_day_are_merged(tmp_path, number, merged):
    """Oldest first; fewer wait for more."""
    infos = segments(tmp_path, number)
    assert due(reversed(infos), NOW + 1000) == infos[:merged]


@pytest.mark.parametrize(("number", "merged"), [(1, 0), (2, 2), (5, 5)])
def test_the_rest_of_a_day_is_merged_once_it_is_over(tmp_path, number, merged):
    """Two are enough; one has nothing to be merged with."""
    infos = segments(tmp_path, number, newest=NOW - DAY)
    assert due(infos, NOW) == infos[:merged]


def test_days_are_not_mixed(tmp_path):
    """The older day comes first, by itself."""
    old, new = segments(tmp_path / "a", 2, newest=NOW - DAY), segments(tmp_path / "b", ENOUGH)
    assert due([*new, *old], NOW) == old
    assert due(new, NOW) == new


@pytest.mark.parametrize(("size", "merged"), [(SMALL_BYTES - 1, True), (SMALL_BYTES, False)])
def test_a_large_segment_stays_as_it_is(tmp_path, size, merged):
    """From `SMALL_BYTES` on."""
    assert bool(due(segments(tmp_path, ENOUGH, size), NOW)) is merged


def test_a_merge_is_bounded_but_has_two_at_least(tmp_path):
    """As many as fit into `MERGED_BYTES`."""
    size = SMALL_BYTES - 1
    chosen = due(segments(tmp_path, ENOUGH, size), NOW)
    assert sum(info.bytes for info in chosen) <= MERGED_BYTES
    assert len(chosen) == MERGED_BYTES // size


def test_a_merged_segment_replaces_its_sources_at_once(tmp_path):
    """It is in the store with its list, and the sources no longer are, though their files exist."""
    sources = [sealed(tmp_path, [header(), *exchange(number)], f"w0-{number}") for number in (1, 2)]
    merged = tmp_path / "segments" / "merged-1.duckdb"
    merge(sources, merged)
    assert replaced_by(merged) == ["w0-1.duckdb", "w0-2.duckdb"]
    assert merged.with_suffix(SOURCES).exists()
    assert store_files(tmp_path) == ([merged], [])
    publish(tmp_path, *store_files(tmp_path))
    assert ask(tmp_path, "SELECT count(*), count(DISTINCT span_id) FROM exchanges") == [(2, 2)]
