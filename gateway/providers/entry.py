"""The form of a catalog entry, and the URLs that it has in an environment. Pure."""

import re
from collections.abc import Collection, Mapping
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

from gateway.providers.quirks import Quirks

KeySent = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key", "sigv4", "google"]

CHAT, RESPONSES, MESSAGES = "openai-chat", "openai-responses", "anthropic-messages"
GENERATE_CONTENT, OLLAMA_CHAT, CONVERSE, COHERE_CHAT = "gemini", "ollama", "bedrock-converse", "cohere"


class Entry(Struct, frozen=True, kw_only=True):
    """One provider.

    Attributes:
        genai_name: Its value of `gen_ai.provider.name` in the OpenTelemetry conventions.
        base_url: The prefix of all its URLs. `{A|B:-c}` is the environment's A, else its B, else c.
        dialects: The path of each dialect below the base URL.
        base_url_variables: Variables that replace the base URL, each with the part of the dialects' paths it includes.
        key_variables: Variables that hold the key; the first one that is set counts.
        key_forms: Beginnings of its keys, if they have a known form.
        key_sent: How a key is sent: in a header of this name; `bearer` in `authorization`; `sigv4` as a signature by
            the AWS credential chain; `google` as a bearer token of Google's application default credentials.
        key_sent_to: The same by dialect, if it differs.
        prefixes: Prefixes of model names that route here; they are removed.
        names: Prefixes of its own models' names, which are kept.
        others: Exceptions to `names`: prefixes of other makers' models.
        stream_usage: Whether `stream_options.include_usage` is accepted.
        quirks: How its chat completions differ from OpenAI's.
        root: A path that begins so is below the host, not below a dialect's path, unless a version follows.
        located_by: The variable without which it has no address.

    """

    name: str
    genai_name: str
    base_url: str
    dialects: dict[str, str]
    base_url_variables: tuple[tuple[str, str], ...] = ()
    key_variables: tuple[str, ...] = ()
    key_forms: tuple[str, ...] = ()
    key_sent: KeySent = "bearer"
    key_sent_to: dict[str, KeySent] = {}
    prefixes: tuple[str, ...]
    names: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    stream_usage: bool = False
    quirks: Quirks = Quirks()
    root: str | None = None
    located_by: str | None = None

    def claims(self, model: str) -> bool:
        """Whether a model's name without a prefix is one of this provider's own."""
        return model.startswith(self.names) and not model.startswith(self.others)


_VARIABLE = re.compile(r"\{([A-Z_|]+)(?::-([^}]*))?\}")
# Google's hosts of its multi-regions. Source: google-genai (_api_client.py).
_HOSTS = {
    "//global-aiplatform.googleapis.com": "//aiplatform.googleapis.com",
    "//us-aiplatform.googleapis.com": "//aiplatform.us.rep.googleapis.com",
    "//eu-aiplatform.googleapis.com": "//aiplatform.eu.rep.googleapis.com",
}


def urls(entry: Entry, environ: Mapping[str, str], ours: Collection[str] = ()) -> dict[str, str]:
    """Return each dialect's URL without a trailing slash; none for those whose variables are not set.

    Clients find a gateway by the same variables that name a provider's base URL: one that names a URL in `ours`, this
    gateway's own, is ignored. Raises ValueError for an invalid `OLLAMA_HOST`.
    """
    for variable, included in entry.base_url_variables:
        base = environ.get(variable, "").strip()
        base = (ollama_url(base) if variable == "OLLAMA_HOST" and base else base).rstrip("/")
        if base and not any(f"{base}/".startswith(f"{our.rstrip('/')}/") for our in ours):
            return {d: base + path.removeprefix(included) for d, path in _paths(entry, environ).items()}
    base = _filled(entry.base_url, environ).rstrip("/")
    for host, known in _HOSTS.items():
        base = base.replace(host, known)
    return {d: base.removesuffix(path) + path for d, path in _paths(entry, environ).items()} if base else {}


def _paths(entry: Entry, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the paths whose variables are all set."""
    filled = {dialect: _filled(path, environ) for dialect, path in entry.dialects.items()}
    return {dialect: path for dialect, path in filled.items() if path or not entry.dialects[dialect]}


def _filled(template: str, environ: Mapping[str, str]) -> str:
    """Return a template with its variables' values, or "" if one is not set."""
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        found = next((environ[each] for each in match[1].split("|") if environ.get(each)), match[2])
        missing = missing or not found
        return found or ""

    filled = _VARIABLE.sub(value, template)
    return "" if missing else filled


def ollama_url(host: str) -> str:
    """Return the URL of a value of `OLLAMA_HOST`, as Ollama's own clients read it.

    >>> ollama_url("0.0.0.0:8080")
    'http://127.0.0.1:8080'
    >>> ollama_url("https://example.com/ollama")
    'https://example.com:443/ollama'
    """
    scheme, mark, _ = host.partition("://")
    port = {"http": 80, "https": 443}.get(scheme, 11434) if mark else 11434
    parts = urlsplit(host if mark else f"http://{host}")
    name = parts.hostname or "127.0.0.1"
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)  # noqa: S104  an address to listen on, not to call
    name = f"[{name}]" if ":" in name else name
    path = parts.path.strip("/")
    return f"{parts.scheme}://{name}:{parts.port or port}" + (f"/{path}" if path else "")
