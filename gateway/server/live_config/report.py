"""Reports of a configuration: every value with its origin and without secrets, as structs and as JSON. Pure.

Keys, tokens and header values are never shown: a value from a variable is shown as the variable's name, any other as
`set, not shown`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct, structs

from gateway.config.layers import Loaded, Origin
from gateway.config.model import VARIABLE, Config
from gateway.dialects.registry import ENDPOINTS
from gateway.providers.auth.extras import missing_extra
from gateway.providers.catalog import CATALOG
from gateway.providers.http.client import Origin as HttpOrigin
from gateway.providers.table import Provider, key_of
from gateway.proxy.routing.aliases import Candidate
from gateway.proxy.routing.context import RuntimeConfig, build_runtime
from gateway.redaction import is_secret_variable
from gateway.server.live_config.overrides import OverridableTable, UnknownEntryError

NOT_SHOWN = "set, not shown"
# Secret are these fields of a provider, all of `[api_keys]`, and the token.
_SECRET_FIELDS = frozenset({"api_key", "api_keys", "headers", "proxy"})
_TOKEN = "$.auth.token"  # noqa: S105  its path
_DEFAULT = Origin(kind="default")


class Setting(Struct, frozen=True, kw_only=True):
    """One setting: its path, the value that may be shown, and its origin."""

    path: str
    value: Any
    origin: Origin


class ProviderReport(Struct, frozen=True, kw_only=True):
    """One provider.

    Attributes:
        ready: Whether requests without a key of the client's can be sent to it.
        key: The source of its key: the path of a setting, the name of a variable, a cloud's credentials, or the client.
        origin: The origin of its URL.

    """

    name: str
    url: str = "inside the gateway"
    dialects: tuple[str, ...]
    prefixes: tuple[str, ...]
    ready: bool
    key: str = "none"
    origin: Origin = _DEFAULT


class AliasReport(Struct, frozen=True, kw_only=True):
    """One alias, and its candidates as `provider/model`, with the name of the key for one that has its own."""

    name: str
    order: str
    candidates: tuple[str, ...]


def settings(loaded: Loaded) -> list[Setting]:
    """Return every setting in the order of `Config`; of providers, aliases and keys those that are set."""
    return list(_settings(loaded))


def entry_settings(loaded: Loaded, table: str, name: str) -> list[Setting]:
    """Return the settings of one provider, alias or key; none if it is not configured."""
    entries: Mapping[str, Any] = getattr(loaded.config, table)
    if name not in entries:
        return []
    return list(_entry_settings(loaded, f"$.{table}.{name}", entries[name], secret=table == "api_keys"))


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
                yield from _entry_settings(loaded, f"{path}.{entry}", inner, secret=name == "api_keys")
        else:
            yield _setting(loaded, path, value, secret=False)


def _entry_settings(loaded: Loaded, path: str, entry: Any, *, secret: bool) -> Iterator[Setting]:
    """Yield the settings of one provider, alias or key."""
    if not isinstance(entry, Struct):
        yield _setting(loaded, path, entry, secret=secret)
        return
    empty = True
    for field in entry.__struct_fields__:
        value, below = getattr(entry, field), f"{path}.{field}"
        if isinstance(value, dict) and value:
            for key, each in value.items():
                yield _setting(loaded, f"{below}.{key}", each, secret=field in _SECRET_FIELDS)
        elif below in loaded.origins:
            setting = _setting(loaded, below, value, secret=field in _SECRET_FIELDS)
            yield structs.replace(setting, value=_known(value)) if field == "dialect" else setting
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
    """Return the form in which a secret is shown, without it.

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
    """Return text before expansion: with the names of its variables, and without their defaults."""
    if isinstance(written, str):
        return VARIABLE.sub(lambda match: f"${{env:{match[1]}}}", written)
    return NOT_SHOWN


def _known(dialects: Any) -> Any:
    """Return names of dialects; a name that no dialect has may be a secret in the wrong place."""
    if isinstance(dialects, list | tuple):
        return [_known(each) for each in dialects]
    return dialects if dialects is None or dialects in ENDPOINTS else "not shown: no such dialect"


def _url(value: Any) -> Any:
    """Return a base URL if it is valid; an invalid one may contain a password."""
    if not isinstance(value, str):
        return value
    try:
        HttpOrigin.from_url(value.strip())
    except ValueError as error:
        return f"not shown: {error}"
    return value


