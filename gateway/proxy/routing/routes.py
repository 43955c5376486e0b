"""Where a request goes: path, headers and model -> provider and upstream target. Pure.

Every provider is mounted at `/{name}/...`; bare paths go by the API they belong to, and a model's prefix (`local/big`)
overrides that. A mounted path says the provider, so its body is never looked into for a prefix. Query strings and the
escapes of a path are kept as they came. Where the provider does not speak the client's dialect, it is translated.
"""

import re
from collections.abc import Mapping
from urllib.parse import unquote

from msgspec import Struct, structs

from gateway.dialects import Dialect
from gateway.dialects.registry import DIALECTS, WRITERS, InPath, by_shape, classify, in_path
from gateway.dialects.wire.edit import Peek
from gateway.errors import ExchangeError, Kind
from gateway.providers.route import Family, Route, _spoken
from gateway.providers.table import Provider
from gateway.proxy.chronicle import requests
from gateway.proxy.routing import urls
from gateway.proxy.routing.aliases import claimed, prefixed

# In whose words a client of each family is told of an error.
SPOKEN_TO = {
    "openai": "openai-chat",
    "anthropic": "anthropic-messages",
    "gemini": "gemini",
    "ollama": "ollama",
    "aws-bedrock": "bedrock-converse",
    "azure-openai": "openai-chat",
    "chronicle": "openai-chat",
}
_FAMILY_OF: dict[str, Family] = {
    "anthropic-messages": "anthropic",
    "gemini": "gemini",
    "ollama": "ollama",
    "bedrock-converse": "aws-bedrock",
}
# What makes a provider known that is nowhere by itself.
_SET_UP = {"azure-openai": "AZURE_OPENAI_ENDPOINT", "aws-bedrock": "AWS_REGION", "vertex": "GOOGLE_CLOUD_PROJECT"}

# Bare paths without /v1, which a client with a base URL without /v1 sends.
_KNOWN = re.compile(
    r"^/+(chat/completions|completions|responses|embeddings|models|messages|moderations|audio|images|files|batches"
    r"|uploads|fine_tuning|vector_stores|assistants|threads|realtime|evals|containers|conversations|videos)(/|$)"
)
_GOOGLES = re.compile(r"^/+(models|tunedModels|projects|publishers)/")
_OLLAMAS = re.compile(r"^/+api/(?!v\d)")
_BEDROCKS = re.compile(r"^/+model/")
# Google's place for OpenAI's clients.
_COMPATIBLE = re.compile(r"^(?:/+v1)?/+v1(?:alpha|beta)/openai(?=/)")


class ParsedPath(Struct, frozen=True, kw_only=True):
    """What the path alone says.

    Attributes:
        provider: The mounted one, if any.
        path: What stands below the mount.
        family: Whose API it is.
        usual: The name of the provider that the bare path goes to.
        dialect: How a request there is read, None where it is only relayed.
        named: What Gemini's, Bedrock's and Azure's paths say, which name their model.

    """

    provider: Provider | None
    path: str
    query: str
    family: Family
    usual: str
    dialect: Dialect | None
    named: InPath | None = None


