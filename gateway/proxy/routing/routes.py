"""Routes: the path, headers and model of a request -> a provider and the target there. Pure.

Every provider is mounted at `/{name}/...`; a bare path belongs to an endpoint, whose default provider a model's prefix
(`local/big`) overrides. A mounted path names the provider, so its body is not searched for a prefix. Query strings and
the escapes of a path are unchanged. A request in a dialect that the provider does not speak is translated.
"""

from collections.abc import Mapping

from msgspec import Struct, structs

from gateway.dialects import Dialect
from gateway.dialects.endpoint import Endpoint, Headers, PathOperation, PathPrefix, TokenCount, bare
from gateway.dialects.registry import (
    DIALECTS,
    ENDPOINTS,
    TABLES,
    WRITERS,
    by_headers,
    by_shape,
    classify,
    has_resource,
    in_path,
    token_count,
)
from gateway.dialects.wire.edit import Peek
from gateway.errors import ExchangeError, Kind
from gateway.providers.catalog import CATALOG
from gateway.providers.http.origin import climbs
from gateway.providers.route import Route
from gateway.providers.table import Provider
from gateway.proxy.routing import urls
from gateway.proxy.routing.aliases import claimed, prefixed


class ParsedPath(Struct, frozen=True, kw_only=True):
    """A request's path, read.

    Attributes:
        provider: The mounted one, if any.
        path: The path below the mount.
        endpoint: The API that the path belongs to.
        default_provider: The name of the provider that the bare path leads to.
        dialect: The reader of the request; None if it is only relayed.
        named: The operation, if the path names its model.
        prefix: The place in another API at which the dialect is spoken, and that API; it is in `path` unless stripped.
        counts: The counting operation, if the path is one.
        known: Whether an API is known to have the path. A provider's mount takes any path.

    """

    provider: Provider | None
    path: str
    query: str
    endpoint: Endpoint
    default_provider: str
    dialect: Dialect | None
    named: PathOperation | None = None
    prefix: tuple[PathPrefix, Endpoint] | None = None
    counts: TokenCount | None = None
    known: bool = True

    @property
    def whole(self) -> bool:
        """Whether the path is sent as it is, since it lies in a place of another API."""
        return self.prefix is not None and not self.prefix[0].stripped


# A provider's mount and a version, which are no part of the path below its base URL.
_PREFIX_SEGMENTS = 2


def parse_path(method: str, raw_target: str, headers: Headers, providers: Mapping[str, Provider]) -> ParsedPath:
    """Read a path. One that is not known as an API's is `unknown_paths.settle`'s to decide on.

    Raises ExchangeError for one that could leave a provider's base URL.
    """
    path, mark, query = raw_target.partition("?")
    if climbs(path, _PREFIX_SEGMENTS):
        raise leaves_prefix("The path")
    for each in TABLES.claiming:
        if each.claims is not None and (sent := each.claims(method, path, headers)) is not None:
            return ParsedPath(
                provider=None,
                path=sent,
                query="",
                endpoint=each,
                default_provider=each.provider,
                dialect=classify(method, sent),
            )
    mounted = None
    if _reserved(method, path):
        path = bare(path)
    else:
        head, slash, tail = path.lstrip("/").partition("/")
        mounted = providers.get(head)
        path = path if mounted is None else slash + tail
    prefix = next(
        (
            (each, endpoint)
            for each, endpoint in TABLES.prefixes
            if each.pattern.match(path) and (mounted is None or not each.stripped or endpoint.name in mounted.dialects)
        ),
        None,
    )
    if prefix is not None and prefix[0].stripped:
        path = prefix[0].pattern.sub("", path, 1)
    named = in_path(method, path)
    dialect = classify(method, path) if named is None else named.dialect
    whole = prefix is not None and not prefix[0].stripped
    endpoint = _endpoint(path, dialect, named, mounted, headers, whole=whole)
    known = endpoint is not None and (mounted is not None or whole or has_resource(endpoint, path))
    endpoint = endpoint or by_headers(headers)
    if named is not None and not named.model.isascii():  # bytes that are no text are no name either
        named = structs.replace(named, model=named.model.encode("utf-8", "replace").decode())
    return ParsedPath(
        provider=mounted,
        path=path,
        query=mark + query,
        endpoint=endpoint,
        default_provider=endpoint.provider if prefix is None else prefix[0].provider,
        dialect=dialect,
        named=named,
        prefix=prefix,
        counts=token_count(method, path) if named is None else None,
        known=known,
    )


