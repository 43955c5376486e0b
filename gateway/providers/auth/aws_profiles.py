"""AWS's shared files: the profiles of `~/.aws/config` and `~/.aws/credentials`.

Source: the "Configuration and credential file settings" pages of the AWS SDKs and tools reference guide.
"""

import logging
from collections.abc import Mapping
from configparser import Error, RawConfigParser
from pathlib import Path

from msgspec import Struct

from gateway.errors import ConfigError

log = logging.getLogger("gateway")

Section = Mapping[str, str]


class Profiles(Struct, frozen=True, kw_only=True):
    """All that the two files say; the credentials file wins.

    Attributes:
        profiles: The profiles' settings by name.
        sessions: `[sso-session NAME]`, which profiles share.
        places: The two files, for people.

    """

    profiles: dict[str, dict[str, str]] = {}
    sessions: dict[str, dict[str, str]] = {}
    places: str = ""

    def __repr__(self) -> str:
        """Name the profiles only: what they hold is secret."""
        return f"<Profiles {', '.join(self.profiles)}>"


def profile_name(environ: Mapping[str, str]) -> str:
    """Return the profile that the environment asks for."""
    return environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"


def read_profiles(environ: Mapping[str, str], home: Path) -> Profiles:
    """Read the files, where they are. Blocks. Raises ConfigError for one that cannot be read."""
    config = _path(environ.get("AWS_CONFIG_FILE"), home / ".aws" / "config", home)
    credentials = _path(environ.get("AWS_SHARED_CREDENTIALS_FILE"), home / ".aws" / "credentials", home)
    profiles: dict[str, dict[str, str]] = {}
    sessions: dict[str, dict[str, str]] = {}
    for heading, section in _sections(config).items():
        kind, _, name = heading.partition(" ")
        name = name.strip().strip("'\"")
        if heading == "default" or (kind == "profile" and name == "default"):
            profiles.setdefault("default", {}).update(section)
        elif kind == "profile" and name:
            profiles[name] = section
        elif kind == "sso-session" and name:
            sessions[name] = section
    for name, section in _sections(credentials).items():
        profiles.setdefault(name, {}).update(section)
    return Profiles(profiles=profiles, sessions=sessions, places=f"{config} and {credentials}")


def region_of(environ: Mapping[str, str], profile: Section) -> str | None:
    """Return the region that the environment, else the profile, names."""
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or profile.get("region")


def with_region(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment with the AWS region that its profile names, where it names none itself. Blocks."""
    if environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"):
        return environ
    try:
        profiles = read_profiles(environ, Path(environ.get("HOME") or "/")).profiles
    except ConfigError as error:
        log.warning("Bedrock is left out: %s", error)
        return environ
    region = region_of(environ, profiles.get(profile_name(environ), {}))
    return {**environ, "AWS_REGION": region} if region else environ


def _path(told: str | None, usual: Path, home: Path) -> Path:
    if not told:
        return usual
    return home / told[2:] if told.startswith("~/") else Path(told)


def _sections(path: Path) -> dict[str, dict[str, str]]:
    parser = RawConfigParser(default_section="", strict=False, interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no UTF-8'}") from None
    except Error as error:
        line = getattr(error, "lineno", None) or next((n for n, _ in getattr(error, "errors", ())), None)
        raise ConfigError(f"{path} is no AWS configuration{f', see line {line}' if line else ''}") from None
    return {heading: dict(parser[heading]) for heading in parser.sections()}
