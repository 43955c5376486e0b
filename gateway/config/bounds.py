"""Bounds of numeric settings, declared in the type of each field, and the search for a value outside of them. Pure.

Every numeric field of the configuration has one: `Annotated[float, Bound(above=0, most=YEAR)]`. NaN is outside of all
bounds, infinity outside of those with a `most`.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Any, TypeAlias, get_args, get_origin, get_type_hints

from msgspec import Struct

YEAR = 366 * 86_400.0
"""The upper bound of every number of seconds, far below the limits of event loops and clocks."""
PIB = 1024**5
"""The upper bound of every number of bytes."""


class Bound(Struct, frozen=True, kw_only=True):
    """The values that a number may have. A wrong one is an error with the bounds in it.

    Attributes:
        least: The smallest value that is valid.
        above: The largest value that is too small, instead of `least`.
        most: The largest value that is valid.
        below: The smallest value that is too large, instead of `most`.
        remedy: The rest of the error: a value that has the effect that was likely meant.

    """

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    remedy: str = ""

    def admits(self, value: float) -> bool:
        """Whether a value is within the bounds."""
        return (
            value == value  # noqa: PLR0124  NaN is not
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    def wanted(self, value: float) -> str:
        """Return the bounds that a value misses, as they continue "must be"."""
        if self.above is not None and self.below is not None:
            return f"between {self.above:.16g} and {self.below:.16g}"
        if self.least is not None and self.most is not None:
            return f"from {self.least:.16g} to {self.most:.16g}"
        if self.above is not None and not value > self.above:
            return f"more than {self.above:.16g}"
        return f"at most {self.most:.16g}"


Seconds: TypeAlias = Annotated[float, Bound(above=0, most=YEAR)]
"""A time limit; none of them can be turned off by 0."""
Grace: TypeAlias = Annotated[float, Bound(least=0, most=YEAR)]
"""A time that may be 0."""
Bytes: TypeAlias = Annotated[int, Bound(least=1, most=PIB)]


def out_of_bounds(value: Any, path: str = "$") -> str | None:
    """Return the first number out of bounds in a struct, with its path and the bounds; None if all are valid."""
    return next(_wrong(value, path), None)


def numeric_fields(table: type[Struct]) -> dict[str, Bound | None]:
    """Return the numeric fields of a struct with their bounds, None for one that lacks them."""
    return {name: bound for name, (numeric, bound) in _fields(table).items() if numeric}


def _wrong(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, Struct):
        for name, (_, bound) in _fields(type(value)).items():
            yield from _wrong_field(getattr(value, name), bound, f"{path}.{name}")
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _wrong(each, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _wrong(each, f"{path}[{index}]")


def _wrong_field(value: Any, bound: Bound | None, path: str) -> Iterator[str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if bound is not None and not bound.admits(value):
            yield f"{path} must be {bound.wanted(value)}, not {value}" + (f"; {bound.remedy}" if bound.remedy else "")
    else:
        yield from _wrong(value, path)


@lru_cache
def _fields(table: type[Struct]) -> dict[str, tuple[bool, Bound | None]]:
    """Return whether each field may be a number, and its bounds."""
    hints = get_type_hints(table, include_extras=True)
    return {name: (_numeric(hints[name]), _bound(hints[name])) for name in table.__struct_fields__}


def _numeric(kind: Any) -> bool:
    if get_origin(kind) is Annotated:
        return _numeric(get_args(kind)[0])
    return kind in {int, float} or (not isinstance(kind, type) and any(map(_numeric, get_args(kind))))


def _bound(kind: Any) -> Bound | None:
    arguments = get_args(kind)
    if get_origin(kind) is Annotated:
        return next((each for each in arguments[1:] if isinstance(each, Bound)), None)
    return next(filter(None, map(_bound, arguments)), None)
