"""LiteLLM's deployments as providers and keys, validated by the gateway's own provider table. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from gateway.cli.litellm.deployments import Deployment, Server
from gateway.cli.litellm.notes import Notes
from gateway.config.model import Config, Provider, expand
from gateway.config.validation import convert
from gateway.errors import ConfigError
from gateway.providers import table
from gateway.providers.catalog import CATALOG
from gateway.providers.entry import CHAT, GENERATE_CONTENT, MESSAGES

_WILD = "*"
_BEDROCKS_KEY = "AWS_BEARER_TOKEN_BEDROCK"
# Providers without a key, which an empty table enables.
_LOCAL = frozenset({"ollama", "vllm", "lm-studio"})
_REFERENCE = re.compile(r"\$\{env:(\w+)\}")


class _Anything(Mapping[str, str]):
    """An environment in which every variable is set, to a value that is valid as a key, a header and a URL."""

    def __getitem__(self, name: str) -> str:
        return "http://127.0.0.1:9"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class Servers:
    """Assigns names to servers and candidates to deployments.

    Attributes:
        tables: `[providers]`.
        keys: `[api_keys]`.
        groups: Deployments by model name, without wildcards.

    """

    def __init__(self, deployments: list[Deployment], notes: Notes) -> None:
        self._notes = notes
        self._names: dict[Server, str | None] = {}
        self._key_names: dict[str, str] = {}
        self.tables: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, str] = {}
        self.groups: dict[str, list[Deployment]] = {}
        usable = [each for each in deployments if self._provider_of(each) is not None]
        for server, name in self._names.items():
            if name is not None:
                self._give_keys(name, [each for each in usable if each.server == server])
        for each in usable:
            if _WILD in each.name or _WILD in each.model:
                self._wild(each)
            else:
                self.groups.setdefault(each.name, []).append(each)
        self.tables = {name: fields for name, fields in self.tables.items() if fields or name in _LOCAL}

    def __repr__(self) -> str:
        return f"<Servers {', '.join(self.tables)}>"

    def candidate(self, deployment: Deployment) -> dict[str, Any]:
        """Return a deployment's candidate in an alias."""
        fields = {"provider": self._names[deployment.server], "model": deployment.model}
        usual = self.tables.get(fields["provider"] or "", {}).get("api_key")
        if deployment.key in {None, usual}:
            return fields
        return {**fields, "api_key_name": self._key_names[str(deployment.key)]}

    def _provider_of(self, deployment: Deployment) -> str | None:
        """Return the name of a deployment's provider, and add its table; None if it cannot be one."""
        server = deployment.server
        if server not in self._names:
            built = self._build(deployment.path, server)
            if built is not None:
                name, fields = built
                problem = _problem(name, fields)
                if problem is None:
                    self.tables[name] = fields
                else:
                    self._notes.warn(f"{deployment.path}.litellm_params", f"cannot be used: {problem}")
                    built = None
            self._names[server] = built[0] if built else None
        elif self._names[server] is None:
            self._notes.warn(f"{deployment.path}.litellm_params", "is left out like the previous one with this address")
        return self._names[server]

    def _build(self, path: str, server: Server) -> tuple[str, dict[str, Any]] | None:
        """Return a provider's name and table."""
        extra = {"headers": dict(server.headers) or None, "timeout": server.timeout}
        fields: dict[str, Any] = {key: value for key, value in extra.items() if value is not None}
        if server.provider and server.provider not in self.tables:
            return server.provider, ({"base_url": server.base_url} if server.base_url else {}) | fields
        if not server.provider:
            return self._free(_slug(server.base_url or "")), {"base_url": server.base_url, **fields}
        if server.provider == "aws-bedrock":
            self._notes.warn(
                path, "is of another region or address, which needs a Bedrock API key instead of credentials"
            )
            self._notes.needed(_BEDROCKS_KEY, "a Bedrock API key")
            fields["api_key"] = f"${{env:{_BEDROCKS_KEY}}}"
            if server.base_url is None:
                self._notes.needed("AWS_REGION", "the region")
        base, dialect = _again(server)
        if base is None:
            self._notes.warn(path, f"needs a second {server.provider}, which is not supported; it is left out")
            return None
        return self._free(f"{server.provider}-2"), {"base_url": base, "dialect": dialect, **fields}

    def _free(self, name: str) -> str:
        """Return an unused provider name."""
        stem, number = re.sub(r"-2$", "", name), 2
        while name in self.tables or name in CATALOG:
            name, number = f"{stem}-{number}", number + 1
        return name

    def _give_keys(self, name: str, deployments: list[Deployment]) -> None:
        """Set a provider's key to the common one, or that of its wildcard; name other keys in `[api_keys]`."""
        keys = dict.fromkeys(each.key for each in deployments)
        usual = next((each.key for each in deployments if each.key and (len(keys) == 1 or each.model == _WILD)), None)
        if usual is not None:
            self.tables[name]["api_key"] = usual
        for key in keys:
            if key not in {None, usual, *self._key_names}:
                match = _REFERENCE.fullmatch(str(key))
                stem = (match[1] if match else str(key)).lower().replace("_", "-")
                free = (each for each in (stem, *(f"{stem}-{n}" for n in range(2, len(self.keys) + 3))))
                called = next(each for each in free if each not in self.keys)
                self._key_names[str(key)] = called
                self.keys[called] = str(key)

    def _wild(self, each: Deployment) -> None:
        """Make a wildcard name the prefix of its provider."""
        name, prefix = self._names[each.server], each.name.removesuffix(_WILD)
        path = f"{each.path}.model_name"
        if name is None or each.model != _WILD or not each.name.endswith(_WILD) or _WILD in prefix or not prefix:
            self._notes.warn(path, "is a wildcard that is not a prefix; write an alias for each model")
            return
        fields = self.tables.setdefault(name, {})
        entry = CATALOG.get(name)
        own = entry.prefixes if entry else (f"{name}/",)
        if prefix == fields.get("prefix") or ("prefix" not in fields and prefix in own):
            return
        if "prefix" in fields or any(other.get("prefix") == prefix for other in self.tables.values()):
            self._notes.warn(path, "is a second wildcard of a provider, or also another provider's; it is left out")
            return
        fields["prefix"] = prefix


