"""Configuration files: read whole, or refused with an error that names the file and the remedy."""

import os
from pathlib import Path

import pytest

from gateway.config.files import LARGEST, read_json, read_text, read_toml
from gateway.errors import ConfigError


def text_of(path: Path, *, named: bool = False, warnings: list[str] | None = None) -> str | None:
    """Read a file under the name `shown`."""
    warn = (warnings if warnings is not None else []).append
    return read_text(path, "shown", named=named, instead="do that instead", warn=warn)


def test_text_is_read_without_its_byte_order_mark(tmp_path: Path):
    """UTF-8 is read, with or without a byte order mark."""
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfh\xc3\xa9")
    assert text_of(tmp_path / "a") == "h\u00e9"


def test_a_missing_file_is_none_unless_it_was_named(tmp_path: Path):
    """A file that was searched for may be missing; one that was named may not."""
    assert text_of(tmp_path / "a") is None
    assert text_of(tmp_path / "a" / "b") is None
    with pytest.raises(ConfigError, match="shown: there is no such file"):
        text_of(tmp_path / "a", named=True)


def test_a_link_to_nothing_is_an_error(tmp_path: Path):
    """A dangling link is a mistake, although the file is missing."""
    (tmp_path / "a").symlink_to(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="a broken link"):
        text_of(tmp_path / "a")


def test_a_directory_is_an_error(tmp_path: Path):
    """A directory in the place of the file is an error."""
    with pytest.raises(ConfigError, match="is a directory"):
        text_of(tmp_path)


def test_a_special_file_is_refused_unless_it_was_named(tmp_path: Path):
    """A pipe, which could block for ever, is not read if it was only found."""
    os.mkfifo(tmp_path / "a")
    with pytest.raises(ConfigError, match="is no regular file; move it, or do that instead"):
        text_of(tmp_path / "a")
    assert text_of(Path(os.devnull), named=True) == ""


def test_the_largest_file(tmp_path: Path):
    """A file of exactly the limit is read, and one byte more is refused."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * LARGEST)
    assert len(text_of(path) or "") == LARGEST
    path.write_bytes(b"x" * (LARGEST + 1))
    with pytest.raises(ConfigError, match="more than 1 MiB"):
        text_of(path)


def test_bytes_that_are_no_text_are_an_error(tmp_path: Path):
    """The error has the position of the first wrong byte."""
    (tmp_path / "a").write_bytes(b"ab\xff")
    with pytest.raises(ConfigError, match=r"not UTF-8 text \(byte 2\)"):
        text_of(tmp_path / "a")


DEEP = 100_000


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a = ", "not valid TOML"),
        ("a = " + "[" * DEEP, "not valid TOML"),
        ("a = " + "1" * 5000, "not valid TOML"),
    ],
)
def test_toml_that_is_not_valid(tmp_path: Path, text: str, error: str):
    """Wrong TOML is an error that names the file, however deep it is nested."""
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"^shown: {error}"):
        read_toml(path, "shown", named=True, warn=lambda _: None)


@pytest.mark.parametrize("text", ["", "[]", "{", "1", '{"a": ' + "[" * DEEP])
def test_json_that_is_no_object(tmp_path: Path, text: str):
    """Anything but a JSON object is an error that names the file."""
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"^shown: not a JSON object"):
        read_json(path, "shown", warn=lambda _: None)


def test_tables_are_read(tmp_path: Path):
    """TOML and JSON give tables, and a missing file gives none."""
    (tmp_path / "a.toml").write_text("a = {b = 1}")
    (tmp_path / "a.json").write_text('{"a": {"b": 1}}')
    found = {"a": {"b": 1}}
    assert read_toml(tmp_path / "a.toml", "shown", named=False, warn=lambda _: None) == found
    assert read_json(tmp_path / "a.json", "shown", warn=lambda _: None) == found
    assert read_json(tmp_path / "b.json", "shown", warn=lambda _: None) is None
