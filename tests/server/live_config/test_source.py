"""The source of a configuration: all layers in their order, checked before they are returned."""

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.server.live_config.source import Source

SECRET = "sk-planted-0123456789"


def source(folder: Path, toml: str = "", **more: object) -> Source:
    """Return the source of a folder with one file."""
    (folder / "gateway.toml").write_text(toml)
    return Source(**({"data": Path("data"), "environ": {}, "cwd": folder} | more))


def test_flags_win_over_overrides_over_files(tmp_path: Path):
    """A flag wins over the file, and a runtime override replaces an entry of the file."""
    here = source(tmp_path, "port = 1\n[api_keys]\na = 'file'\nb = 'file'", flags={"port": 2})
    here.overrides.parent.mkdir()
    here.overrides.write_text('{"api_keys": {"a": "override"}}')
    config = here.load().config
    assert (config.port, config.api_keys) == (2, {"a": "override", "b": "file"})
    assert here.overrides == tmp_path / "data" / "config.json"


def test_overrides_can_be_tried_without_a_file(tmp_path: Path):
    """Overrides on trial stand in for the file, which is not read."""
    here = source(tmp_path)
    here.overrides.parent.mkdir()
    here.overrides.write_text("{")
    assert here.load({"api_keys": {"a": "k"}}).config.api_keys == {"a": "k"}


def test_a_configuration_that_cannot_work_names_its_file(tmp_path: Path):
    """A provider that cannot be reached is an error which begins with the file."""
    with pytest.raises(ConfigError, match=r"gateway\.toml: \$\.providers\.a"):
        source(tmp_path, "[providers.a]\nprefix = 'a/'").load()


def test_without_a_search_only_the_named_file_is_read(tmp_path: Path):
    """With `search` off, the working directory's file is ignored."""
    here = source(tmp_path, "port = 1", search=False)
    assert here.load().config.port == 4000
    (tmp_path / "other.toml").write_text("port = 2")
    assert source(tmp_path, "port = 1", search=False, named=Path("other.toml")).load().config.port == 2


def test_no_repr_shows_the_environment(tmp_path: Path):
    """The repr has the file and the data directory, and no variable."""
    shown = repr(source(tmp_path, environ={"OPENAI_API_KEY": SECRET}))
    assert SECRET not in shown
    assert "data: data" in shown
