"""The providers and keys that LiteLLM's deployments come to, tried by the gateway's own table of providers. Pure."""

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
# Known ones that need no key: an empty table says that they are there.
_LOCAL = frozenset({"ollama", "vllm", "lm-studio"})
_REFERENCE = re.compile(r"\$\{env:(\w+)\}")


class _Anything(Mapping[str, str]):
    """An environment in which every variable is set, to what may be a key, a header and a URL."""

    def __getitem__(self, name: str) -> str:
        return "http://127.0.0.1:9"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class Servers:
    """Gives each server a name, and each deployment a candidate.

    Attributes:
        tables: `[providers]`.
        keys: `[api_keys]`.
        groups: The deployments of each model's name, but for those that name all models of a provider.

    """

    def __init__(self, deployments: list[Deployment], notes: Notes) -> None:
        self._notes = notes
        self._names: dict[Server, str | None] = {}
        self._key_names: dict[str, str] = {}
        self.tables: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, str] = {}
        self.groups: dict[str, list[Deployment]] = {}
        usable = [each for each in deployments if self._place(each) is not None]
        for server, name in self._names.items():
            if name is not None:
                self._give_keys(name, [each for each in usable if each.server == server])
        for each in usable:
            if _WILD in each.name or _WILD in each.model:
                self._wild(each)
            else:
                self.groups.setdefault(each.name, []).append(each)
        self.tables = {name: said for name, said in self.tables.items() if said or name in _LOCAL}

    def __repr__(self) -> str:
        return f"<Servers {', '.join(self.tables)}>"

    def candidate(self, deployment: Deployment) -> dict[str, Any]:
        """Return what stands in an alias's list for a deployment."""
        said = {"provider": self._names[deployment.server], "model": deployment.model}
        usual = self.tables.get(said["provider"] or "", {}).get("api_key")
        if deployment.key in {None, usual}:
            return said
        return {**said, "api_key_name": self._key_names[str(deployment.key)]}

    def _place(self, deployment: Deployment) -> str | None:
        """Return the name of a deployment's provider, which is put into the tables; None where it cannot be one."""
        server = deployment.server
        if server not in self._names:
            made = self._made(deployment.path, server)
            if made is not None:
                name, said = made
                problem = _problem(name, said)
                if problem is None:
                    self.tables[name] = said
                else:
                    self._notes.warn(f"{deployment.path}.litellm_params", f"cannot be reached: {problem}")
                    made = None
            self._names[server] = made[0] if made else None
        elif self._names[server] is None:
            self._notes.warn(f"{deployment.path}.litellm_params", "is left out like the one before with this address")
        return self._names[server]

    def _made(self, path: str, server: Server) -> tuple[str, dict[str, Any]] | None:
        """Return a provider's name and table."""
        extra = {"headers": dict(server.headers) or None, "timeout": server.timeout}
        said: dict[str, Any] = {key: value for key, value in extra.items() if value is not None}
        if server.provider and server.provider not in self.tables:
            return server.provider, ({"base_url": server.base_url} if server.base_url else {}) | said
        if not server.provider:
            return self._free(_slug(server.base_url or "")), {"base_url": server.base_url, **said}
        if server.provider == "aws-bedrock":
            self._notes.warn(path, "is of another region or address, where a Bedrock API key is shown, no credentials")
            self._notes.needed(_BEDROCKS_KEY, "a Bedrock API key")
            said["api_key"] = f"${{env:{_BEDROCKS_KEY}}}"
            if server.base_url is None:
                self._notes.needed("AWS_REGION", "the region")
        base, dialect = _again(server)
        if base is None:
            self._notes.warn(path, f"needs a second {server.provider}, which there cannot be here; it is left out")
            return None
        return self._free(f"{server.provider}-2"), {"base_url": base, "dialect": dialect, **said}

    def _free(self, name: str) -> str:
        """Return a name that no provider has."""
        stem, number = re.sub(r"-2$", "", name), 2
        while name in self.tables or name in CATALOG:
            name, number = f"{stem}-{number}", number + 1
        return name

    def _give_keys(self, name: str, deployments: list[Deployment]) -> None:
        """Give a provider the key that all of its deployments have, or the one of all its models; name the others."""
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
        """Let a name for all models of a provider lead there by its prefix."""
        name, prefix = self._names[each.server], each.name.removesuffix(_WILD)
        path = f"{each.path}.model_name"
        if name is None or each.model != _WILD or not each.name.endswith(_WILD) or _WILD in prefix or not prefix:
            self._notes.warn(path, "stands for models that cannot be named by a prefix alone; write an alias for each")
            return
        said = self.tables.setdefault(name, {})
        entry = CATALOG.get(name)
        own = entry.prefixes if entry else (f"{name}/",)
        if prefix == said.get("prefix") or ("prefix" not in said and prefix in own):
            return
        if "prefix" in said or any(other.get("prefix") == prefix for other in self.tables.values()):
            self._notes.warn(path, "is one of two such names of a provider, or is another one's too; it is left out")
            return
        said["prefix"] = prefix


def _problem(name: str, said: Mapping[str, Any]) -> str | None:
    """Return why a provider cannot be used, whatever its variables hold."""
    anything = _Anything()
    try:
        provider = convert(expand(dict(said), anything), Provider)
        table.build(Config(providers={name: provider}), {"GOOGLE_CLOUD_PROJECT": "p", "AWS_REGION": "us-east-1"})
    except ConfigError as error:
        return str(error)
    return None


def _again(server: Server) -> tuple[str | None, str]:
    """Return address and dialect of a known provider that is set up a second time, under a name of its own."""
    entry = CATALOG[server.provider]
    dialect = next(each for each in (CHAT, *entry.dialects) if each in entry.dialects)
    if server.provider == "vertex":  # a cloud's credentials are shown to the known one only
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
    """Return a provider's name made of its address.

    >>> _slug("http://vllm.internal:8000/v1")
    'vllm-internal-8000'
    """
    match = _REFERENCE.fullmatch(base_url)
    try:
        host = match[1] if match else urlsplit(base_url).netloc.rpartition("@")[2]
    except ValueError:
        host = ""
    slug = re.sub(r"[^a-z0-9]+", "-", host.lower()).strip("-") or "custom"
    return slug if "-" in slug else f"{slug}-server"  # no path of an API's has a name like this
