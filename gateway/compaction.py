"""Which small segments become one large one: a query opens every file of the store, and may open some hundred. Pure."""

from collections.abc import Iterable

from gateway.segments import SegmentInfo

MIB = 1024 * 1024
SMALL_BYTES = 64 * MIB
"""A segment of this size is large enough to stay as it is."""
MERGED_BYTES = 256 * MIB
"""No merge takes more than this."""
ENOUGH = 24
"""So many small segments of one day are merged at once; what is left of a day, when it is over."""
_DAY = 86400.0


def due(segments: Iterable[SegmentInfo], now: float) -> list[SegmentInfo]:
    """Return the segments to merge next, oldest first; none where nothing is to be gained.

    Days are merged by themselves, so that retention by age can still take one after the other.
    """
    days: dict[int, list[SegmentInfo]] = {}
    for info in sorted(segments, key=lambda each: (each.newest, each.path)):
        if info.bytes < SMALL_BYTES:
            days.setdefault(int(info.newest // _DAY), []).append(info)
    for day, small in sorted(days.items()):
        if len(small) >= ENOUGH or (len(small) > 1 and day < int(now // _DAY)):
            return _as_many_as_fit(small)
    return []


def _as_many_as_fit(small: list[SegmentInfo]) -> list[SegmentInfo]:
    chosen: list[SegmentInfo] = []
    for info in small:
        if sum(each.bytes for each in chosen) + info.bytes > MERGED_BYTES and len(chosen) > 1:
            break
        chosen.append(info)
    return chosen