def leaves_prefix(subject: str) -> ExchangeError:
    """Return the error for a path that could be resolved to one above the provider's base URL."""
    return ExchangeError(
        Kind.BAD_INPUT,
        f"{subject} has a segment .., by which it could leave the provider's base URL; write the path without it.",
        status=400,
        code="bad_path",
    )


def _reserved(method: str, path: str) -> bool:
    """Whether a path is an operation that comes before the mounts."""
    path = bare(path)
    return any(each.read_path is not None and each.read_path(method, path) is not None for each in TABLES.reserved)


def _endpoint(
    path: str,
    dialect: Dialect | None,
    named: PathOperation | None,
    mounted: Provider | None,
    headers: Headers,
    *,
    whole: bool,
) -> Endpoint | None:
    """Return the endpoint that a path belongs to; None if it belongs to none.

    `path` is below the mount and without a stripped prefix, `dialect` reads its operation. `whole`: it lies in a place
    of another API.
    """
    # 1. An operation that comes before the mounts (Azure's deployments), or is named in a place of another API (Claude
    #    on Vertex): its endpoint.
    # 2. A version that one API alone has (`/v1beta`): that endpoint.
    # 3. An operation of an API whose paths are not below /v1: that endpoint, if the path is below a mount or begins as
    #    that API's do; else none.
    # 4. No operation, but a path that begins as that of such an API does: that endpoint, unless the mounted provider
    #    does not speak it.
    # 5. No mount, no /v1, and no beginning that is known without it: none.
    # 6. An operation of an API below /v1: that endpoint.
    # 7. No operation, but a beginning that one API below /v1 alone has (`/messages`): that endpoint.
    # 8. No operation, below the mount of a provider that speaks one dialect: that endpoint.
    # 9. No operation: the endpoint whose required header the client sends, else the default one.
    operation = named.endpoint if named is not None else dialect.spoken if dialect is not None else None
    own = ENDPOINTS[operation] if operation is not None else None
    if own is not None and (own.reserved or (whole and named is not None)):
        return own
    for each in TABLES.versioned:
        if each.version is not None and each.version.match(path):
            return each
    rest = bare(path)
    if own is not None and not own.below_v1:
        begins = own.paths is not None and own.paths.match(rest) is not None
        return own if mounted is not None or begins else None
    speaks = None if mounted is None else mounted.dialects
    if own is None:
        for each in TABLES.rooted:
            if _begins(each, rest) and (speaks is None or each.dialect in speaks):
                return each
    if mounted is None and rest == path and not any(_begins(each, path) for each in TABLES.known):
        return None
    if own is not None:
        return own
    for each in TABLES.below_v1:
        if _begins(each, rest):
            return each
    if speaks is not None and len(speaks) == 1:
        return ENDPOINTS[speaks[0]]
    return by_headers(headers)


def _begins(endpoint: Endpoint, path: str) -> bool:
    return endpoint.paths is not None and endpoint.paths.match(path) is not None


def choose(parsed: ParsedPath, peeked: Peek, provider: Provider, rename: str | None) -> Route:
    """Return the route to a provider. `rename`: the model there, if it is another than the request's.

    Raises ExchangeError if the provider cannot be sent such a request.
    """
    named = parsed.named
    model = named_model(parsed, peeked)
    rename = None if rename == model else rename
    dialect = parsed.dialect if parsed.dialect is None else by_shape(parsed.dialect, peeked)
    sent, reply = _translated(parsed, dialect, provider)
    spoken = dialect is not None and (sent is not None or dialect.spoken in provider.dialects)
    own = parsed.endpoint.elsewhere is None or provider.name == parsed.endpoint.provider
    by_path, path = named is not None and own, parsed.path
    if rename is not None and named is not None and by_path:
        write_path = ENDPOINTS[named.endpoint].write_path
        path = path if write_path is None else write_path(path, rename)
    return Route(
        provider=provider,
        target=_target(parsed, path, provider, dialect if spoken else None),
        endpoint=parsed.endpoint,
        dialect=dialect,
        response_dialect=reply,
        translated_to=sent,
        model=model,
        stream=peeked.stream or (named is not None and named.stream),
        rename=rename,
        by_path=by_path,
        addressed=parsed.provider is not None or provider.name == parsed.default_provider,
    )


def named_model(parsed: ParsedPath, peeked: Peek) -> str | None:
    """Return the model that a request names in its path or its body."""
    return peeked.model if parsed.named is None else parsed.named.model or peeked.model


def _target(parsed: ParsedPath, path: str, provider: Provider, dialect: Dialect | None) -> str:
    """Return the target of a request that is not translated."""
    if provider.only_target is not None:
        return provider.only_target
    joined = _joined(parsed, path, provider, dialect)
    return joined if joined.startswith("/") else f"/{joined}"  # the mount alone