def place(
    method: str, raw_target: str, anthropic_client: bool, providers: Mapping[str, Provider], chronicles: bool = False
) -> ParsedPath:
    """Read the path. Raises ExchangeError for one that belongs to no provider. `chronicles`: its client says so."""
    path, mark, query = raw_target.partition("?")
    head, slash, tail = path.lstrip("/").partition("/")
    if requests.is_chat(method, path, speaks=chronicles):
        chat = DIALECTS["openai-chat"]
        return ParsedPath(provider=None, path=requests.PATH, query="", family="chronicle", usual="openai", dialect=chat)
    deployment = urls.deployment(urls.bare(path))
    mounted = providers.get(head) if deployment is None else None
    if deployment is not None:
        path = urls.bare(path)
    elif mounted is not None:
        path = slash + tail
        deployment = urls.deployment(path)
    compatible = _COMPATIBLE.match(path) if mounted is None or "gemini" in mounted.dialects else None
    if compatible is not None:
        path = path[compatible.end() :]
    named = in_path(method, path)
    dialect = classify(method, path) if named is None else named.dialect
    family = "azure-openai" if deployment is not None else _family(path, dialect, named, mounted, anthropic_client)
    if family is None:
        mounts = ", ".join(f"/{name}/" for name in providers)
        raise ExchangeError(
            Kind.NOT_FOUND,
            f"The gateway has no route for {method} {path}. Use /v1/... or a provider's mount: {mounts}. "
            "The gateway's own pages are below /-/.",
            code="unknown_path",
        )
    usual = "vertex" if urls.in_project(path) else "gemini" if compatible is not None else family
    if deployment is not None:
        named = InPath("openai-chat", dialect, unquote(deployment[0]))
    if named is not None and not named.model.isascii():  # bytes that are no text are no name either
        named = structs.replace(named, model=named.model.encode("utf-8", "replace").decode())
    return ParsedPath(
        provider=mounted,
        path=path,
        query=mark + query,
        family=family,
        usual=usual,
        dialect=dialect,
        named=named,
    )


def _family(
    path: str, dialect: Dialect | None, named: InPath | None, mounted: Provider | None, anthropic_client: bool
) -> Family | None:
    """Return whose API a path belongs to, None where it is nobody's."""
    spoken = named.spoken if named is not None else _spoken(dialect)
    bare = urls.bare(path)
    speaks = None if mounted is None else mounted.dialects
    if urls.googles(path) or (spoken == "gemini" and (mounted is not None or _GOOGLES.match(bare))):
        return "gemini"
    # Below a mount a path is another API's only where it was read as such, or the provider has it.
    for api, begins in (("ollama", _OLLAMAS), ("bedrock-converse", _BEDROCKS)):
        said = spoken == api if mounted is not None else False
        if said or (spoken in {api, None} and begins.match(bare) and (speaks is None or api in speaks)):
            return _FAMILY_OF[api]
    misplaced = spoken in _FAMILY_OF and spoken != "anthropic-messages"
    if mounted is None and (misplaced or (bare == path and _KNOWN.match(path) is None)):
        return None
    if spoken == "anthropic-messages" or bare.startswith("/messages"):
        return "anthropic"
    if spoken is None and speaks is not None and len(speaks) == 1:
        return _FAMILY_OF.get(speaks[0], "openai")
    return "anthropic" if spoken is None and anthropic_client else "openai"


def choose(where: ParsedPath, seen: Peek, provider: Provider, rename: str | None) -> Route:
    """Say how a provider is asked. `rename`: the model there, where it is another than the request says.

    Raises ExchangeError where the provider cannot be asked so.
    """
    named = where.named
    model = asked_model(where, seen)
    rename = None if rename == model else rename
    dialect = where.dialect if where.dialect is None else by_shape(where.dialect, seen)
    sent, reply = _translated(where, dialect, provider)
    by_path = named is not None and (where.family != "azure-openai" or provider.name == "azure-openai")
    path = where.path
    if rename is not None and named is not None and by_path:
        path = urls.with_model(path, named.spoken, rename)
    return Route(
        provider=provider,
        target=_target(where, path, provider, dialect),
        family=where.family,
        dialect=dialect,
        response_dialect=reply,
        translated_to=sent,
        model=model,
        stream=seen.stream or (named is not None and named.stream),
        rename=rename,
        by_path=by_path,
        addressed=where.provider is not None or provider.name == where.usual,
    )


def asked_model(where: ParsedPath, seen: Peek) -> str | None:
    """Return the model that a request names, in its path or its body."""
    return seen.model if where.named is None else where.named.model


def _target(where: ParsedPath, path: str, provider: Provider, dialect: Dialect | None) -> str:
    """Return the target of a request that is sent as it came."""
    if provider.only_target is not None:
        return provider.only_target
    said = _joined(where, path, provider, dialect)
    return said if said.startswith("/") else f"/{said}"  # the mount alone


