"""Options of one request, beside its API: candidates, retries, time-outs, and the metadata of its span. Pure.

They come in headers `x-gateway-*`, or with the prefix of the endpoint's own API; some APIs have them in the body too,
which wins over the headers.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct, structs

from gateway.config.retry import RetryPolicy, policy_problem
from gateway.dialects.endpoint import OPTION_PREFIX, BodyOptions, read_field, refuse_field
from gateway.dialects.registry import TABLES
from gateway.errors import ExchangeError, Kind
from gateway.tracing.capture import parse_capture
from gateway.tracing.metadata import DEEPEST, INTEGERS, UUID, Metadata, json_option, metadata_of, nested, refuse_option

_LARGEST_INTEGER = 2**31 - 1
_MILLISECONDS = "a number of milliseconds above 0"


class Named(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the option `models`."""

    model: str
    provider: str | None = None
    api_key: str | None = None
    api_key_name: str | None = None

    def __repr__(self) -> str:
        """Keep the key out."""
        return f"<Named {self.provider}/{self.model}>"


class Options(Struct, frozen=True, kw_only=True):
    """The options of one request.

    Attributes:
        model: The model, instead of the body's.
        provider: The name of the provider.
        models: Candidates in order, without aliases; they replace `model` and `provider`.
        random_choice: Whether the first of `models` is drawn at random.
        override_url: The URL of the request, instead of the provider's own.
        api_key: The key for the provider, instead of any other.
        timeout: Milliseconds for one attempt.
        retry: Settings of `[retry]` that differ from the configuration.

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

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that the request brings as options."""
        return tuple(key for key in (self.api_key, *(each.api_key for each in self.models)) if key)

    def policy(self, configured: RetryPolicy) -> RetryPolicy:
        """Return the retry policy. Raises ExchangeError for a setting that `[retry]` does not have."""
        return _policy("retry", self.retry, configured) if self.retry else configured


NONE = Options()

# Fields of `Options`, by the header's name after the prefix.
_STRINGS = {
    "model": "model",
    "provider": "provider",
    "override-url": "override_url",
    "provider-api-key": "api_key",
}
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def option_headers(raw_headers: Iterable[tuple[bytes, bytes]]) -> dict[str, tuple[str, str]]:
    """Return the options among headers: by the name after the prefix, the header's name and its value.

    Of a name under both prefixes `x-gateway-` wins. An empty value sets nothing.
    """
    found: dict[str, tuple[str, str]] = {}
    prefixes = TABLES.option_prefixes
    for name, value in raw_headers:
        if name[:2] not in (b"x-", b"X-"):
            continue
        lowered = name.lower()
        for prefix in prefixes:
            if lowered.startswith(prefix):
                option = lowered[len(prefix) :].decode("latin-1")
                if (value := value.strip()) and (option not in found or prefix is OPTION_PREFIX):
                    found[option] = lowered.decode("latin-1"), value.decode("utf-8", "replace")
    return found


def from_headers(given: Mapping[str, tuple[str, str]]) -> Options:
    """Return the options of headers (`option_headers`). Raises ExchangeError that names the header."""
    if not given:
        return NONE
    options: dict[str, Any] = {_STRINGS[name]: value for name, (_, value) in given.items() if name in _STRINGS}
    for name, (header, value) in given.items():
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
            case "capture":  # it took effect when the exchange began
                capture_of(header, value)
    metadata = metadata_of(given)
    return Options(**options, metadata=metadata) if options or metadata != NONE.metadata else NONE


def capture_of(header: str, value: str) -> None:
    """Check the capture mode that a request asks for. Raises ExchangeError that names the header."""
    try:
        parse_capture(value)
    except ValueError as error:
        refuse_option(header, str(error))


def with_body(request: BodyOptions, headers: Options) -> tuple[Options, bytes]:
    """Return the options of a body and of headers together, and the body to send. Raises ExchangeError."""
    own = from_fields(request.options)
    options = merged(own, headers) if request.options else headers
    model = request.model or options.model or next((each.model for each in options.models), None)
    if not model:
        raise ExchangeError(Kind.BAD_INPUT, "Request is missing model name.", status=400, code="missing_model")
    return options, request.body(model)


