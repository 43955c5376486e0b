"""Where a request goes: path, headers and model -> provider and upstream target. Pure.

Every provider is mounted at `/{name}/...`; bare paths go by the API they belong to, and a model's prefix (`local/big`)
overrides that. A mounted path says the provider, so its body is never looked into for a prefix. Query strings and the
escapes of a path are kept as they came.
"""

import re
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from gateway import semconv
from gateway.dialects import Dialect
from gateway.dialects.registry import classify
from gateway.errors import ExchangeError, Kind
from gateway.providers.table import Provider

Family = Literal["openai", "anthropic"]

_VERSION_END = re.compile(r"/v\d[^/]*$")
_VERSIONS = re.compile(r"^(?:/+v1(?=/|$))+")
# Bare paths without /v1, which a client with a base URL without /v1 sends.
_KNOWN = re.compile(
    r"^/+(chat/completions|completions|responses|embeddings|models|messages|moderations|audio|images|files|batches"
    r"|uploads|fine_tuning|vector_stores|assistants|threads|realtime|evals|containers|conversations|videos)(/|$)"
)


# Embeddings and the older completions are part of what an openai-chat provider speaks.
_SPOKEN_AS = {"openai-completions": "openai-chat", "openai-embeddings": "openai-chat"}
_OPERATIONS = {"openai-completions": semconv.TEXT_COMPLETION, "openai-embeddings": semconv.EMBEDDINGS}


class Place(Struct, frozen=True, kw_only=True):
    """What the path alone says: the mounted provider if any, the path below it, and whose API it is."""

    provider: Provider | None
    path: str
    query: str
    family: Family
    dialect: Dialect | None


class Route(Struct, frozen=True, kw_only=True):
    """Where an exchange goes. `rename`: the model's name as the provider knows it, where that is another one."""

    provider: Provider
    target: str
    family: Family
    dialect: Dialect | None
    model: str | None = None
    rename: str | None = None

    @property
    def operation(self) -> str:
        """What is done, in the conventions' words (`gen_ai.operation.name`)."""
        return _OPERATIONS.get(self.dialect.name, semconv.CHAT) if self.dialect else "relay"

    @property
    def spoken(self) -> str | None:
        """The dialect's name as a provider's configuration says it."""
        return _SPOKEN_AS.get(self.dialect.name, self.dialect.name) if self.dialect else None


def place(method: str, raw_target: str, anthropic_client: bool, providers: Mapping[str, Provider]) -> Place:
    """Read the path. Raises ExchangeError for one that belongs to no provider."""
    raw_path, mark, query = raw_target.partition("?")
    head, slash, tail = raw_path.lstrip("/").partition("/")
    mounted = providers.get(head)
    path = slash + tail if mounted is not None else raw_path
    bare = _VERSIONS.sub("", path)
    if mounted is None and bare == path and not _KNOWN.match(path):
        mounts = ", ".join(f"/{name}/" for name in providers)
        raise ExchangeError(
            Kind.NOT_FOUND,
            f"The gateway has no route for {method} {raw_path}. Use /v1/... or a provider's mount: {mounts}. "
            "The gateway's own pages are below /-/.",
            code="unknown_path",
        )
    dialect = classify(method, bare)
    anthropic = (
        (dialect is not None and dialect.name == "anthropic-messages")
        or bare.startswith("/messages")
        or (mounted is not None and set(mounted.dialects) == {"anthropic-messages"})
        or (dialect is None and anthropic_client)
    )
    return Place(
        provider=mounted,
        path=path,
        query=mark + query,
        family="anthropic" if anthropic else "openai",
        dialect=dialect,
    )


def choose(where: Place, model: str | None, providers: Mapping[str, Provider]) -> Route:
    """Name the provider, the upstream target and the model. Raises ExchangeError where the two do not fit."""
    provider, rename = where.provider, None
    if provider is None:
        for each in providers.values():
            prefix = next((p for p in each.prefixes if model and model.startswith(p)), None)
            if prefix is not None and model is not None:
                provider, rename = each, model.removeprefix(prefix)
                break
        else:
            provider = providers[where.family]
    if rename == "":
        raise ExchangeError(
            Kind.BAD_INPUT,
            f"The model {model!r} is only a prefix; write {model}NAME.",
            status=400,
            code="model_not_found",
        )
    route = Route(
        provider=provider,
        target=target(provider.base_path, where.path, where.query),
        family=where.family,
        dialect=where.dialect,
        model=model,
        rename=rename,
    )
    if route.spoken is not None and route.spoken not in provider.dialects:
        raise ExchangeError(
            Kind.BAD_INPUT,
            f"The provider {provider.name!r} speaks {', '.join(provider.dialects)}, not {route.spoken}, which "
            f"{where.path} is; send the request in its dialect, or set $.providers.{provider.name}.dialect.",
            status=400,
            code="dialect_mismatch",
        )
    return route


def target(base_path: str, path: str, query: str) -> str:
    """Join a base URL's path and a request's, with one `/v1` between them however many the two have.

    >>> target("/v1", "/v1/models", "?a=1")
    '/v1/models?a=1'
    >>> target("", "/v1/v1/models", "")
    '/v1/models'
    >>> target("/openai/v1", "/models", "")
    '/openai/v1/models'
    """
    bare = _VERSIONS.sub("", path)
    if bare == path or _VERSION_END.search(base_path):
        return base_path + bare + query
    return f"{base_path}/v1{bare}{query}"
