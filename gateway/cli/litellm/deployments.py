"""One entry of LiteLLM's `model_list`: a name with its provider, model, address and key. Pure.

Source: LiteLLM's documentation (proxy/configs, proxy/load_balancing, proxy/reliability), its types/router.py and
litellm_core_utils/get_llm_provider_logic.py.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from gateway.cli.litellm.notes import Notes
from gateway.providers.catalog import CATALOG

# LiteLLM's name of a provider -> ours; "" for an OpenAI-compatible server of the user's.
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
# Placeholders for no key, which are common with local servers.
_NO_KEYS = frozenset("none null empty na n/a no-key not-needed dummy fake anything".split())
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
# Headers whose values are public; any other value may be a secret.
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
    """The upstream of requests; equal ones become one provider.

    Attributes:
        provider: Our name; "" for a server of the user's.
        base_url: None for the default.

    """

    provider: str
    base_url: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    timeout: float | None = None


class Deployment(Struct, frozen=True, kw_only=True):
    """One entry.

    Attributes:
        path: In the configuration.
        model: The provider's name of it; `*` for any.
        key: The reference of its key.
        order: Lower ones are tried first; None last.
        share: Weight, or requests or tokens per minute, relative to others.

    """

    path: str
    name: str
    server: Server
    model: str
    key: str | None
    order: float | None
    share: Mapping[str, float]


def read(path: str, entry: Any, credentials: Mapping[str, Any], notes: Notes) -> Deployment | None:
    """Read an entry; None, with a warning, if it cannot be converted."""
    if not isinstance(entry, dict) or not isinstance(entry.get("litellm_params"), dict):
        notes.warn(path, "has no litellm_params and is left out")
        return None
    for key in entry:
        if key not in {"model_name", "litellm_params"}:
            notes.warn(f"{path}.{key}", "has no equivalent")
    name = notes.name(f"{path}.model_name", entry.get("model_name"))
    at = f"{path}.litellm_params"
    params = _with_credential(at, entry["litellm_params"], credentials, notes)
    model = notes.text(f"{at}.model", params.get("model"))
    if name is None or model is None:
        return None
    server, model = _server(at, params, model, notes)
    if server is None:
        return None
    for key in params:
        if key not in _READ:
            notes.warn(f"{at}.{key}", "has no equivalent")
    return Deployment(
        path=path,
        name=name,
        server=server,
        model=model,
        key=_key(at, params, server, notes),
        order=_number(f"{at}.order", params.get("order"), notes),
        share=_share(at, params, notes),
    )


def _with_credential(at: str, params: dict[str, Any], credentials: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """Return parameters merged with those of their credential."""
    name = params.get("litellm_credential_name")
    if name is None:
        return params
    values = credentials.get(name) if isinstance(name, str) else None
    if not isinstance(values, dict):
        notes.warn(f"{at}.litellm_credential_name", "is not in credential_list")
        return params
    return {**values, **params}


def _server(at: str, params: dict[str, Any], model: str, notes: Notes) -> tuple[Server | None, str]:
    """Return an entry's server and the model's name there."""
    field = "api_base" if params.get("api_base") is not None else "base_url"
    base = None if params.get(field) is None else notes.text(f"{at}.{field}", params[field])
    if base is None and params.get(field) is not None:
        return None, model
    provider, model = _provider(at, params, model, base, notes)
    if provider is None:
        return None, model
    if provider == "openai" and base is not None:
        provider, base = ("openai", None) if base.rstrip("/") == "https://api.openai.com/v1" else ("", base)
    if provider == "azure-openai":
        base = "${env:AZURE_API_BASE}" if base is None else re.sub(r"/openai(/.*)?$", "", base.rstrip("/"))
        if base == "${env:AZURE_API_BASE}":
            notes.needed("AZURE_API_BASE", "as before")
        if params.get("api_version") is not None:
            notes.warn(f"{at}.api_version", "is not needed: the gateway uses Azure's v1 API")
    if provider == "aws-bedrock":
        place, model = _bedrock(at, params, model, notes)
        base = base or place
    if provider == "vertex" and not model.startswith("gemini"):
        notes.warn(f"{at}.model", "is requested from Vertex's OpenAI-compatible endpoint, which may not have it")
    for key, variable in _CLOUD.items():
        if params.get(key) is not None:
            notes.warn(f"{at}.{key}", f"is read from the environment here: set {variable}")
            notes.needed(variable, f"the value at {at}.{key}")
    if provider == "vertex":
        notes.needed("GOOGLE_CLOUD_PROJECT", "the project")
    timeout = _number(f"{at}.timeout", params.get("timeout"), notes)
    if timeout is not None and timeout <= 0:
        notes.warn(f"{at}.timeout", "must be more than 0 and is left out")
        timeout = None
    headers = _headers(at, params, notes)
    return Server(provider=provider, base_url=base, headers=tuple(headers.items()), timeout=timeout), model


def _provider(at: str, params: dict[str, Any], model: str, base: str | None, notes: Notes) -> tuple[str | None, str]:
    """Return our name of a provider and the model without LiteLLM's prefix; None without an address."""
    theirs, slash, rest = model.partition("/")
    named = params.get("custom_llm_provider")
    if isinstance(named, str):
        rest = rest if slash and theirs == named else model
        theirs, slash = named, "/"
    if slash and theirs in PROVIDERS and rest:
        ours = PROVIDERS[theirs]
        if ours or base is not None:
            return ours, rest
        notes.warn(f"{at}.model", f"is on your own server ({theirs}), but has no api_base; left out")
        return None, model
    if not slash and model != "*":
        claimed = next((each.name for each in CATALOG.values() if each.claims(model)), None)
        if claimed is not None:
            return claimed, model
    if base is not None:
        notes.warn(f"{at}.model", "is of an unknown provider; it is treated as OpenAI-compatible")
        return "", (rest if isinstance(named, str) else "") or model
    notes.warn(f"{at}.model", "is of an unknown provider without an api_base; it is left out")
    return None, model


