"""The conversion of LiteLLM's proxy configuration to the tables of a `gateway.toml`. Pure.

Entries of one `model_name` become the candidates of an alias, followed by those of its fallbacks. Deployments with the
same address become one provider; if they have several keys, these are in `[api_keys]`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from gateway.cli.litellm.deployments import Deployment, read
from gateway.cli.litellm.fallbacks import Fallbacks
from gateway.cli.litellm.notes import Notes
from gateway.cli.litellm.servers import Servers
from gateway.config.retry import TRIES_MAX

# A weight with which a candidate is almost never the first, so that fallbacks come last.
LAST = 1e-9
_SHUFFLED = frozenset({"simple-shuffle", None})
_SECTIONS = frozenset(
    "model_list router_settings litellm_settings general_settings credential_list environment_variables".split()
)
_ROUTER = frozenset(
    "routing_strategy num_retries timeout fallbacks context_window_fallbacks content_policy_fallbacks "
    "default_fallbacks model_group_alias allowed_fails cooldown_time disable_cooldowns".split()
)
_LITELLM = frozenset(
    "num_retries request_timeout fallbacks context_window_fallbacks content_policy_fallbacks default_fallbacks "
    "allowed_fails cooldown_time".split()
)


class Imported(Struct, frozen=True, kw_only=True):
    """The tables of a `gateway.toml`, warnings, and the variables to set with descriptions of their values."""

    tables: dict[str, Any]
    warnings: list[str]
    variables: dict[str, str]


def convert(document: Any) -> Imported:
    """Convert a configuration. Whatever cannot be converted is a warning, never an error."""
    notes = Notes()
    if not isinstance(document, dict):
        notes.warn("$", "is not a table")
        document = {}
    sections = {
        name: _section(document, name, notes) for name in ("router_settings", "litellm_settings", "general_settings")
    }
    for name in document:
        if name not in _SECTIONS:
            notes.warn(f"$.{name}", "has no equivalent")
    for name in _section(document, "environment_variables", notes):
        notes.warn(f"$.environment_variables.{name}", "is not copied")
        notes.needed(str(name), f"the value at $.environment_variables.{name}")
    router, litellm, general = sections.values()
    deployments = _deployments(document, notes)
    servers = Servers(deployments, notes)
    aliases = _aliases(servers, router, litellm, notes)
    tables = {
        **_timeout(router, litellm, notes),
        "retry": _retry(router, litellm, aliases, notes),
        "circuit": _circuit(router, litellm, notes),
        "auth": _auth(general, notes),
        "providers": servers.tables,
        "api_keys": servers.keys,
        "aliases": aliases,
    }
    for section, known in (
        ("router_settings", _ROUTER),
        ("litellm_settings", _LITELLM),
        ("general_settings", {"master_key"}),
    ):
        for name in sections[section]:
            if name not in known:
                notes.warn(f"$.{section}.{name}", "has no equivalent")
    used = {name: table for name, table in tables.items() if table != {}}
    return Imported(tables=used, warnings=notes.warnings, variables=notes.variables)


def _section(document: dict[str, Any], name: str, notes: Notes) -> dict[str, Any]:
    found = document.get(name)
    if found is not None and not isinstance(found, dict):
        notes.warn(f"$.{name}", "is not a table and is left out")
    return found if isinstance(found, dict) else {}


def _deployments(document: dict[str, Any], notes: Notes) -> list[Deployment]:
    entries = document.get("model_list")
    if not isinstance(entries, list):
        notes.warn("$.model_list", "is not a list; there are no models to convert")
        return []
    listed = document.get("credential_list")
    credentials = {
        each["credential_name"]: each.get("credential_values")
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict) and isinstance(each.get("credential_name"), str)
    }
    read_ones = (read(f"$.model_list[{index}]", entry, credentials, notes) for index, entry in enumerate(entries))
    return [each for each in read_ones if each is not None]


def _aliases(
    servers: Servers, router: Mapping[str, Any], litellm: Mapping[str, Any], notes: Notes
) -> dict[str, dict[str, Any]]:
    groups = servers.groups
    strategy = router.get("routing_strategy")
    if strategy not in (*_SHUFFLED, "latency-based-routing"):
        notes.warn("$.router_settings.routing_strategy", "is not supported; candidates are chosen by weight")
    fallbacks = Fallbacks(groups, router, litellm, notes)
    aliases = {
        name: _alias(servers, name, fallbacks.of(name), strategy == "latency-based-routing", notes) for name in groups
    }
    also = router.get("model_group_alias")
    for name, value in also.items() if isinstance(also, dict) else ():
        target = value.get("model") if isinstance(value, dict) else value
        path = f"$.router_settings.model_group_alias.{name}"
        if not isinstance(name, str) or not isinstance(target, str) or target not in groups:
            notes.warn(path, "names no model of model_list and is left out")
        elif name in groups:
            notes.warn(path, "is also a model of model_list, which wins")
        elif notes.name(path, name) is not None:
            aliases[name] = {**aliases[target], "candidates": [target]}
    return aliases


def _alias(servers: Servers, name: str, later: Sequence[str], fastest: bool, notes: Notes) -> dict[str, Any]:
    """Return an alias: the deployments of its name by order, then those of its fallbacks."""
    levels = [level for group in (name, *later) for level in _levels(servers.groups[group])]
    first, rest = levels[0], [each for level in levels[1:] for each in level]
    path = first[0].path
    candidates = [servers.candidate(each) for each in first]
    order = None
    if len(first) > 1 and not rest and fastest:
        order = "fastest"
    elif len(first) > 1:
        if fastest:
            notes.warn(path, "has fallbacks, so its candidates are chosen at random, not by latency")
        weights = None if fastest else _weights(first)
        order = "weighted" if weights or rest else "random"
        candidates = [
            {**each, **({"weight": w} if w != 1 else {})}
            for each, w in zip(candidates, weights or [1] * len(first), strict=True)
        ]
    last = {"weight": LAST} if order == "weighted" else {}
    if any(len(level) > 1 for level in levels[1:]):
        notes.warn(path, "has several deployments of a later order or fallback, which are tried in the listed order")
    candidates += [{**servers.candidate(each), **last} for each in rest]
    return {"candidates": candidates} if order is None else {"order": order, "candidates": candidates}


def _levels(group: Sequence[Deployment]) -> list[list[Deployment]]:
    """Return deployments by order; those without one are last."""
    orders = sorted({each.order for each in group if each.order is not None})
    by_order = [[each for each in group if each.order == order] for order in [*orders, None]]
    return [level for level in by_order if level]


def _weights(level: Sequence[Deployment]) -> list[float] | None:
    """Return weights by the first deployment's measure, as LiteLLM does; None if they are equal."""
    measure = next((key for key in ("weight", "rpm", "tpm") if key in level[0].share), None)
    shares = [each.share.get(measure, 0) for each in level] if measure else []
    least = min((share for share in shares if share > 0), default=None)
    if least is None:
        return None
    # A weight far below 1 would be indistinguishable from none.
    scale = max(min(least, 1), 1e-6)
    weights = [max(float(f"{share / scale:.6g}"), LAST) for share in shares]
    return [int(each) if each == int(each) else each for each in weights]


