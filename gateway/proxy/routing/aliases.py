"""Candidates: a provider with a model and a key, and the aliases that name lists of them. Pure.

An alias's candidate names its provider, or is a model as a request would name it: another alias (replaced by its
candidates, in their listed order), a name with a provider's prefix, or one that a provider claims as its own.
"""

import difflib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct, structs

from gateway.config.model import Alias, Order
from gateway.config.model import Candidate as Settings
from gateway.errors import ConfigError, ExchangeError
from gateway.providers.route import Route
from gateway.providers.table import Provider

OF_THE_REQUEST = "of the request"
"""The name of a key that a request brought as an option."""

Id = tuple[str, str | None]
"""A candidate whatever its key: its provider's name and its model."""


class Candidate(Struct, frozen=True, kw_only=True):
    """A provider, the model there, and the keys to show it.

    Attributes:
        providers: The provider, once for each of its keys.
        model: As the provider knows it; None if the request names it so.
        route: The route of one request to it, once that is decided.
        refusal: The reason why the request cannot be sent to it.

    """

    providers: tuple[Provider, ...]
    model: str | None = None
    weight: float = 1.0
    route: Route | None = None
    refusal: ExchangeError | None = None

    @property
    def provider(self) -> Provider:
        """The provider, with the first of its keys."""
        return self.providers[0]

    def id(self, requested: str | None) -> Id:
        """Return the candidate's identity. `requested`: the model that the request names."""
        own = self.provider
        # At a URL that a request named, the provider's own health is not observed.
        name = own.name if own.only_target is None else f"{own.name} at {own.url}{own.only_target}"
        return name, self.model or requested


class CandidateList(Struct, frozen=True, kw_only=True):
    """Candidates, and the order in which they are tried."""

    candidates: tuple[Candidate, ...]
    order: Order = "listed"


def keyed(provider: Provider) -> tuple[Provider, ...]:
    """Return a provider once for each of its keys; as it is if it has one or none."""
    if len(provider.keys) < 2:
        return (provider,)
    return tuple(
        structs.replace(provider, key=key, key_name=f"{provider.name}#{number}")
        for number, key in enumerate(provider.keys, 1)
    )


def prefixed(model: str, providers: Mapping[str, Provider]) -> tuple[Provider, str] | None:
    """Return whose prefix a model's name has, the longest counts, and the name without it."""
    having = [(p, each) for each in providers.values() for p in each.prefixes if model.startswith(p)]
    if not having:
        return None
    prefix, provider = max(having, key=lambda pair: (len(pair[0]), not pair[1].as_built_in))
    return provider, model.removeprefix(prefix)


def claimed(model: str, providers: Mapping[str, Provider]) -> list[Provider]:
    """Return the providers that claim a model's name as their own."""
    return [each for each in providers.values() if each.claims(model)]


def by_name(model: str, providers: Mapping[str, Provider]) -> tuple[Provider, str] | None:
    """Return whose a model is by its name alone, a prefix before a claim, and its name there ("": a mere prefix)."""
    claims = claimed(model, providers)
    return prefixed(model, providers) or ((claims[0], model) if claims else None)


def resolve(
    aliases: Mapping[str, Alias], keys: Mapping[str, str], providers: Mapping[str, Provider]
) -> dict[str, CandidateList]:
    """Return the candidates of each alias. Raises ConfigError, naming the path, for an alias that has none."""
    found: dict[str, tuple[Candidate, ...]] = {}
    for name in aliases:
        _resolve(name, (), aliases, keys, providers, found)
    return {name: CandidateList(candidates=found[name], order=alias.order) for name, alias in aliases.items()}


def _resolve(
    name: str,
    within: tuple[str, ...],
    aliases: Mapping[str, Alias],
    keys: Mapping[str, str],
    providers: Mapping[str, Provider],
    found: dict[str, tuple[Candidate, ...]],
) -> tuple[Candidate, ...]:
    if name in found:
        return found[name]
    path = f"$.aliases.{name}.candidates"
    if name in within:
        circle = " -> ".join((*within[within.index(name) :], name))
        raise ConfigError(f"{path}: the aliases go in a circle ({circle}); take one of them out")
    if not aliases[name].candidates:
        raise ConfigError(f"{path}: the alias has no models; name one, or take the alias out")
    made: list[Candidate] = []
    for index, each in enumerate(aliases[name].candidates):
        settings = Settings(model=each) if isinstance(each, str) else each
        if settings.provider is None and settings.model in aliases:
            inner = _resolve(settings.model, (*within, name), aliases, keys, providers, found)
            if settings.api_key_name is not None:
                raise ConfigError(
                    f"{path}[{index}].api_key_name: {settings.model!r} is an alias, whose candidates have the keys"
                )
            whole = sum(one.weight for one in inner)
            made += [structs.replace(one, weight=settings.weight * one.weight / whole) for one in inner]
        else:
            made.append(_resolved(f"{path}[{index}]", settings, keys, providers))
    found[name] = tuple(made)
    return found[name]


def _resolved(path: str, settings: Settings, keys: Mapping[str, str], providers: Mapping[str, Provider]) -> Candidate:
    if not settings.model:
        raise ConfigError(f"{path}.model is empty; name the model as the provider knows it")
    if settings.provider is not None:
        provider = providers.get(settings.provider)
        if provider is None:
            raise ConfigError(f"{path}.provider: {unknown('provider', settings.provider, providers)}")
        model = settings.model
    else:
        found = by_name(settings.model, providers)
        if found is None:
            raise ConfigError(
                f"{path}: no provider is known for the model {settings.model!r}; write "
                f'{{provider = "...", model = "{settings.model}"}}, or a name with a prefix'
            )
        provider, model = found
        if not model:
            raise ConfigError(f"{path}: {settings.model!r} is only a prefix; write {settings.model}NAME")
    if settings.api_key_name is None:
        return Candidate(providers=keyed(provider), model=model, weight=settings.weight)
    if settings.api_key_name not in keys:
        raise ConfigError(f"{path}.api_key_name: {unknown('key', settings.api_key_name, keys)}")
    return Candidate(
        providers=(with_key(provider, settings.api_key_name, keys[settings.api_key_name]),),
        model=model,
        weight=settings.weight,
    )


def with_key(provider: Provider, name: str, key: str) -> Provider:
    """Return a provider that is shown this key and no other."""
    return structs.replace(provider, key=key, keys=(), key_name=name, takes_client_keys=False)


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return an error text for an unknown name, with the closest known one."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}"
    return f"there is no {what} {name!r}; {hint}"


def ordered(
    candidates: Sequence[Candidate], order: Order, latency: Callable[[Candidate], float | None], rng: random.Random
) -> tuple[Candidate, ...]:
    """Return candidates in the order in which they are tried.

    "random" begins the list at a random place; "weighted" draws one after the other by weight; "fastest" begins with
    those that were never tried, and goes on with the quickest. `latency`: mean seconds to the first byte, if known.
    """
    listed = tuple(candidates)
    if len(listed) < 2 or order == "listed":
        return listed
    if order == "random":
        start = rng.randrange(len(listed))
        return listed[start:] + listed[:start]
    if order == "weighted":
        # The order of these draws is that of drawing one after the other without putting back (Efraimidis, Spirakis).
        return tuple(sorted(listed, key=lambda each: -(rng.random() ** (1.0 / each.weight))))
    return tuple(sorted(listed, key=lambda each: latency(each) or 0.0))
