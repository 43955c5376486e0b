"""What a request says for itself, beyond its API: whom to ask, how often, how long, and what it belongs to. Pure.

In headers `x-gateway-*`, or by the seed's names `x-chronicle-*`; on the seed's own routes in the body too, which goes
before the headers.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct, structs

from gateway.config.retry import RetryPolicy, policy_problem
from gateway.tracing.capture import parse_capture
from gateway.tracing.metadata import Metadata, json_option, metadata_of, refuse_option

PREFIXES = (b"x-gateway-", b"x-chronicle-")
_SHORTEST = min(map(len, PREFIXES))


class Named(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the models that a request lists."""

    model: str
    provider: str | None = None
    api_key: str | None = None
    api_key_name: str | None = None

    def __repr__(self) -> str:
        """Keep the key out."""
        return f"<Named {self.provider}/{self.model}>"


class Options(Struct, frozen=True, kw_only=True):
    """What one request says for itself.

    Attributes:
        model: Instead of the body's.
        provider: Whom to ask, by name.
        models: Whom to ask, one after the other; goes before model and provider, and has no aliases in it.
        random_choice: Whether that list is begun at a random place.
        override_url: Where to send it, instead of to the provider's own URL.
        api_key: Shown to the provider, instead of any other.
        timeout: In milliseconds, for one attempt.
        retry: What is other than in the configuration, by the names of `[retry]`.

    """

    model: str | None = None
    provider: str | None = None
    models: tuple[Named, ...] = ()
    random_choice: bool = False
    override_url: str | None = None
    api_key: str | None = None
    timeout: float | None = None
    retry: dict[str, Any] = {}
    metadata: Metadata = Metadata()

    def __repr__(self) -> str:
        """Keep the key out."""
        return f"<Options model={self.model!r} provider={self.provider!r}>"

    def policy(self, configured: RetryPolicy) -> RetryPolicy:
        """Return how to retry. Raises ExchangeError for what is no option of that."""
        return _policy("retry", self.retry, configured) if self.retry else configured


NONE = Options()

# By the name that follows the prefix.
_STRINGS = {
    "model": "model",
    "provider": "provider",
    "override-url": "override_url",
    "provider-api-key": "api_key",
}
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def said_in(raw_headers: Iterable[tuple[bytes, bytes]]) -> dict[str, tuple[str, str]]:
    """Return the options among headers: by what follows the prefix, the header's name and its value.

    Of a name under both prefixes ours counts. An empty value says nothing.
    """
    found: dict[str, tuple[str, str]] = {}
    for name, value in raw_headers:
        if len(name) < _SHORTEST or name[:2] not in (b"x-", b"X-"):
            continue
        lowered = name.lower()
        for prefix in PREFIXES:
            if lowered.startswith(prefix):
                option = lowered[len(prefix) :].decode("latin-1")
                if (value := value.strip()) and (option not in found or prefix == PREFIXES[0]):
                    found[option] = lowered.decode("latin-1"), value.decode("utf-8", "replace")
    return found


def from_headers(said: Mapping[str, tuple[str, str]]) -> Options:
    """Return what headers say (`said_in`). Raises ExchangeError that names the header, and what is expected."""
    if not said:
        return NONE
    options: dict[str, Any] = {_STRINGS[name]: value for name, (_, value) in said.items() if name in _STRINGS}
    for name, (header, value) in said.items():
        match name:
            case "models":
                options["models"] = json_option(header, value, tuple[Named, ...], "a JSON list of {model, provider}")
            case "retry":
                options["retry"] = json_option(header, value, dict[str, Any], "a JSON object like [retry]")
                _policy(header, options["retry"], RetryPolicy())
            case "random-choice":
                if value.lower() not in _BOOLEANS:
                    refuse_option(header, "expected true or false")
                options["random_choice"] = _BOOLEANS[value.lower()]
            case "timeout":
                options["timeout"] = _milliseconds(header, value)
            case "capture":  # `recording` goes by it, from the beginning
                capture_of(header, value)
    metadata = metadata_of(said)
    return Options(**options, metadata=metadata) if options or metadata != NONE.metadata else NONE


def capture_of(header: str, value: str) -> None:
    """Check what a request asks to be kept of it. Raises ExchangeError that names the header."""
    try:
        parse_capture(value)
    except ValueError as error:
        refuse_option(header, str(error))


def merged(first: Options, second: Options) -> Options:
    """Return what `first` says, and what `second` says where that says nothing."""
    if second is NONE:
        return first
    metadata = Metadata(**{**_told(second.metadata), **_told(first.metadata)})
    return Options(**{**_told(second), **_told(first), "metadata": metadata})


def _told(value: Options | Metadata) -> dict[str, Any]:
    defaults = NONE if isinstance(value, Options) else NONE.metadata
    return {name: each for name, each in structs.asdict(value).items() if each != getattr(defaults, name)}


def _policy(where: str, said: Mapping[str, Any], configured: RetryPolicy) -> RetryPolicy:
    try:
        policy = msgspec.convert({**msgspec.to_builtins(configured), **said}, RetryPolicy)
    except msgspec.ValidationError as error:
        refuse_option(where, str(error))
    if wrong := policy_problem(policy):
        refuse_option(where, wrong)
    return policy


def _milliseconds(header: str, value: str) -> float:
    try:
        said = float(value)
    except ValueError:
        said = math.nan
    if not 0 < said < math.inf:
        refuse_option(header, "expected a number of milliseconds above 0")
    return said
