"""The configuration as it is in force, for people: every value with its origin, and no secret. Pure.

Keys, tokens and the values of headers are never told: a variable is named, anything else is only said to be set.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from gateway.config.layers import Loaded, Origin
from gateway.config.model import VARIABLE, Config
from gateway.providers.auth.extras import missing_extra
from gateway.providers.catalog import CATALOG
from gateway.providers.http.client import Origin as Place
from gateway.providers.table import Provider, key_of
from gateway.proxy.routing.aliases import Candidate
from gateway.proxy.routing.runtime import RuntimeConfig
from gateway.redaction import is_secret_variable

NOT_SHOWN = "set, not shown"
# What is secret: these fields of a provider, all of `[api_keys]`, and the token.
_SECRET = frozenset({"api_key", "api_keys", "headers"})
_TOKEN = "$.auth.token"  # noqa: S105  its path
_DEFAULT = Origin(kind="default")


class Setting(Struct, frozen=True, kw_only=True):
    """One value: where it stands, what may be shown of it, and where it comes from."""

    path: str
    value: Any
    origin: Origin


class Reach(Struct, frozen=True, kw_only=True):
    """One provider.

    Attributes:
        ready: Whether it can be reached without a key of the client's.
        key: Which key it is shown: the path of a setting, the name of a variable, a cloud's credentials, or whose.
        origin: Where the provider's address comes from.

    """

    name: str
    url: str = "inside the gateway"
    dialects: tuple[str, ...]
    prefixes: tuple[str, ...]
    ready: bool
    key: str = "none"
    origin: Origin = _DEFAULT


class Known(Struct, frozen=True, kw_only=True):
    """One alias, and the candidates that it comes to as `provider/model`, with the key's name where it has its own."""

    name: str
    order: str
    candidates: tuple[str, ...]


def settings(loaded: Loaded) -> list[Setting]:
    """Return every setting, in the order of the tables' description; of providers and the like, what was set."""
    return list(_settings(loaded))


def entry(loaded: Loaded, table: str, name: str) -> list[Setting]:
    """Return what was set of one provider, alias or key; nothing where it was not."""
    entries: Mapping[str, Any] = getattr(loaded.config, table)
    if name not in entries:
        return []
    return list(_entry(loaded, f"$.{table}.{name}", entries[name], secret=table == "api_keys"))


def _settings(loaded: Loaded) -> Iterator[Setting]:
    for name in Config.__struct_fields__:
        value = getattr(loaded.config, name)
        path = f"$.{name}"
        if isinstance(value, Struct):
            for field in value.__struct_fields__:
                below = f"{path}.{field}"
                yield _setting(loaded, below, getattr(value, field), secret=below == _TOKEN)
        elif isinstance(value, dict):
            for entry, inner in value.items():
                yield from _entry(loaded, f"{path}.{entry}", inner, secret=name == "api_keys")
        else:
            yield _setting(loaded, path, value, secret=False)


def _entry(loaded: Loaded, path: str, entry: Any, *, secret: bool) -> Iterator[Setting]:
    """Give what was set of one provider, alias or key."""
    if not isinstance(entry, Struct):
        yield _setting(loaded, path, entry, secret=secret)
        return
    empty = True
    for field in entry.__struct_fields__:
        value, below = getattr(entry, field), f"{path}.{field}"
        if isinstance(value, dict) and value:
            for key, each in value.items():
                yield _setting(loaded, f"{below}.{key}", each, secret=field in _SECRET)
        elif below in loaded.origins:
            yield _setting(loaded, below, value, secret=field in _SECRET)
        else:
            continue
        empty = False
    if empty:
        yield Setting(path=path, value={}, origin=loaded.origins.get(path, _DEFAULT))


def _setting(loaded: Loaded, path: str, value: Any, *, secret: bool) -> Setting:
    origin = loaded.origins.get(path) or next(
        (each for below, each in loaded.origins.items() if below.startswith(f"{path}.")), _DEFAULT
    )
    written = loaded.written.get(path, value)
    if path == _TOKEN and not value and loaded.environ.get("GATEWAY_TOKEN"):
        origin = Origin(kind="environment", variables=("GATEWAY_TOKEN",))
        written = "${env:GATEWAY_TOKEN}"
    if secret:
        shown = hidden(written, loaded.environ)
    elif any(map(is_secret_variable, origin.variables)):
        shown = _without_defaults(written)
    elif path.endswith(".base_url"):
        shown = _url(value)
    elif isinstance(value, list) and not origin.variables:
        shown = written
    else:
        shown = msgspec.to_builtins(value)
    return Setting(path=path, value=shown, origin=origin)


