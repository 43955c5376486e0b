"""Where a request goes: path, headers and model -> provider and upstream target. Pure.

Every provider is mounted at `/{name}/...`; bare paths go by the API they belong to, and a model's prefix (`local/big`)
overrides that. A mounted path says the provider, so its body is never looked into for a prefix. Query strings and the
escapes of a path are kept as they came. Where the provider does not speak the client's dialect, it is translated.
"""

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote

from msgspec import Struct

from gateway import semconv
from gateway.dialects import Dialect
from gateway.dialects.edit import Peek
from gateway.dialects.registry import DIALECTS, SPOKEN_AS, WRITERS, by_shape, classify, in_path
from gateway.errors import ExchangeError, Kind
from gateway.providers.table import Provider

Family = Literal["openai", "anthropic", "gemini", "ollama", "aws-bedrock", "azure-openai"]
"""Whose API a path belongs to; also the provider that bare paths of it go to."""

# In whose words a client of each family is told of an error.
SPOKEN_TO = {
    "openai": "openai-chat",
    "anthropic": "anthropic-messages",
    "gemini": "gemini",
    "ollama": "ollama",
    "aws-bedrock": "bedrock-converse",
    "azure-openai": "openai-chat",
}

_VERSION_END = re.compile(r"/v\d[^/]*$")
_VERSIONS = re.compile(r"^(?:/+v1(?=/|$))+")
_GOOGLE_VERSION = re.compile(r"^/+(v1(?:alpha|beta)\d*)(?=/)")
# Bare paths without /v1, which a client with a base URL without /v1 sends.
_KNOWN = re.compile(
    r"^/+(chat/completions|completions|responses|embeddings|models|messages|moderations|audio|images|files|batches"
    r"|uploads|fine_tuning|vector_stores|assistants|threads|realtime|evals|containers|conversations|videos)(/|$)"
)
_OPERATIONS = {
    "openai-completions": semconv.TEXT_COMPLETION,
    "ollama-generate": semconv.TEXT_COMPLETION,
    "openai-embeddings": semconv.EMBEDDINGS,
    "ollama-embed": semconv.EMBEDDINGS,
    "gemini": semconv.GENERATE_CONTENT,
}


class Place(Struct, frozen=True, kw_only=True):
    """What the path alone says: the mounted provider if any, the path below it, whose API it is, and how it is read.

    `model` and `stream` are what a path says of them that names its model (Gemini's, Bedrock's, Azure's).
    """

    provider: Provider | None
    path: str
    query: str
    family: Family
    dialect: Dialect | None
    model: str | None = None
    stream: bool = False


class Route(Struct, frozen=True, kw_only=True):
    """Where an exchange goes.

    Attributes:
        family: The client's, in whose words it is told of errors.
        dialect: How the client's request is read.
        reply: The dialect's name in which the client is answered, where that is another than the provider's.
        sent: The dialect the provider is spoken to in, where the request is translated into it; else None.
        rename: The model's name as the provider knows it, where that is another one.
        addressed: Whether the client named the provider by its path, so that a key it brought is that provider's.

    """

    provider: Provider
    target: str
    family: Family
    dialect: Dialect | None
    reply: str | None = None
    sent: Dialect | None = None
    model: str | None = None
    stream: bool = False
    rename: str | None = None
    addressed: bool = True

    @property
    def heard(self) -> Dialect | None:
        """How the provider's response is read."""
        return self.sent or self.dialect

    @property
    def operation(self) -> str:
        """What is done, in the conventions' words (`gen_ai.operation.name`)."""
        heard = self.heard
        return _OPERATIONS.get(heard.name, semconv.CHAT) if heard else "relay"

    @property
    def spoken(self) -> str | None:
        """The name of the client's dialect, as a provider's configuration says it."""
        return _spoken(self.dialect)

    @property
    def understood(self) -> str | None:
        """The name of the dialect that the provider is spoken to in."""
        return _spoken(self.heard)


