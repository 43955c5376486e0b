"""One entry of LiteLLM's `model_list`: a name, and the provider, model, address and key that it stands for. Pure.

Source: LiteLLM's documentation (proxy/configs, proxy/load_balancing, proxy/reliability), its types/router.py and
litellm_core_utils/get_llm_provider_logic.py.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from gateway.cli.litellm.notes import Notes
from gateway.providers.catalog import CATALOG

# Their word for a provider -> ours. "" is a server of one's own that speaks as OpenAI does.
PROVIDERS = {
    "anthropic": "anthropic",
    "anyscale": "anyscale",
    "azure": "azure-openai",
    "azure_ai": "",
    "bedrock": "aws-bedrock",
    "bedrock_converse": "aws-bedrock",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "cohere_chat": "cohere",
    "custom_openai": "",
    "deepinfra": "deepinfra",
    "deepseek": "deepseek",
    "fireworks_ai": "fireworks",
    "gemini": "gemini",
    "groq": "groq",
    "hosted_vllm": "vllm",
    "huggingface": "huggingface",
    "litellm_proxy": "",
    "llamafile": "",
    "lm_studio": "lm-studio",
    "mistral": "mistral",
    "nvidia_nim": "nvidia",
    "ollama": "ollama",
    "ollama_chat": "ollama",
    "openai": "openai",
    "openai_like": "",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vertex_ai": "vertex",
    "vertex_ai_beta": "vertex",
    "xai": "xai",
    "xinference": "",
}
# Keys that stand for none, which servers of one's own are often given.
_NO_KEYS = frozenset("none null empty na n/a no-key not-needed dummy fake anything".split())
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
# Headers whose values are no secret. Any other's may be one, whatever it is called.
_PUBLIC = frozenset(
    "accept anthropic-beta anthropic-version http-referer openai-beta openai-organization openai-project user-agent "
    "x-title".split()
)
_CLOUD = {
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
    "aws_profile_name": "AWS_PROFILE",
    "vertex_project": "GOOGLE_CLOUD_PROJECT",
    "vertex_location": "GOOGLE_CLOUD_LOCATION",
    "vertex_credentials": "GOOGLE_APPLICATION_CREDENTIALS",
}
_READ = frozenset(
    "model custom_llm_provider api_base base_url api_key timeout order weight rpm tpm extra_headers headers "
    "organization aws_region_name aws_bedrock_runtime_endpoint litellm_credential_name api_version".split()
) | set(_CLOUD)


class Server(Struct, frozen=True, kw_only=True):
    """Where requests go: what makes one provider of ours differ from another.

    Attributes:
        provider: Our name of it, "" for a server of one's own.
        base_url: None for its usual one.

    """

    provider: str
    base_url: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    timeout: float | None = None


class Deployment(Struct, frozen=True, kw_only=True):
    """One entry.

    Attributes:
        path: Where it stands.
        model: As the provider knows it; `*` for any.
        key: Where its key is read from.
        order: Lower ones are tried first; None after all.
        share: How often it is taken beside the others, by its weight, requests or tokens a minute.

    """

    path: str
    name: str
    server: Server
    model: str
    key: str | None
    order: float | None
    share: Mapping[str, float]


def read(path: str, entry: Any, credentials: Mapping[str, Any], notes: Notes) -> Deployment | None:
    """Return what an entry says; None, and a warning, where it cannot be said here."""
    if not isinstance(entry, dict) or not isinstance(entry.get("litellm_params"), dict):
        notes.warn(path, "has no litellm_params, and is left out")
        return None
    for key in entry:
        if key not in {"model_name", "litellm_params"}:
            notes.warn(f"{path}.{key}", "is not taken over")
    name = notes.name(f"{path}.model_name", entry.get("model_name"))
    at = f"{path}.litellm_params"
    said = _with_credential(at, entry["litellm_params"], credentials, notes)
    model = notes.text(f"{at}.model", said.get("model"))
    if name is None or model is None:
        return None
    server, model = _server(at, said, model, notes)
    if server is None:
        return None
    for key in said:
        if key not in _READ:
            notes.warn(f"{at}.{key}", "is not taken over")
    return Deployment(
        path=path,
        name=name,
        server=server,
        model=model,
        key=_key(at, said, server, notes),
        order=_number(f"{at}.order", said.get("order"), notes),
        share=_share(at, said, notes),
    )


def _with_credential(at: str, said: dict[str, Any], credentials: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """Return the parameters with those of the credential that they name."""
    name = said.get("litellm_credential_name")
    if name is None:
        return said
    values = credentials.get(name) if isinstance(name, str) else None
    if not isinstance(values, dict):
        notes.warn(f"{at}.litellm_credential_name", "is not in credential_list")
        return said
    return {**values, **said}


def _server(at: str, said: dict[str, Any], model: str, notes: Notes) -> tuple[Server | None, str]:
    """Return where an entry's requests go, and the model's name there."""
    field = "api_base" if said.get("api_base") is not None else "base_url"
    base = None if said.get(field) is None else notes.text(f"{at}.{field}", said[field])
    if base is None and said.get(field) is not None:
        return None, model
    provider, model = _provider(at, said, model, base, notes)
    if provider is None:
        return None, model
    if provider == "openai" and base is not None:
        provider, base = ("openai", None) if base.rstrip("/") == "https://api.openai.com/v1" else ("", base)
    if provider == "azure-openai":
        base = "${env:AZURE_API_BASE}" if base is None else re.sub(r"/openai(/.*)?$", "", base.rstrip("/"))
        if base == "${env:AZURE_API_BASE}":
            notes.needed("AZURE_API_BASE", "as before")
        if said.get("api_version") is not None:
            notes.warn(f"{at}.api_version", "is not needed: Azure's v1 API is asked")
    if provider == "aws-bedrock":
        place, model = _bedrock(at, said, model, notes)
        base = base or place
    if provider == "vertex" and not model.startswith("gemini"):
        notes.warn(f"{at}.model", "is asked for by Vertex's OpenAI-compatible endpoint, which may not have it")
    for key, variable in _CLOUD.items():
        if said.get(key) is not None:
            notes.warn(f"{at}.{key}", f"is read from the environment here: set {variable}")
            notes.needed(variable, f"the value at {at}.{key}")
    if provider == "vertex":
        notes.needed("GOOGLE_CLOUD_PROJECT", "the project")
    timeout = _number(f"{at}.timeout", said.get("timeout"), notes)
    if timeout is not None and timeout <= 0:
        notes.warn(f"{at}.timeout", "must be more than 0, and is left out")
        timeout = None
    headers = _headers(at, said, notes)
    return Server(provider=provider, base_url=base, headers=tuple(headers.items()), timeout=timeout), model


def _provider(at: str, said: dict[str, Any], model: str, base: str | None, notes: Notes) -> tuple[str | None, str]:
    """Return our name of a provider, and the model without theirs; None where it cannot be reached."""
    theirs, slash, rest = model.partition("/")
    told = said.get("custom_llm_provider")
    if isinstance(told, str):
        rest = rest if slash and theirs == told else model
        theirs, slash = told, "/"
    if slash and theirs in PROVIDERS and rest:
        ours = PROVIDERS[theirs]
        if ours or base is not None:
            return ours, rest
        notes.warn(f"{at}.model", f"is at a server of one's own ({theirs}), but api_base does not say where; left out")
        return None, model
    if not slash and model != "*":
        claimed = next((each.name for each in CATALOG.values() if each.claims(model)), None)
        if claimed is not None:
            return claimed, model
    if base is not None:
        notes.warn(f"{at}.model", "is of a provider that is not known here; taken as one that speaks as OpenAI does")
        return "", (rest if isinstance(told, str) else "") or model
    notes.warn(f"{at}.model", "is of a provider that is not known here, and has no api_base; it is left out")
    return None, model


def _bedrock(at: str, said: dict[str, Any], model: str, notes: Notes) -> tuple[str | None, str]:
    """Return Bedrock's address, which says the region, and the model without what LiteLLM puts before it."""
    head, _, rest = model.partition("/")
    if rest and head in {"converse", "converse_like", "invoke"}:
        model = rest
        head, _, rest = model.partition("/")
    region = said.get("aws_region_name")
    if rest and _REGION.fullmatch(head):
        region, model = region or head, rest
    endpoint = said.get("aws_bedrock_runtime_endpoint")
    if endpoint is not None:
        return notes.text(f"{at}.aws_bedrock_runtime_endpoint", endpoint), model
    if region is None:
        notes.needed("AWS_REGION", "the region, where the AWS profile has none")
        return None, model
    place = notes.text(f"{at}.aws_region_name", region)
    return (f"https://bedrock-runtime.{place}.amazonaws.com" if place else None), model