def _timeout(router: Mapping[str, Any], litellm: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    for section, settings, key in (
        ("router_settings", router, "timeout"),
        ("litellm_settings", litellm, "request_timeout"),
    ):
        value = settings.get(key)
        if value is None:
            continue
        if (seconds := _number(value, 0.001, 1e9)) is not None:
            return {"default_timeout": seconds}
        notes.warn(f"$.{section}.{key}", "is not a number of seconds and is left out")
    return {}


def _retry(
    router: Mapping[str, Any], litellm: Mapping[str, Any], aliases: Mapping[str, Any], notes: Notes
) -> dict[str, Any]:
    """Return max_tries: LiteLLM's retries of one model, and at least one attempt for each candidate."""
    longest = max((len(alias["candidates"]) for alias in aliases.values()), default=0)
    for section, settings in (("router_settings", router), ("litellm_settings", litellm)):
        value = settings.get("num_retries")
        if value is None:
            continue
        if (retries := _number(value, 0, 1e6)) is not None:
            return {"max_tries": min(max(int(retries) + 1, longest), TRIES_MAX)}
        notes.warn(f"$.{section}.num_retries", "is not a number of retries and is left out")
    return {"max_tries": min(longest, TRIES_MAX)} if longest > 4 else {}


def _circuit(router: Mapping[str, Any], litellm: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    if router.get("disable_cooldowns") is True:
        return {"failures": 0}
    circuit: dict[str, Any] = {}
    for section, settings in (("litellm_settings", litellm), ("router_settings", router)):
        if settings.get("allowed_fails") is not None:
            path, fails = f"$.{section}.allowed_fails", _number(settings["allowed_fails"], 0, 1e6)
            if fails is None:
                notes.warn(path, "is not a number of failures and is left out")
            else:
                circuit["failures"] = int(fails) + 1
                notes.warn(path, "counts failures in a row here, not those of a minute")
        if settings.get("cooldown_time") is not None:
            seconds = _number(settings["cooldown_time"], 0.001, 1e9)
            if seconds is None:
                notes.warn(f"$.{section}.cooldown_time", "is not a number of seconds and is left out")
            else:
                circuit["open_seconds"] = seconds
    return circuit


def _auth(general: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """Return the token: the master key."""
    if general.get("master_key") is None:
        return {}
    token = notes.secret("$.general_settings.master_key", general["master_key"], "GATEWAY_TOKEN")
    notes.warn("$.general_settings.master_key", "is the only key of clients here: virtual keys have no equivalent")
    return {"required": True, "token": token} if token else {"required": True}


def _number(value: Any, least: float, most: float) -> float | None:
    """Return a number within bounds, None for anything else."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
    return value if number else None