def _joined(where: ParsedPath, path: str, provider: Provider, dialect: Dialect | None) -> str:
    query = where.query
    base = provider.paths.get(_spoken(dialect) or SPOKEN_TO[where.family])
    if provider.name == "azure-openai" and path.startswith("/openai/") and not path.startswith("/openai/v1/"):
        return urls.azure(base or provider.base_path, path) + query
    if (called := urls.deployment(path)) is not None and where.provider is None:  # another provider has none
        path, query = f"/{called[1]}", ""
    if provider.loose and base in {None, f"{provider.base_path}/v1"}:
        return urls.loose(provider.base_path, path) + query
    base = provider.base_path if base is None else base
    if where.family == "gemini" or urls.in_project(path):
        return urls.google(base, path) + query
    if dialect is None and where.family in {"openai", "anthropic"} and not urls.versioned(base):
        return urls.loose(base, path) + query
    return urls.join(base, path) + query


def found(model: str | None, where: ParsedPath, providers: Mapping[str, Provider]) -> tuple[Provider, str | None]:
    """Return the provider that a bare path's model is of, and the model without its prefix where it has one.

    Raises ExchangeError where the path's own provider would be it and is not set up.
    """
    usual = providers.get(where.usual)
    # In a project's path that is only relayed the publisher's name is no prefix.
    if model and (where.dialect is not None or where.usual != "vertex"):
        by_prefix = prefixed(model, providers)
        if by_prefix is not None:
            if not by_prefix[1]:
                raise ExchangeError(
                    Kind.BAD_INPUT,
                    f"The model {model!r} is only a prefix; write {model}NAME.",
                    status=400,
                    code="model_not_found",
                )
            return by_prefix
        its_own = usual is not None and not usual.as_built_in and where.family != "chronicle"
        if _may_be_claimed(model, where) and not its_own:
            claims = claimed(model, providers)
            if claims and usual not in claims:
                return claims[0], None
    if usual is None:
        variable = _SET_UP.get(where.usual)
        raise ExchangeError(
            Kind.NOT_FOUND,
            f"{where.path} goes to the provider {where.usual!r}, which is not set up: "
            + (f"set {variable} where the gateway runs, or " if variable else "")
            + f"write base_url below [providers.{where.usual}] in gateway.toml.",
            code="unknown_provider",
        )
    return usual, None


def _may_be_claimed(model: str, where: ParsedPath) -> bool:
    """Whether a model that is another maker's by its name is meant to be that.

    A provider whose address was set knows its own models, except to chronicle's clients, who always mean the claimant.
    Azure's deployments have any name, and so have Ollama's tags.
    """
    if where.family == "azure-openai" or (where.family == "ollama" and ":" in model):
        return False
    return names_a_model(where)


def names_a_model(where: ParsedPath) -> bool:
    """Whether the body of a request is known to name its model."""
    return where.dialect is not None or where.path.rstrip("/").endswith("/count_tokens")


def _translated(where: ParsedPath, dialect: Dialect | None, provider: Provider) -> tuple[Dialect | None, str | None]:
    """Return the dialect to translate a request into, and the one to answer in; None twice where it passes as it is."""
    if dialect is None or where.dialect is None:
        named = where.named
        if named is not None and where.provider is None and named.spoken not in provider.dialects:
            raise _mismatch(where, named.spoken, provider)
        return None, None
    spoken, answered = _spoken(dialect), _spoken(where.dialect)
    if spoken in provider.dialects and spoken == answered:
        return None, None
    into = next((name for name in (spoken, *provider.dialects) if name in provider.dialects and name in WRITERS), None)
    if dialect.read_conversation is None or into is None or answered not in WRITERS:
        raise _mismatch(where, spoken, provider)
    return DIALECTS[into], answered


def _mismatch(where: ParsedPath, spoken: str | None, provider: Provider) -> ExchangeError:
    return ExchangeError(
        Kind.BAD_INPUT,
        f"The provider {provider.name!r} speaks {', '.join(provider.dialects)}, not {spoken}, which "
        f"{where.path} is and which cannot be translated; send the request in its dialect, or set "
        f"$.providers.{provider.name}.dialect.",
        status=400,
        code="dialect_mismatch",
    )
