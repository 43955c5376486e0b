"""What is known of a provider before anything is configured, and where the environment says it is. Pure."""

import re
from collections.abc import Collection, Mapping
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

from gateway.providers.quirks import Quirks

KeySent = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key", "sigv4", "google"]

CHAT, RESPONSES, MESSAGES = "openai-chat", "openai-responses", "anthropic-messages"
GENERATE_CONTENT, OLLAMA_CHAT, CONVERSE = "gemini", "ollama", "bedrock-converse"


class Entry(Struct, frozen=True, kw_only=True):
    """One provider.

    Attributes:
        genai_name: The conventions' word for it (`gen_ai.provider.name`).
        base_url: What all its URLs begin with. `{A|B:-c}` is what the environment has as A, else as B, else c.
        dialects: What is spoken, and below which path of the base URL.
        base_url_variables: Variables that name another place, and how much of all dialects' paths is in it.
        key_variables: Variables that hold the key, the first one that is set.
        key_sent: How the key is shown: in a header of this name; `bearer` in `authorization`; `sigv4` as a signature by
            the AWS credential chain; `google` as a bearer token of Google's application default credentials.
        key_sent_to: The same for dialects where it is another.
        prefixes: What a model's name begins with to be sent here; it is taken off.
        names: What the names of its own models begin with; it stays.
        others: What begins like its own and is none of them.
        stream_usage: Whether `stream_options.include_usage` is taken.
        quirks: How its chat completions differ from OpenAI's.

    """

    name: str
    genai_name: str
    base_url: str
    dialects: dict[str, str]
    base_url_variables: tuple[tuple[str, str], ...] = ()
    key_variables: tuple[str, ...] = ()
    key_sent: KeySent = "bearer"
    key_sent_to: dict[str, KeySent] = {}
    prefixes: tuple[str, ...]
    names: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    stream_usage: bool = False
    quirks: Quirks = Quirks()

    def claims(self, model: str) -> bool:
        """Say whether a model's name, as its maker calls it, is one of this provider's own."""
        return model.startswith(self.names) and not model.startswith(self.others)


_VARIABLE = re.compile(r"\{([A-Z_|]+)(?::-([^}]*))?\}")
# Google's hosts for what is no single region. Source: google-genai (_api_client.py).
_HOSTS = {
    "//global-aiplatform.googleapis.com": "//aiplatform.googleapis.com",
    "//us-aiplatform.googleapis.com": "//aiplatform.us.rep.googleapis.com",
    "//eu-aiplatform.googleapis.com": "//aiplatform.eu.rep.googleapis.com",
}


def urls(entry: Entry, environ: Mapping[str, str], ours: Collection[str] = ()) -> dict[str, str]:
    """Return the URL below which each dialect is spoken, without a slash at its end; none where a variable is missing.

    Clients of a gateway are told of it in the very variables that say where a provider is: `ours` are URLs of this
    gateway, and a variable that names one of them is passed over. Raises ValueError for an `OLLAMA_HOST` that is none.
    """
    for variable, stands_for in entry.base_url_variables:
        told = environ.get(variable, "").strip()
        told = (ollama_url(told) if variable == "OLLAMA_HOST" and told else told).rstrip("/")
        if told and not any(f"{told}/".startswith(f"{our.rstrip('/')}/") for our in ours):
            return {d: told + path.removeprefix(stands_for) for d, path in _paths(entry, environ).items()}
    base = _filled(entry.base_url, environ).rstrip("/")
    for host, known in _HOSTS.items():
        base = base.replace(host, known)
    return {d: base.removesuffix(path) + path for d, path in _paths(entry, environ).items()} if base else {}


def _paths(entry: Entry, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the paths that are known: a variable of one may be missing."""
    filled = {dialect: _filled(path, environ) for dialect, path in entry.dialects.items()}
    return {dialect: path for dialect, path in filled.items() if path or not entry.dialects[dialect]}


def _filled(template: str, environ: Mapping[str, str]) -> str:
    """Return a template with its variables' values, an empty one where a value is missing."""
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        found = next((environ[each] for each in match[1].split("|") if environ.get(each)), match[2])
        missing = missing or not found
        return found or ""

    filled = _VARIABLE.sub(value, template)
    return "" if missing else filled


def ollama_url(host: str) -> str:
    """Return the URL of what `OLLAMA_HOST` says, as Ollama's own clients read it.

    >>> ollama_url("0.0.0.0:8080")
    'http://127.0.0.1:8080'
    >>> ollama_url("https://example.com/ollama")
    'https://example.com:443/ollama'
    """
    scheme, mark, _ = host.partition("://")
    port = {"http": 80, "https": 443}.get(scheme, 11434) if mark else 11434
    parts = urlsplit(host if mark else f"http://{host}")
    name = parts.hostname or "127.0.0.1"
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)  # noqa: S104  where a server listens is no place to call
    name = f"[{name}]" if ":" in name else name
    path = parts.path.strip("/")
    return f"{parts.scheme}://{name}:{parts.port or port}" + (f"/{path}" if path else "")