def _problem(name: str, fields: Mapping[str, Any]) -> str | None:
    """Return why a provider cannot be used with any values of its variables; None if it can."""
    anything = _Anything()
    try:
        provider = convert(expand(dict(fields), anything), Provider)
        table.build(Config(providers={name: provider}), {"GOOGLE_CLOUD_PROJECT": "p", "AWS_REGION": "us-east-1"})
    except ConfigError as error:
        return str(error)
    return None


def _again(server: Server) -> tuple[str | None, str]:
    """Return address and dialect of a second provider of a known kind."""
    entry = CATALOG[server.provider]
    dialect = next(each for each in (CHAT, *entry.dialects) if each in entry.dialects)
    if server.provider == "vertex":  # its credentials are only sent to the known one
        return None, dialect
    if server.provider == "aws-bedrock":
        return server.base_url or "https://bedrock-runtime.${env:AWS_REGION}.amazonaws.com", dialect
    dialect = {"anthropic": MESSAGES, "gemini": GENERATE_CONTENT}.get(server.provider, dialect)
    if server.base_url is None:
        return entry.base_url + entry.dialects[dialect], dialect
    if server.provider == "azure-openai":
        return server.base_url.rstrip("/") + entry.dialects[dialect], dialect
    return server.base_url, dialect


def _slug(base_url: str) -> str:
    """Return a provider name from an address.

    >>> _slug("http://vllm.internal:8000/v1")
    'vllm-internal-8000'
    """
    match = _REFERENCE.fullmatch(base_url)
    try:
        host = match[1] if match else urlsplit(base_url).netloc.rpartition("@")[2]
    except ValueError:
        host = ""
    slug = re.sub(r"[^a-z0-9]+", "-", host.lower()).strip("-") or "custom"
    return slug if "-" in slug else f"{slug}-server"  # no API path has a segment like this
