"""Bounds of numeric settings: every field has them, and a value outside of them is refused with its path."""

import math
import typing
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Struct

from gateway.config.bounds import PIB, YEAR, Bound, Bytes, Seconds, numeric_fields, out_of_bounds
from gateway.config.model import Config, build, parse
from gateway.config.retry import Additive, Exponential
from gateway.errors import ConfigError


def tables(kind: Any = Config, path: str = "$") -> Iterator[tuple[str, type[Struct]]]:
    """Yield every table of the configuration with its path."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        yield path, kind
        for name, hint in typing.get_type_hints(kind).items():
            yield from tables(hint, f"{path}.{name}")
    else:
        for each in typing.get_args(kind):
            container = "" if typing.get_origin(kind) is not dict else ".x"
            yield from tables(each, path + container)


FIELDS = [(path, table, name, bound) for path, table in tables() for name, bound in numeric_fields(table).items()]


def whole(path: str, table: type[Struct], name: str, value: float) -> dict[str, Any]:
    """Return a configuration with one value at the path of a field."""
    inner: Any = {name: value}
    if table in {Additive, Exponential}:
        inner = {"type": table.__struct_config__.tag, **inner}
    if "candidates" in path:
        return {"aliases": {"x": {"candidates": [{"model": "m", **inner}]}}}
    for key in reversed(path.split(".")[1:]):
        inner = {key: inner}
    return inner


def test_the_walk_finds_the_tables():
    """Nested tables, tables by name, and tables in unions and lists are found."""
    found = {path for path, _, _, _ in FIELDS}
    assert {"$", "$.store", "$.sql", "$.providers.x", "$.aliases.x.candidates", "$.retry.increase"} <= found


@pytest.mark.parametrize(("path", "table", "name", "bound"), FIELDS, ids=[f"{f[0]}.{f[2]}" for f in FIELDS])
def test_every_numeric_field_is_bounded(path, table, name, bound):
    """A field has both bounds; a negative value, infinity and NaN are refused, and the default is valid."""
    assert bound is not None, "annotate the field with a Bound of gateway.config.bounds"
    assert bound.least is not None or bound.above is not None
    assert bound.most is not None or bound.below is not None
    kind = typing.get_type_hints(table)[name]
    wrong = [-1, -(10**30), 10**30]
    if float in {kind, *typing.get_args(kind)}:
        wrong += [-1.0, -1e-9, math.inf, -math.inf, math.nan]
    if bound.above == 0 or bound.least == 1:
        wrong += [0]
    for value in wrong:
        with pytest.raises(ConfigError, match=r"^\$") as caught:
            build(whole(path, table, name, value))
        assert name in str(caught.value)
        assert "must be" in str(caught.value)


def test_defaults_are_valid():
    """The defaults of all tables are within their bounds."""
    assert out_of_bounds(Config()) is None


@pytest.mark.parametrize("name", ["max_age_days", "max_bytes"])
@pytest.mark.parametrize("value", ["-1", "0", "-30"])
def test_a_retention_that_would_empty_the_store_is_refused(name, value):
    """Retention of nothing is an error, which names the way to keep everything."""
    with pytest.raises(ConfigError, match=rf"\$\.store\.{name} must be .*; leave it out to keep everything"):
        parse(f"[store]\n{name} = {value}", {}, "gateway.toml")


class Table(Struct):
    """A struct with every kind of field."""

    a: Seconds = 1.0
    b: Annotated[int, Bound(least=2, most=3)] | None = None
    c: Bytes = 1
    d: Annotated[float, Bound(above=0, below=1, remedy="leave it out")] = 0.5
    e: bool = True
    f: str | int = ""
    g: list["Table"] = []
    h: dict[str, "Table"] = {}


def test_fields_that_may_be_numbers():
    """Optional and united numbers are numeric fields, with a bound or none; booleans and texts are not."""
    assert {name: bound is not None for name, bound in numeric_fields(Table).items()} == {
        "a": True,
        "b": True,
        "c": True,
        "d": True,
        "f": False,
    }


@pytest.mark.parametrize(
    ("table", "error"),
    [
        (Table(), None),
        (Table(a=0.0), "$.a must be more than 0, not 0.0"),
        (Table(a=YEAR + 1), "$.a must be at most 31622400, not 31622401.0"),
        (Table(b=1), "$.b must be from 2 to 3, not 1"),
        (Table(c=PIB + 1), f"$.c must be from 1 to {PIB}, not {PIB + 1}"),
        (Table(d=1.0), "$.d must be between 0 and 1, not 1.0; leave it out"),
        (Table(d=math.nan), "$.d must be between 0 and 1, not nan; leave it out"),
        (Table(g=[Table(), Table(b=4)]), "$.g[1].b must be from 2 to 3, not 4"),
        (Table(h={"x": Table(a=-1.0)}), "$.h.x.a must be more than 0, not -1.0"),
    ],
)
def test_the_first_wrong_value_is_reported(table, error):
    """The report has the path, the bounds, the value and the remedy; infinity and NaN are never valid."""
    assert out_of_bounds(table) == error


def test_bounds_outlive_a_conversion():
    """A value of a file is converted first: its type, then its bounds."""
    assert out_of_bounds(msgspec.convert({"b": 3}, Table)) is None
