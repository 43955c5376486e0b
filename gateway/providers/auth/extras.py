"""The libraries that only some credentials need, each in an extra of the distribution.

Without them everything else works: keys and tokens of the environment, and Google's metadata server.
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from gateway.config.model import Candidate, Config
from gateway.providers.auth.refresh import CredentialError
from gateway.providers.table import Provider


class Extra(NamedTuple):
    """An extra of the distribution, the library in it and the library's package."""

    name: str
    library: str
    package: str

    @property
    def installed(self) -> bool:
        """Whether the library can be imported, without importing it."""
        try:
            return find_spec(self.package) is not None
        except ImportError:  # of a parent package
            return False

    @property
    def remedy(self) -> str:
        """The sentence that names the extra, without a full stop."""
        return f"{self.library} is not installed; run `pip install 'tracing-gateway[{self.name}]'`"

    def load(self, module: str) -> ModuleType:
        """Import the module of ours that uses the library. Blocks. Raises CredentialError."""
        try:
            return import_module(module)
        except ImportError:
            raise CredentialError(self.remedy) from None


BEDROCK = Extra("bedrock", "botocore", "botocore")
VERTEX = Extra("vertex", "google-auth", "google.auth")


def static_aws(environ: Mapping[str, str]) -> bool:
    """Whether the environment has a Bedrock key or an access key, which need no library."""
    return bool(environ.get("AWS_BEARER_TOKEN_BEDROCK") or environ.get("AWS_ACCESS_KEY_ID"))


def gcloud_file(environ: Mapping[str, str]) -> Path:
    """Return the path of the file that gcloud's login writes."""
    folder = environ.get("CLOUDSDK_CONFIG") or Path(environ.get("HOME") or "/") / ".config" / "gcloud"
    return Path(folder) / "application_default_credentials.json"


def google_file(environ: Mapping[str, str]) -> bool:
    """Whether the environment's Google credentials are a file, which google-auth reads. Blocks."""
    if environ.get("GOOGLE_OAUTH_ACCESS_TOKEN") or environ.get("CLOUDSDK_AUTH_ACCESS_TOKEN"):
        return False
    return bool(environ.get("GOOGLE_APPLICATION_CREDENTIALS")) or gcloud_file(environ).exists()


def missing_extra(provider: Provider, environ: Mapping[str, str]) -> str | None:
    """Return the remedy if a provider's credentials need a library that is not installed. Blocks."""
    if provider.key:
        return None
    if provider.key_sent == "sigv4" and not static_aws(environ) and not BEDROCK.installed:
        return BEDROCK.remedy
    if provider.key_sent == "google" and google_file(environ) and not VERTEX.installed:
        return VERTEX.remedy
    return None


def warnings(config: Config, providers: Mapping[str, Provider], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return a warning for each configured provider whose library is not installed. Blocks."""
    candidates = [each for alias in config.aliases.values() for each in alias.candidates]
    configured = {*config.providers, *(each.provider for each in candidates if isinstance(each, Candidate))}
    remedies = {name: missing_extra(provider, environ) for name, provider in providers.items() if name in configured}
    return tuple(f"The provider {name!r} has no credentials yet: {each}." for name, each in remedies.items() if each)