def _joined(parsed: ParsedPath, path: str, provider: Provider, dialect: Dialect | None) -> str:
    # How a path is joined to the provider's base path:
    # 1. A path below the provider's root (Azure's `/openai/`) has all that is below the host.
    # 2. A provider that lacks the endpoint's own paths gets the operation's usual one, without the query.
    # 3. A base URL without a version: the request's own path has one, or none.
    # 4. An API with rules of its own for versions (Google's), or a path that lies in its place: by those rules.
    # 5. A path below /v1 that is not read, and a base path without a version: the version stays.
    # 6. Else below the dialect's base path, each part once.
    endpoint, query = parsed.endpoint, parsed.query
    base = provider.paths.get(dialect.spoken if dialect is not None else endpoint.dialect)
    root = provider.root
    if root and (rooted := urls.below_root(base or provider.base_path, path, root)) is not None:
        return rooted + query
    if endpoint.elsewhere is not None and parsed.provider is None:
        path, query = endpoint.elsewhere(path), ""
    if provider.loose and base in {None, f"{provider.base_path}/v1"}:
        if endpoint.bare_base and _begins(endpoint, path):
            path = f"/v1{path}"
        return urls.loose(provider.base_path, path) + query
    base = provider.base_path if base is None else base
    join = parsed.prefix[1].join if parsed.prefix is not None and parsed.whole else endpoint.join
    if join is not None:
        return join(base, path) + query
    if dialect is None and endpoint.below_v1 and not urls.versioned(base):
        return urls.loose(base, path) + query
    return urls.join(base, path) + query


def found(model: str | None, parsed: ParsedPath, providers: Mapping[str, Provider]) -> tuple[Provider, str | None]:
    """Return the provider that a bare path's model leads to, and the model without its prefix if it has one.

    Raises ExchangeError if that is the path's default provider and it has no address.
    """
    default = providers.get(parsed.default_provider)
    # In a whole path that is only relayed a publisher's name is no prefix.
    if model and (parsed.dialect is not None or not parsed.whole):
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
        # A default provider with an address of one's own knows its models, unless the API's clients mean the claimant.
        moved = default is not None and not default.as_built_in and not parsed.endpoint.prefers_claims
        if not moved and names_a_model(parsed) and not _private(model, parsed.endpoint):
            claims = claimed(model, providers)
            if claims and default not in claims:
                return claims[0], None
    if default is None:
        entry = CATALOG.get(parsed.default_provider)
        variable = entry.located_by if entry is not None else None
        raise ExchangeError(
            Kind.NOT_FOUND,
            f"{parsed.path} goes to the provider {parsed.default_provider!r}, which is not set up: "
            + (f"set {variable} where the gateway runs, or " if variable else "")
            + f"write base_url below [providers.{parsed.default_provider}] in gateway.toml.",
            code="unknown_provider",
        )
    return default, None


def _private(model: str, endpoint: Endpoint) -> bool:
    return endpoint.private_model is not None and endpoint.private_model(model)


def names_a_model(parsed: ParsedPath) -> bool:
    """Whether the body of a request is known to name its model."""
    return parsed.dialect is not None or parsed.counts is not None


def _translated(parsed: ParsedPath, dialect: Dialect | None, provider: Provider) -> tuple[Dialect | None, str | None]:
    """Return the dialect to translate a request into, and the one to answer in; None twice if it is relayed."""
    if dialect is None or parsed.dialect is None:
        named = parsed.named
        spoken = ENDPOINTS[named.endpoint].dialect if named is not None else None
        if spoken is not None and parsed.provider is None and spoken not in provider.dialects:
            raise _mismatch(parsed, spoken, provider)
        return None, None
    spoken, answered = dialect.spoken, parsed.dialect.spoken
    if spoken in provider.dialects and spoken == answered:
        return None, None
    into = next((name for name in (spoken, *provider.dialects) if name in provider.dialects and name in WRITERS), None)
    if parsed.provider is not None and dialect.trace_only:  # below a mount the provider decides
        return None, None
    if dialect.read_conversation is None or into is None or answered not in WRITERS:
        raise _mismatch(parsed, spoken, provider)
    return DIALECTS[into], answered


def _mismatch(parsed: ParsedPath, spoken: str | None, provider: Provider) -> ExchangeError:
    return ExchangeError(
        Kind.BAD_INPUT,
        f"The provider {provider.name!r} speaks {', '.join(provider.dialects)}, not {spoken}, which "
        f"{parsed.path} is and which cannot be translated; send the request in its dialect, or set "
        f"$.providers.{provider.name}.dialect.",
        status=400,
        code="dialect_mismatch",
    )