def from_fields(fields: Mapping[str, bytes]) -> Options:
    """Return the options in fields of a body, as JSON. Raises ExchangeError that names the field."""
    return Options(**{name: _FIELDS[name](name, value) for name, value in fields.items() if value != b"null"})


def merged(first: Options, second: Options) -> Options:
    """Return the options of `first`, and those of `second` that `first` does not set."""
    if second is NONE:
        return first
    metadata = Metadata(**{**_set(second.metadata), **_set(first.metadata)})
    return Options(**{**_set(second), **_set(first), "metadata": metadata})


def _set(value: Options | Metadata) -> dict[str, Any]:
    defaults = NONE if isinstance(value, Options) else NONE.metadata
    return {name: each for name, each in structs.asdict(value).items() if each != getattr(defaults, name)}


_METADATA = frozenset(Metadata.__struct_fields__)
_UUIDS = frozenset({"run_id", "step_id"})


def _metadata(field: str, value: bytes) -> Metadata:
    """Read the metadata in a body; keys without a meaning of their own go to `extra`."""
    whole = read_field(dict[str, Any], "an object", field, value)
    if nested(whole, DEEPEST + 1):
        refuse_field(field, f"an object, nested {DEEPEST} levels deep at most")
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {name: each for name, each in whole.items() if name not in _METADATA}
    for name in _METADATA & whole.keys():
        each = whole[name]
        if each is None:
            continue
        if name == "extra":
            extra = {**(each if isinstance(each, dict) else {"extra": each}), **extra}
        elif name in INTEGERS:
            if not isinstance(each, int) or isinstance(each, bool) or not 0 <= each <= _LARGEST_INTEGER:
                refuse_field(f"{field}.{name}", f"a whole number from 0 to {_LARGEST_INTEGER}")
            known[name] = each
        elif not isinstance(each, str):
            refuse_field(f"{field}.{name}", "a string")
        elif name in _UUIDS and not UUID.fullmatch(each):
            refuse_field(f"{field}.{name}", "a UUID")
        else:
            known[name] = each
    return Metadata(**known, extra=extra or None)


def _retry(field: str, value: bytes) -> dict[str, Any]:
    whole = read_field(dict[str, Any], "an object like [retry]", field, value)
    whole = {name: each for name, each in whole.items() if each is not None}
    try:
        Options(retry=whole).policy(RetryPolicy())
    except ExchangeError as error:
        raise ExchangeError(error.kind, f"The body's field {error.message}", code="bad_body") from None
    return whole


def _timeout(field: str, value: bytes) -> float:
    milliseconds: float = read_field(float, _MILLISECONDS, field, value)
    if milliseconds <= 0:
        refuse_field(field, _MILLISECONDS)
    return milliseconds


def _string(field: str, value: bytes) -> str | None:
    return read_field(str, "a string", field, value) or None


_FIELDS: dict[str, Callable[[str, bytes], Any]] = {
    "provider": _string,
    "override_url": _string,
    "api_key": _string,
    "models": lambda field, value: read_field(tuple[Named, ...], "a list of {model, provider}", field, value),
    "random_choice": lambda field, value: read_field(bool, "true or false", field, value),
    "timeout": _timeout,
    "retry": _retry,
    "metadata": _metadata,
}


def _policy(option: str, given: Mapping[str, Any], configured: RetryPolicy) -> RetryPolicy:
    try:
        policy = msgspec.convert({**msgspec.to_builtins(configured), **given}, RetryPolicy)
    except (msgspec.ValidationError, RecursionError) as error:
        refuse_option(option, str(error))
    if wrong := policy_problem(policy):
        refuse_option(option, wrong)
    return policy


def _milliseconds(header: str, value: str) -> float:
    try:
        given = float(value)
    except ValueError:
        given = math.nan
    if not 0 < given < math.inf:
        refuse_option(header, f"expected {_MILLISECONDS}")
    return given
