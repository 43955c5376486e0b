"""Published configurations: every child reads the configuration that was put, in any encoding of its texts."""

import os
from pathlib import Path

import pytest

from gateway.config.layers import Loaded, Origin
from gateway.config.model import parse
from gateway.errors import ConfigError
from gateway.server.live_config.published import ConfigSnapshot, PublishedConfig, Status, stamp

TOKEN = "token-planted-0123456789"


def loaded(**more: object) -> Loaded:
    """Return a loaded configuration."""
    fields = {"environ": {}, "origins": {}, "written": {}, "read": (), "files": (), "variables": {}}
    return Loaded(config=parse("port = 4001", {}, "a.toml"), **(fields | more))


def test_a_snapshot_is_published_with_its_generation():
    """Each publication has the next generation, and replaces the one before it."""
    published = PublishedConfig(2)
    assert published.generation == 0
    for generation in (1, 2):
        snapshot = ConfigSnapshot(loaded=loaded(warnings=(str(generation),)), token=TOKEN, required=True)
        assert published.put(snapshot) == generation
        assert published.get() == (generation, snapshot)
    assert repr(published) == "<PublishedConfig generation: 2 applied: [0, 0]>"


def test_text_that_is_not_utf_8():
    """Variables and paths keep bytes that are not UTF-8; in origins and warnings they are replaced."""
    odd = os.fsdecode(b"/data/\xff")
    given = loaded(
        environ={"A": odd},
        read=(Path(odd),),
        variables={"A": Path(odd)},
        origins={"$.port": Origin(kind="file", file=odd)},
        warnings=(odd,),
    )
    published = PublishedConfig(0)
    published.put(ConfigSnapshot(loaded=given))
    found = published.get()[1].loaded
    assert (found.environ, found.read, found.variables) == ({"A": odd}, (Path(odd),), {"A": Path(odd)})
    assert (found.origins["$.port"].file, found.warnings) == ("/data/?", ("/data/?",))


def test_a_value_that_cannot_be_published_is_an_error():
    """A configured value with bytes that are not UTF-8 is an error, and the active configuration stays."""
    published = PublishedConfig(0)
    published.put(ConfigSnapshot(loaded=loaded()))
    with pytest.raises(ConfigError, match="is not UTF-8"):
        published.put(ConfigSnapshot(loaded=loaded(written={"$.host": os.fsdecode(b"\xff")})))
    with pytest.raises(ConfigError, match=r"too large: .*16 MiB"):
        published.put(ConfigSnapshot(loaded=loaded(written={"$.host": "x" * 17 * 1024 * 1024})))
    assert published.generation == 1


def test_a_status_is_published_apart():
    """The status of the last load is published without a new generation, and its error is cut."""
    published = PublishedConfig(0)
    status = Status(generation=3, loaded_at=1.5, error="x" * 9000, overrides=(1, 2, 3))
    published.set_status(status)
    found = published.status
    assert (found.generation, found.loaded_at, found.overrides) == (3, 1.5, (1, 2, 3))
    assert found.error == "x" * 8192
    assert found.to_json() == {"generation": 3, "loaded_at": 1.5, "error": "x" * 8192}
    assert published.generation == 0


def test_a_stamp_changes_with_the_file(tmp_path: Path):
    """A file's stamp changes when it is written or replaced; a missing file has none."""
    path = tmp_path / "file"
    assert stamp(path) is None
    path.write_text("a")
    first = stamp(path)
    assert stamp(path) == first
    path.write_text("ab")
    second = stamp(path)
    other = tmp_path / "other"
    other.write_text("ab")
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    other.replace(path)
    assert len({first, second, stamp(path)}) == 3


def test_no_repr_shows_the_token():
    """A snapshot's repr has no token."""
    assert TOKEN not in repr(ConfigSnapshot(loaded=loaded(), token=TOKEN))