def _spoken(dialect: Dialect | None) -> str | None:
    return SPOKEN_AS.get(dialect.name, dialect.name) if dialect else None


def place(method: str, raw_target: str, anthropic_client: bool, providers: Mapping[str, Provider]) -> Place:
    """Read the path. Raises ExchangeError for one that belongs to no provider."""
    raw_path, mark, query = raw_target.partition("?")
    head, slash, tail = raw_path.lstrip("/").partition("/")
    azure = head == "openai" and tail.startswith("deployments/")
    mounted = None if azure else providers.get(head)
    path = slash + tail if mounted is not None else raw_path
    named = in_path(method, path)
    dialect = classify(method, path) if named is None else named.dialect
    family = _family(path, dialect, mounted, azure=azure, named=named is not None, anthropic_client=anthropic_client)
    if family is None:
        mounts = ", ".join(f"/{name}/" for name in providers)
        raise ExchangeError(
            Kind.NOT_FOUND,
            f"The gateway has no route for {method} {raw_path}. Use /v1/... or a provider's mount: {mounts}. "
            "The gateway's own pages are below /-/.",
            code="unknown_path",
        )
    model, stream = (None, False) if named is None else (named.model, named.stream)
    if azure:
        model = tail.split("/")[1]
    return Place(
        provider=mounted, path=path, query=mark + query, family=family, dialect=dialect, model=model, stream=stream
    )


def _family(
    path: str, dialect: Dialect | None, mounted: Provider | None, *, azure: bool, named: bool, anthropic_client: bool
) -> Family | None:
    """Return whose API a path belongs to, None where it is nobody's."""
    if azure:
        return "azure-openai"
    spoken = _spoken(dialect)
    bare = _VERSIONS.sub("", path)
    known = mounted is not None or bare != path or _KNOWN.match(path) is not None
    if spoken == "gemini" or _GOOGLE_VERSION.match(path) or (named and ":" in path):
        return "gemini"
    if spoken == "ollama" or (mounted is None and path.startswith("/api/")):
        return "ollama"
    if spoken == "bedrock-converse" or (mounted is None and path.startswith("/model/")):
        return "aws-bedrock"
    if not known:
        return None
    if spoken == "anthropic-messages" or bare.startswith("/messages"):
        return "anthropic"
    if spoken is None and mounted is not None and len(mounted.dialects) == 1:
        return _FAMILY_OF.get(mounted.dialects[0], "openai")
    return "anthropic" if spoken is None and anthropic_client else "openai"


_FAMILY_OF: dict[str, Family] = {
    "anthropic-messages": "anthropic",
    "gemini": "gemini",
    "ollama": "ollama",
    "bedrock-converse": "aws-bedrock",
}


def choose(where: Place, seen: Peek, providers: Mapping[str, Provider]) -> Route:
    """Name the provider, the upstream target and the model. Raises ExchangeError where nothing fits."""
    model = where.model or seen.model
    provider, rename = where.provider, None
    addressed = provider is not None
    if provider is None:
        provider, rename = _by_model(model, where, providers)
        addressed = provider.name == where.family
    if rename == "":
        raise ExchangeError(
            Kind.BAD_INPUT,
            f"The model {model!r} is only a prefix; write {model}NAME.",
            status=400,
            code="model_not_found",
        )
    dialect = where.dialect if where.dialect is None else by_shape(where.dialect, seen)
    sent, reply = _translated(where, dialect, provider)
    path = where.path
    if rename is not None and where.model is not None:
        path = path.replace(_in_path(where), quote(rename, safe="/"), 1)
    return Route(
        provider=provider,
        target=_target(where, path, provider, dialect),
        family=where.family,
        dialect=dialect,
        reply=reply,
        sent=sent,
        model=model,
        stream=where.stream or seen.stream,
        rename=rename,
        addressed=addressed,
    )


