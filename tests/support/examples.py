"""Numbers of examples: all of them in the whole suite, a sample in the daily loop (`-m "not integration"`)."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from hypothesis import settings

T = TypeVar("T")

# Coprime to the number of damages per value (`damage.ODD`), so that each kind of damage is in the sample.
_STRIDE = 11


def examples(number: int, **more: Any) -> settings:
    """Return settings that draw so many examples, or a fifth of them in the daily loop: at least 3, at most 15."""
    return settings(max_examples=min(15, max(3, number // 5)) if _daily() else number, **more)


def sampled(cases: Iterable[T]) -> Iterator[T]:
    """Yield all cases, or every eleventh in the daily loop."""
    return islice(cases, 0, None, _STRIDE if _daily() else 1)


def _daily() -> bool:
    return settings.get_current_profile_name() == "daily"