def _key(at: str, said: dict[str, Any], server: Server, notes: Notes) -> str | None:
    value = said.get("api_key")
    if value is None:
        if server.provider == "azure-openai":
            notes.needed("AZURE_API_KEY", "as before")
            return "${env:AZURE_API_KEY}"
        return None
    if isinstance(value, str) and value.strip().lower() in _NO_KEYS:
        notes.warn(f"{at}.api_key", "stands for no key, and is left out")
        return None
    entry = CATALOG.get(server.provider)
    usual = entry.key_variables[0] if entry and entry.key_variables else "SERVER_API_KEY"
    return notes.secret(f"{at}.api_key", value, usual)


def _headers(at: str, said: dict[str, Any], notes: Notes) -> dict[str, str]:
    """Return the headers that are added to requests; values that may be secret are read from the environment."""
    headers: dict[str, str] = {}
    if said.get("organization") is not None:
        organization = notes.text(f"{at}.organization", said["organization"])
        if organization is not None:
            headers["OpenAI-Organization"] = organization
    for field in ("headers", "extra_headers"):
        given = said.get(field)
        if given is not None and not isinstance(given, dict):
            notes.warn(f"{at}.{field}", "is no table, and is left out")
        for name, value in given.items() if isinstance(given, dict) else ():
            where = f"{at}.{field}.{name}"
            variable = re.sub(r"[^A-Z0-9]+", "_", str(name).upper()).strip("_")
            public = str(name).lower() in _PUBLIC
            text = notes.text(where, value) if public else notes.secret(where, value, f"HEADER_{variable}")
            if text is not None:
                headers[str(name)] = text
    return headers


def _share(at: str, said: dict[str, Any], notes: Notes) -> dict[str, float]:
    found = {}
    for key in ("weight", "rpm", "tpm"):
        number = _number(f"{at}.{key}", said.get(key), notes)
        if number is not None and number >= 0:
            found[key] = number
            if key != "weight":
                notes.warn(f"{at}.{key}", "is no limit here; it only weighs deployments against each other")
    return found


def _number(path: str, value: Any, notes: Notes) -> float | None:
    """Return a number; None where there is none, with a warning where there is something else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:  # nor one that is none
        notes.warn(path, "is no number, and is left out")
        return None
    return value