def _target(where: Place, path: str, provider: Provider, dialect: Dialect | None) -> str:
    """Return the target of a request that is sent as it came."""
    base = provider.paths.get(_spoken(dialect) or "")
    if base is None or (provider.loose and base == f"{provider.base_path}/v1"):
        return target(provider.base_path, path, where.query)
    if where.family == "azure-openai" or "/projects/" in path:  # the whole of the provider's own path
        return path + where.query
    if where.family == "gemini":
        return _google_target(base, path, where.query)
    return base + _VERSIONS.sub("", path) + where.query


def _google_target(base: str, path: str, query: str) -> str:
    """Join Google's paths: its clients choose among versions, unless a place of its own is told, as Vertex has it."""
    version = _GOOGLE_VERSION.match(path)
    bare = path[version.end() :] if version else _VERSIONS.sub("", path)
    if version and _VERSION_END.search(base):
        return f"{_VERSION_END.sub('', base)}/{version.group(1)}{bare}{query}"
    return base + bare + query


def _in_path(where: Place) -> str:
    """Return the model as its path spells it."""
    model = where.model or ""
    return next((each for each in (model, quote(model, safe="/"), quote(model, safe="")) if each in where.path), model)


def _by_model(model: str | None, where: Place, providers: Mapping[str, Provider]) -> tuple[Provider, str | None]:
    """Return the provider that a bare path's model is of, and the model without its prefix where it has one."""
    usual = providers.get(where.family)
    if model:
        prefixed = [(p, each) for each in providers.values() for p in each.prefixes if model.startswith(p)]
        if prefixed:
            prefix, provider = max(prefixed, key=lambda pair: (len(pair[0]), not pair[1].as_built_in))
            return provider, model.removeprefix(prefix)
        # A provider whose address was set knows its own models; a built-in one has the models that are its own.
        named = where.dialect is not None or where.path.endswith("/count_tokens")
        if named and (usual is None or usual.as_built_in):
            claimed = [each for each in providers.values() if each.claims(model)]
            if claimed and usual not in claimed:
                return claimed[0], None
    if usual is None:
        raise ExchangeError(
            Kind.NOT_FOUND,
            f"{where.path} goes to the provider {where.family!r}, which is not set up: write "
            f"[providers.{where.family}] in gateway.toml.",
            code="unknown_provider",
        )
    return usual, None


def _translated(where: Place, dialect: Dialect | None, provider: Provider) -> tuple[Dialect | None, str | None]:
    """Return the dialect to translate a request into, and the one to answer in; None twice where it passes as it is."""
    if dialect is None or where.dialect is None:
        return None, None
    spoken, answered = _spoken(dialect), _spoken(where.dialect)
    if spoken in provider.dialects and spoken == answered:
        return None, None
    into = next((name for name in (spoken, *provider.dialects) if name in provider.dialects and name in WRITERS), None)
    if dialect.read_conversation is None or into is None or answered not in WRITERS:
        raise ExchangeError(
            Kind.BAD_INPUT,
            f"The provider {provider.name!r} speaks {', '.join(provider.dialects)}, not {spoken}, which "
            f"{where.path} is and which cannot be translated; send the request in its dialect, or set "
            f"$.providers.{provider.name}.dialect.",
            status=400,
            code="dialect_mismatch",
        )
    return DIALECTS[into], answered


def target(base_path: str, path: str, query: str) -> str:
    """Join a base URL's path and a request's, with one version between them however many the two have.

    >>> target("/v1", "/v1/models", "?a=1")
    '/v1/models?a=1'
    >>> target("", "/v1/v1/models", "")
    '/v1/models'
    >>> target("/openai/v1", "/models", "")
    '/openai/v1/models'
    >>> target("/v1beta", "/v1alpha/models/m:generateContent", "")
    '/v1alpha/models/m:generateContent'
    """
    if _GOOGLE_VERSION.match(path):
        return _google_target(base_path, path, query)
    bare = _VERSIONS.sub("", path)
    if bare == path or _VERSION_END.search(base_path):
        return base_path + bare + query
    return f"{base_path}/v1{bare}{query}"