def hidden(written: Any, environ: Mapping[str, str]) -> Any:
    """Return what may be shown of a secret as it is written.

    >>> hidden(["${env:KEY}", "sk-1", ""], {"KEY": "sk-2"})
    ['${env:KEY} (set)', 'set, not shown', 'empty']
    """
    if isinstance(written, list):
        return [hidden(each, environ) for each in written]
    if not written:
        return None if written is None else "empty"
    match = VARIABLE.fullmatch(written) if isinstance(written, str) else None
    if match is None:
        return NOT_SHOWN
    if environ.get(match[1]):
        return f"${{env:{match[1]}}} (set)"
    return f"${{env:{match[1]}}} (not set; " + ("it has a default)" if match[2] else "empty)")


def _without_defaults(written: Any) -> Any:
    """Return text as it is written: its variables' names, without their defaults."""
    if isinstance(written, str):
        return VARIABLE.sub(lambda match: f"${{env:{match[1]}}}", written)
    return NOT_SHOWN


def _url(value: Any) -> Any:
    """Return a base URL that can be one; another may have a password in it."""
    if not isinstance(value, str):
        return value
    try:
        Place.from_url(value.strip())
    except ValueError as error:
        return f"not shown: {error}"
    return value


def providers(setup: RuntimeConfig, loaded: Loaded) -> list[Reach]:
    """Return every provider that is known, and which key each would be shown."""
    return [_reach(provider, loaded) for provider in setup.providers.values()]


def _reach(provider: Provider, loaded: Loaded) -> Reach:
    if provider.name == "demo":
        return Reach(name="demo", dialects=provider.dialects, prefixes=provider.prefixes, ready=True)
    at = f"$.providers.{provider.name}.base_url"
    variables = [name for name, _ in _variables(provider.name)] if provider.as_built_in else []
    told = next((name for name in variables if loaded.environ.get(name)), None)
    secretive = any(map(is_secret_variable, _origin(loaded, at).variables))
    return Reach(
        name=provider.name,
        url=provider.url if secretive else provider.url + provider.base_path,
        dialects=provider.dialects,
        prefixes=provider.prefixes,
        ready=bool(provider.key or provider.environment_key or provider.set_up)
        or provider.signs(next(iter(provider.dialects), None)),
        key=_key(provider, loaded),
        origin=Origin(kind="environment", variables=(told,)) if told else _origin(loaded, at),
    )


def _origin(loaded: Loaded, path: str) -> Origin:
    return loaded.origins.get(path, _DEFAULT)


def _variables(name: str) -> tuple[tuple[str, str], ...]:
    entry = CATALOG.get(name)
    return entry.base_url_variables if entry else ()


def _key(provider: Provider, loaded: Loaded) -> str:
    """Say whose key a provider is shown."""
    at = f"$.providers.{provider.name}"
    if provider.key:
        fields = [each for each in ("api_key", "api_keys") if loaded.written.get(f"{at}.{each}")]
        return ", ".join(f"{at}.{each}" for each in fields)
    entry = CATALOG.get(provider.name)
    names = entry.key_variables if entry else ()
    if provider.environment_key:
        return next(name for name in names if key_of(name, loaded.environ.get(name)))
    cloud = {"sigv4": "the AWS credential chain", "google": "Google's application default credentials"}
    if found := cloud.get(provider.key_sent):
        remedy = missing_extra(provider, loaded.environ)
        return f"{found} ({remedy})" if remedy else found
    if provider.set_up:
        return "the client's, if it brings one"
    return f"the client's, or {names[0]} (not set)" if names else "the client's"


def aliases(setup: RuntimeConfig) -> list[Known]:
    """Return every alias with what it comes to."""
    return [
        Known(name=name, order=listed.order, candidates=tuple(_candidate(each) for each in listed.candidates))
        for name, listed in setup.aliases.items()
    ]


def _candidate(candidate: Candidate) -> str:
    """Name a candidate.

    The keys of its provider have names of their own (`openai#1`), which say nothing here.
    """
    name = f"{candidate.provider.name}/{candidate.model}"
    own = candidate.provider.key_name if len(candidate.providers) == 1 else None
    return f"{name} (key: {own})" if own else name