def providers(setup: RuntimeConfig, loaded: Loaded) -> list[ProviderReport]:
    """Return every provider, built in or configured."""
    return [_reach(provider, loaded) for provider in setup.providers.values()]


def _reach(provider: Provider, loaded: Loaded) -> ProviderReport:
    if provider.name == "demo":
        return ProviderReport(name="demo", dialects=provider.dialects, prefixes=provider.prefixes, ready=True)
    at = f"$.providers.{provider.name}.base_url"
    variables = [name for name, _ in _variables(provider.name)] if provider.as_built_in else []
    variable = next((name for name in variables if loaded.environ.get(name)), None)
    secret = any(map(is_secret_variable, _origin(loaded, at).variables))
    return ProviderReport(
        name=provider.name,
        url=provider.url if secret else provider.url + provider.base_path,
        dialects=provider.dialects,
        prefixes=provider.prefixes,
        ready=bool(provider.key or provider.environment_key or provider.set_up)
        or provider.signs(next(iter(provider.dialects), None)),
        key=_key(provider, loaded),
        origin=Origin(kind="environment", variables=(variable,)) if variable else _origin(loaded, at),
    )


def _origin(loaded: Loaded, path: str) -> Origin:
    return loaded.origins.get(path, _DEFAULT)


def _variables(name: str) -> tuple[tuple[str, str], ...]:
    entry = CATALOG.get(name)
    return entry.base_url_variables if entry else ()


def _key(provider: Provider, loaded: Loaded) -> str:
    """Return the source of a provider's key."""
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


def aliases(setup: RuntimeConfig) -> list[AliasReport]:
    """Return every alias with its candidates."""
    return [
        AliasReport(name=name, order=listed.order, candidates=tuple(_candidate(each) for each in listed.candidates))
        for name, listed in setup.aliases.items()
    ]


def _candidate(candidate: Candidate) -> str:
    """Return a candidate's name.

    A candidate with a single provider entry may have a key of its own; the generated names of a pool of keys
    (`openai#1`) are left out.
    """
    name = f"{candidate.provider.name}/{candidate.model}"
    own = candidate.provider.key_name if len(candidate.providers) == 1 else None
    return f"{name} (key: {own})" if own else name


def whole(loaded: Loaded) -> dict[str, Any]:
    """Return the whole report as JSON: `/-/config`, and `gateway check --json`."""
    setup = build_runtime(loaded.config, loaded.environ)
    return {
        "files": [str(path) for path in loaded.read],
        "settings": msgspec.to_builtins(settings(loaded)),
        "providers": msgspec.to_builtins(providers(setup, loaded)),
        "aliases": msgspec.to_builtins(aliases(setup)),
        "warnings": list(loaded.warnings),
    }


def table(loaded: Loaded, name: OverridableTable, overrides: str) -> dict[str, Any]:
    """Return the entries of a table by their names, as JSON. `overrides`: the path of the overrides file."""
    resolved = _resolved(loaded, name)
    names = dict.fromkeys((*getattr(loaded.config, name), *resolved))
    return {each: _entry_json(loaded, name, each, resolved, overrides) for each in names}


def table_entry(loaded: Loaded, table: OverridableTable, name: str, overrides: str) -> dict[str, Any]:
    """Return one entry as JSON. Raises UnknownEntryError."""
    resolved = _resolved(loaded, table)
    if name not in getattr(loaded.config, table) and name not in resolved:
        raise UnknownEntryError(f"there is no {table}.{name}")
    return _entry_json(loaded, table, name, resolved, overrides)


def _entry_json(
    loaded: Loaded, table: OverridableTable, name: str, resolved: Mapping[str, Any], overrides: str
) -> dict[str, Any]:
    """Return an entry's settings, whether it is a runtime override (`kept`), and what it resolves to (`comes_to`)."""
    found = entry_settings(loaded, table, name)
    return {
        "settings": msgspec.to_builtins(found),
        "kept": any(each.origin.file == overrides for each in found),
        "comes_to": resolved.get(name),
    }


def _resolved(loaded: Loaded, table: OverridableTable) -> dict[str, Any]:
    """Return the providers or aliases that requests are routed by, as JSON by their names."""
    if table == "api_keys":
        return {}
    setup = build_runtime(loaded.config, loaded.environ)
    found = providers(setup, loaded) if table == "providers" else aliases(setup)
    return {each.name: msgspec.to_builtins(each) for each in found}