def _bedrock(at: str, params: dict[str, Any], model: str, notes: Notes) -> tuple[str | None, str]:
    """Return Bedrock's address for a region, and the model without LiteLLM's prefixes."""
    head, _, rest = model.partition("/")
    if rest and head in {"converse", "converse_like", "invoke"}:
        model = rest
        head, _, rest = model.partition("/")
    region = params.get("aws_region_name")
    if rest and _REGION.fullmatch(head):
        region, model = region or head, rest
    endpoint = params.get("aws_bedrock_runtime_endpoint")
    if endpoint is not None:
        return notes.text(f"{at}.aws_bedrock_runtime_endpoint", endpoint), model
    if region is None:
        notes.needed("AWS_REGION", "the region, where the AWS profile has none")
        return None, model
    place = notes.text(f"{at}.aws_region_name", region)
    return (f"https://bedrock-runtime.{place}.amazonaws.com" if place else None), model


def _key(at: str, params: dict[str, Any], server: Server, notes: Notes) -> str | None:
    value = params.get("api_key")
    if value is None:
        if server.provider == "azure-openai":
            notes.needed("AZURE_API_KEY", "as before")
            return "${env:AZURE_API_KEY}"
        return None
    if isinstance(value, str) and value.strip().lower() in _NO_KEYS:
        notes.warn(f"{at}.api_key", "is a placeholder for no key and is left out")
        return None
    entry = CATALOG.get(server.provider)
    usual = entry.key_variables[0] if entry and entry.key_variables else "SERVER_API_KEY"
    return notes.secret(f"{at}.api_key", value, usual)


def _headers(at: str, params: dict[str, Any], notes: Notes) -> dict[str, str]:
    """Return the headers to add; values that may be secret move to the environment."""
    headers: dict[str, str] = {}
    if params.get("organization") is not None:
        organization = notes.text(f"{at}.organization", params["organization"])
        if organization is not None:
            headers["OpenAI-Organization"] = organization
    for field in ("headers", "extra_headers"):
        given = params.get(field)
        if given is not None and not isinstance(given, dict):
            notes.warn(f"{at}.{field}", "is not a table and is left out")
        for name, value in given.items() if isinstance(given, dict) else ():
            header = f"{at}.{field}.{name}"
            variable = re.sub(r"[^A-Z0-9]+", "_", str(name).upper()).strip("_")
            public = str(name).lower() in _PUBLIC
            text = notes.text(header, value) if public else notes.secret(header, value, f"HEADER_{variable}")
            if text is not None:
                headers[str(name)] = text
    return headers


def _share(at: str, params: dict[str, Any], notes: Notes) -> dict[str, float]:
    found = {}
    for key in ("weight", "rpm", "tpm"):
        number = _number(f"{at}.{key}", params.get(key), notes)
        if number is not None and number >= 0:
            found[key] = number
            if key != "weight":
                notes.warn(f"{at}.{key}", "is only used as a weight here, not as a limit")
    return found


def _number(path: str, value: Any, notes: Notes) -> float | None:
    """Return a number; None without one, with a warning for another value."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:  # nor one that is none
        notes.warn(path, "is not a number and is left out")
        return None
    return value
