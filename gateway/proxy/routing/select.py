"""Whom a request may be sent to: whom its options name, an alias, or where its model or path leads to. Pure."""

import random
from collections.abc import Callable

from msgspec import structs

from gateway.dialects.wire.edit import Peek
from gateway.errors import ExchangeError, Kind
from gateway.providers.http.client import Origin
from gateway.providers.table import Provider
from gateway.proxy.routing.aliases import (
    OF_THE_REQUEST,
    Candidate,
    by_name,
    keyed,
    ordered,
    prefixed,
    unknown,
    with_key,
)
from gateway.proxy.routing.request_options import NONE, Named, Options
from gateway.proxy.routing.routes import ParsedPath, asked_model, found, names_a_model
from gateway.proxy.routing.runtime import RuntimeConfig

Latency = Callable[[Candidate], float | None]


def candidates(
    where: ParsedPath, seen: Peek, options: Options, setup: RuntimeConfig, latency: Latency, rng: random.Random
) -> tuple[Candidate, ...]:
    """Return whom to ask, in the order in which to ask them. Raises ExchangeError where nobody can be.

    `latency`: seconds to a candidate's first byte, as observed.
    """
    if options is NONE:
        return _plainly(asked_model(where, seen), where, setup, latency, rng)
    _check(options, where, setup)
    return _asked_for(where, seen, options, setup, latency, rng)


def _plainly(
    model: str | None, where: ParsedPath, setup: RuntimeConfig, latency: Latency, rng: random.Random
) -> tuple[Candidate, ...]:
    """Return whom a model and a path lead to."""
    if where.provider is not None:
        return (Candidate(providers=keyed(where.provider)),)
    if model is not None and _is_alias(model, where, setup):
        alias = setup.aliases[model]
        return ordered(alias.candidates, alias.order, latency, rng)
    provider, rename = found(model, where, setup.providers)
    return (Candidate(providers=keyed(provider), model=rename),)


def _is_alias(model: str | None, where: ParsedPath, setup: RuntimeConfig) -> bool:
    return model in setup.aliases and where.provider is None and names_a_model(where)


def _check(options: Options, where: ParsedPath, setup: RuntimeConfig) -> None:
    """Raise ExchangeError for options that are not allowed, or do not fit the path."""
    allowed = setup.config.requests
    if options.override_url is not None and not allowed.override_url:
        raise _refused("override_url", "say where they are sent", "$.requests.override_url")
    if (options.api_key or any(each.api_key for each in options.models)) and not allowed.api_keys:
        raise _refused("api_key", "bring a key as an option", "$.requests.api_keys")
    if where.provider is not None and (options.provider or options.models):
        raise ExchangeError(
            Kind.BAD_INPUT,
            f"The path names the provider {where.provider.name!r} already; leave out the option "
            f"{'models' if options.models else 'provider'!r}, or send the request to /v1/...",
            code="bad_option",
        )


def _refused(option: str, what: str, setting: str) -> ExchangeError:
    return ExchangeError(
        Kind.BAD_INPUT,
        f"The request has the option {option!r}, and requests may not {what} here (setting: {setting}).",
        code="option_not_allowed",
    )


def _asked_for(
    where: ParsedPath, seen: Peek, options: Options, setup: RuntimeConfig, latency: Latency, rng: random.Random
) -> tuple[Candidate, ...]:
    """Return whom the options ask for: `models`, else an alias, else the named provider, else whose the model is."""
    asked = options.model or asked_model(where, seen)
    if options.models:
        made = tuple(_named(each, options, setup) for each in options.models)
        chosen = ordered(made, "random" if options.random_choice else "listed", latency, rng)
    elif options.provider is not None and not _is_alias(asked, where, setup):
        provider = _known(options.provider, setup)
        # As the provider's own prefix would be taken off where the model alone leads to it.
        by_prefix = prefixed(asked, {provider.name: provider}) if asked else None
        rename = by_prefix[1] if by_prefix is not None and by_prefix[1] else options.model
        chosen = (Candidate(providers=keyed(provider), model=rename),)
    elif options.model is None:
        chosen = _plainly(asked, where, setup, latency, rng)
    else:
        chosen = tuple(
            each if each.model is not None else structs.replace(each, model=options.model)
            for each in _plainly(options.model, where, setup, latency, rng)
        )
    if options.api_key is not None:
        chosen = tuple(_shown(each, options.api_key) for each in chosen)
    return chosen if options.override_url is None else tuple(_moved(each, options) for each in chosen)


def _named(said: Named, options: Options, setup: RuntimeConfig) -> Candidate:
    """Return one of the models that a request lists."""
    if not said.model:
        raise ExchangeError(Kind.BAD_INPUT, "The option 'models' has an entry with an empty model.", code="bad_option")
    name = options.provider if said.provider is None else said.provider
    if name is not None:
        provider, model = _known(name, setup), said.model
    else:
        found_by = by_name(said.model, setup.providers)
        if found_by is None or not found_by[1]:
            raise ExchangeError(
                Kind.BAD_INPUT,
                f"No provider is known for the model {said.model!r}; name one in the option 'models'.",
                code="unknown_provider",
            )
        provider, model = found_by
    if said.api_key is not None:
        return Candidate(providers=(with_key(provider, OF_THE_REQUEST, said.api_key),), model=model)
    if said.api_key_name is None:
        return Candidate(providers=keyed(provider), model=model)
    if said.api_key_name not in setup.keys:
        raise ExchangeError(
            Kind.BAD_INPUT,
            f"In the option 'models': {unknown('key', said.api_key_name, setup.keys)} (setting: $.api_keys).",
            code="unknown_key",
        )
    return Candidate(providers=(with_key(provider, said.api_key_name, setup.keys[said.api_key_name]),), model=model)


def _known(name: str, setup: RuntimeConfig) -> Provider:
    provider = setup.providers.get(name)
    if provider is None:
        raise ExchangeError(
            Kind.BAD_INPUT, f"{unknown('provider', name, setup.providers).capitalize()}.", code="unknown_provider"
        )
    return provider


def _shown(candidate: Candidate, key: str) -> Candidate:
    return structs.replace(candidate, providers=(with_key(candidate.provider, OF_THE_REQUEST, key),))


def _moved(candidate: Candidate, options: Options) -> Candidate:
    """Return a candidate at the URL that the request names: it is shown no key or header of ours."""
    url, mark, query = (options.override_url or "").strip().partition("?")
    try:
        origin, path = Origin.from_url(url)
    except ValueError as error:
        raise ExchangeError(Kind.BAD_INPUT, f"The option 'override_url': {error}.", code="bad_option") from None
    own = candidate.provider
    key = options.api_key or (own.key if own.key_name == OF_THE_REQUEST else None)
    provider = structs.replace(
        own,
        origin=origin,
        only_target=(path or "/") + mark + query,
        headers=(),
        key=key,
        keys=(),
        key_name=None if key is None else OF_THE_REQUEST,
        environment_key=None,
        key_sent="bearer" if own.key_sent in {"sigv4", "google"} else own.key_sent,
        key_sent_to={},
    )
    return structs.replace(candidate, providers=(provider,))
