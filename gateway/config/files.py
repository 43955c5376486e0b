"""Configuration files as text, TOML or JSON. Every failure is a ConfigError that names the file and the remedy."""

import errno
import os
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from gateway.errors import ConfigError

LARGEST = 1024 * 1024
"""Bytes; no configuration is larger."""

Warn = Callable[[str], None]


def read_toml(path: Path, shown: str, *, named: bool, warn: Warn) -> dict[str, Any] | None:
    """Return a file's tables, None if it is missing. `shown`: its name in errors. Raises ConfigError."""
    text = read_text(path, shown, named=named, instead="name it with -c", warn=warn)
    if text is None:
        return None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{shown}: not valid TOML: nested too deeply; flatten it") from None
    except ValueError as error:  # also raised by Python for a number of thousands of digits
        raise ConfigError(f"{shown}: not valid TOML: {error}") from None


def read_json(path: Path, shown: str, *, warn: Warn) -> dict[str, Any] | None:
    """Return a file's JSON object, None if it is missing. Raises ConfigError."""
    text = read_text(path, shown, named=False, instead="choose another folder with --data", warn=warn)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except RecursionError:
        raise ConfigError(f"{shown}: not a JSON object: nested too deeply; flatten it") from None
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{shown}: not a JSON object: {error}; correct it, or remove it") from None


def read_text(path: Path, shown: str, *, named: bool, instead: str, warn: Warn) -> str | None:
    """Return a file's text, None if it is missing.

    `named`: whether the user named this file; one that was only found must be trustworthy. `instead`: the remedy for
    users who cannot change the file. Raises ConfigError.
    """
    try:
        about = path.stat()
    except OSError as error:
        _missing(path, shown, error, named=named, warn=warn)
        return None
    if stat.S_ISDIR(about.st_mode):
        raise ConfigError(f"{shown}: is a directory, but must be a file; rename it")
    if not named:
        _check(path, shown, about, instead)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"{shown}: cannot be read: {error.strerror}; change its permissions, or move it") from None
    if len(content) > LARGEST:
        raise ConfigError(f"{shown}: has more than {LARGEST // 1024 // 1024} MiB, too much for settings; move it")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _missing(path: Path, shown: str, error: OSError, *, named: bool, warn: Warn) -> None:
    if error.errno in {errno.ENOENT, errno.ENOTDIR} and not path.is_symlink():
        if named:
            raise ConfigError(f"{shown}: there is no such file; name an existing one, or omit -c")
        return
    if error.errno == errno.EACCES and not named:  # of a directory above the working directory
        warn(f"{shown}: cannot be searched for: {error.strerror}")
        return
    why = "a broken link" if error.errno == errno.ENOENT else error.strerror or str(error)
    raise ConfigError(f"{shown}: cannot be read: {why}; correct the link or its folder's permissions, or move it")


def _check(path: Path, shown: str, about: os.stat_result, instead: str) -> None:
    """Refuse a file that could block the read, and one of another user in a world-writable directory.

    Such a file could send the user's keys to another server.
    """
    if not stat.S_ISREG(about.st_mode):
        raise ConfigError(f"{shown}: is no regular file; move it, or {instead}")
    if about.st_uid in {0, os.geteuid()}:
        return
    if path.parent.stat().st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"{shown}: belongs to another user, in a folder that any user may write to; "
            f"move it, change its owner (chown), or {instead}"
        )
