"""The candidates of a request: of its options, of an alias, or the provider of its model or path. Pure."""

from msgspec import structs

from gateway.config.model import Order
from gateway.errors import ExchangeError, Kind
from gateway.providers.audience import without_keys
from gateway.providers.http.origin import Origin
from gateway.providers.http.tls import TlsFiles
from gateway.providers.table import Provider
from gateway.proxy.routing.aliases import (
    OF_THE_REQUEST,
    Candidate,
    CandidateList,
    by_name,
    keyed,
    prefixed,
    unknown,
    with_key,
)
from gateway.proxy.routing.context import RequestContext, RuntimeConfig
from gateway.proxy.routing.request_options import NONE, Named, Options
from gateway.proxy.routing.routes import ParsedPath, found, names_a_model


def select(context: RequestContext) -> CandidateList:
    """Return the candidates of a request and their order. Raises ExchangeError if there are none."""
    if context.options is NONE:
        return _by_model(context.named_model, context)
    _check(context.options, context.path, context.runtime)
    return _by_options(context)


def _by_model(model: str | None, context: RequestContext) -> CandidateList:
    """Return the candidates that a model and a path lead to."""
    # 1. A provider's mount: that provider.
    # 2. An alias, on a bare path whose body names a model: its candidates.
    # 3. A model with a provider's prefix, or one that a provider claims: that provider.
    # 4. Else the path's default provider; a path that no API is known to have is sent without a key of ours.
    path, runtime = context.path, context.runtime
    if path.provider is not None:
        return CandidateList(candidates=(Candidate(providers=keyed(path.provider)),))
    if not path.known:
        return CandidateList(
            candidates=(Candidate(providers=(without_keys(found(None, path, runtime.providers)[0]),)),)
        )
    if model is not None and _is_alias(model, path, runtime):
        return runtime.aliases[model]
    provider, rename = found(model, path, runtime.providers)
    return CandidateList(candidates=(Candidate(providers=keyed(provider), model=rename),))


def _is_alias(model: str | None, path: ParsedPath, runtime: RuntimeConfig) -> bool:
    return model in runtime.aliases and path.provider is None and names_a_model(path)


def _check(options: Options, path: ParsedPath, runtime: RuntimeConfig) -> None:
    """Raise ExchangeError for options that are not allowed, or do not fit the path."""
    allowed = runtime.config.requests
    if options.override_url is not None and not allowed.override_url:
        raise _refused("override_url", "say where they are sent", "$.requests.override_url")
    if (options.api_key or any(each.api_key for each in options.models)) and not allowed.api_keys:
        raise _refused("api_key", "bring a key as an option", "$.requests.api_keys")
    if path.provider is not None and (options.provider or options.models):
        raise ExchangeError(
            Kind.BAD_INPUT,
            f"The path names the provider {path.provider.name!r} already; leave out the option "
            f"{'models' if options.models else 'provider'!r}, or send the request to /v1/...",
            code="bad_option",
        )


def _refused(option: str, what: str, setting: str) -> ExchangeError:
    return ExchangeError(
        Kind.BAD_INPUT,
        f"The request has the option {option!r}, and requests may not {what} here (setting: {setting}).",
        code="option_not_allowed",
    )


def _by_options(context: RequestContext) -> CandidateList:
    """Return the candidates that options ask for: `models`, else an alias, else a named provider, else the model's."""
    options, runtime, model = context.options, context.runtime, context.model
    order: Order = "listed"
    if options.models:
        order = "random" if options.random_choice else "listed"
        candidates = tuple(_named(each, options, runtime) for each in options.models)
    elif options.provider is not None and not _is_alias(model, context.path, runtime):
        provider = _known(options.provider, runtime)
        # As the provider's own prefix would be removed if the model alone led to it.
        by_prefix = prefixed(model, {provider.name: provider}) if model else None
        rename = by_prefix[1] if by_prefix is not None and by_prefix[1] else options.model
        candidates = (Candidate(providers=keyed(provider), model=rename),)
    else:
        selected = _by_model(model, context)
        order, candidates = selected.order, selected.candidates
        if options.model is not None:
            candidates = tuple(
                each if each.model is not None else structs.replace(each, model=options.model) for each in candidates
            )
    if options.api_key is not None:
        candidates = tuple(_shown(each, options.api_key) for each in candidates)
    if options.override_url is not None:
        candidates = tuple(_moved(each, options) for each in candidates)
    return CandidateList(candidates=candidates, order=order)


def _named(entry: Named, options: Options, runtime: RuntimeConfig) -> Candidate:
    """Return one of the models that a request lists."""
    if not entry.model:
        raise ExchangeError(Kind.BAD_INPUT, "The option 'models' has an entry with an empty model.", code="bad_option")
    name = options.provider if entry.provider is None else entry.provider
    if name is not None:
        provider, model = _known(name, runtime), entry.model
    else:
        found_by = by_name(entry.model, runtime.providers)
        if found_by is None or not found_by[1]:
            raise ExchangeError(
                Kind.BAD_INPUT,
                f"No provider is known for the model {entry.model!r}; name one in the option 'models'.",
                code="unknown_provider",
            )
        provider, model = found_by
    if entry.api_key is not None:
        return Candidate(providers=(with_key(provider, OF_THE_REQUEST, entry.api_key),), model=model)
    if entry.api_key_name is None:
        return Candidate(providers=keyed(provider), model=model)
    if entry.api_key_name not in runtime.keys:
        raise ExchangeError(
            Kind.BAD_INPUT,
            f"In the option 'models': {unknown('key', entry.api_key_name, runtime.keys)} (setting: $.api_keys).",
            code="unknown_key",
        )
    return Candidate(providers=(with_key(provider, entry.api_key_name, runtime.keys[entry.api_key_name]),), model=model)


def _known(name: str, runtime: RuntimeConfig) -> Provider:
    provider = runtime.providers.get(name)
    if provider is None:
        text = unknown("provider", name, runtime.providers)
        raise ExchangeError(Kind.BAD_INPUT, f"{text[:1].upper()}{text[1:]}.", code="unknown_provider")
    return provider


def _shown(candidate: Candidate, key: str) -> Candidate:
    return structs.replace(candidate, providers=(with_key(candidate.provider, OF_THE_REQUEST, key),))


def _moved(candidate: Candidate, options: Options) -> Candidate:
    """Return a candidate at the URL that the request names, which is shown no key or header of ours.

    Nor is it shown the client's, unless it is the provider's own host: a key as an option is meant for it.
    """
    url, mark, query = (options.override_url or "").strip().partition("?")
    try:
        origin, path = Origin.from_url(url)
    except ValueError as error:
        raise ExchangeError(Kind.BAD_INPUT, f"The option 'override_url': {error}.", code="bad_option") from None
    own = candidate.provider
    key = options.api_key or (own.key if own.key_name == OF_THE_REQUEST else None)
    provider = structs.replace(
        without_keys(own),
        origin=origin,
        only_target=(path or "/") + mark + query,
        ways=structs.replace(own.ways, tls=TlsFiles(own.ways.tls.ca_file)),
        key=key,
        key_name=None if key is None else OF_THE_REQUEST,
        takes_client_keys=own.takes_client_keys and (own.takes_any_key or origin == own.origin),
    )
    return structs.replace(candidate, providers=(provider,))
