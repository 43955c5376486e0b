"""The audience of a client's key: the makers it is for, by its known form or else by the request's path. Pure.

    sk-ant-...      Anthropic's, on whatever path it came
    AIza...         Google's
    sk-...          OpenAI's form, which others have taken over: by the path
    anything else   by the path

A key is sent to its audience only. To any other provider the gateway shows a configured key, or none.
"""

import re
from base64 import b64decode
from contextlib import suppress
from urllib.parse import urlsplit

from msgspec import structs

from gateway.providers.catalog import CATALOG
from gateway.providers.table import KEYLESS, Provider

SHARED = b"sk-"
"""OpenAI's form of keys, which many other providers and proxies use too."""

_MAKERS: dict[bytes, frozenset[str]] = {
    form: frozenset(name for name, entry in CATALOG.items() if form.decode() in entry.key_forms)
    for form in sorted({each.encode() for entry in CATALOG.values() for each in entry.key_forms}, key=len, reverse=True)
    if form != SHARED
}
_FORM = re.compile(b"|".join(map(re.escape, _MAKERS)))
# Keys of OpenAI's older form have this in them.
_OPENAIS = re.compile(rb"sk-[A-Za-z0-9_-]*T3BlbkFJ")
# Most headers have no key, and are searched for none.
_SUSPECT = re.compile(rb"\s*basic|sk-|" + _FORM.pattern, re.IGNORECASE)
_SUSPECT_WITHIN = re.compile(rb"(?:[\s\"',;:=]|-api-key\.)(?:sk-|" + _FORM.pattern + rb")")
# Between the words of a header's value; browsers send OpenAI's key as the subprotocol `openai-insecure-api-key.KEY`.
_WORDS = re.compile(rb"[\s\"',;:=]+|-api-key\.")
SHORTEST = 12
"""Characters from which on a text in the place of a key is one, and no word such as `not-needed`."""
_NOBODY: frozenset[str] = frozenset()
_HOSTS = {name: urlsplit(entry.base_url).hostname for name, entry in CATALOG.items() if name not in KEYLESS}
_AT_HOST = {host: frozenset(name for name, own in _HOSTS.items() if own == host) for host in _HOSTS.values() if host}


def makers(key: bytes) -> frozenset[str]:
    """Return the names of the providers whose keys have a key's form; none if the form is unknown or shared.

    >>> sorted(makers(b"AIzaSyD-0123456789")), sorted(makers(b"my-own-key-0123"))
    (['gemini', 'vertex'], [])
    """
    if len(key) < SHORTEST:
        return _NOBODY
    found = _FORM.match(key)
    if found is not None:
        return _MAKERS[found[0]]
    return frozenset({"openai"}) if _OPENAIS.match(key) is not None else _NOBODY


def is_of(key: bytes, maker: str) -> bool:
    """Whether a key has a form of a maker's keys, a shared one too."""
    return maker in makers(key) or (
        key.startswith(SHARED) and not makers(key) and SHARED.decode() in CATALOG[maker].key_forms
    )


def without_keys(provider: Provider) -> Provider:
    """Return a provider that is shown no key and no header of ours, and no cloud's credentials."""
    return structs.replace(
        provider,
        headers=(),
        key=None,
        keys=(),
        key_name=None,
        environment_key=None,
        key_sent="bearer" if provider.key_sent in {"sigv4", "google"} else provider.key_sent,
        key_sent_to={},
    )


def _own(provider: Provider) -> frozenset[str]:
    """Return the makers whose keys are good for a provider: of its name, or at its host."""
    return _AT_HOST.get(provider.origin.host, _NOBODY) | {provider.name}


def of_another(key: bytes, provider: Provider) -> bool:
    """Whether a key's known form is that of another maker than the provider's."""
    if provider.takes_any_key:
        return False
    if found := makers(key):
        return found.isdisjoint(_own(provider))
    if not (key.startswith(SHARED) and provider.as_built_in and len(key) >= SHORTEST):
        return False
    forms = [form for name in _own(provider) if name in CATALOG for form in CATALOG[name].key_forms]
    return bool(forms) and SHARED.decode() not in forms


def has_of_another(value: bytes, provider: Provider) -> bool:
    """Whether a header's value has a key of another maker in it: after a scheme, or as a password (RFC 7617)."""
    if _SUSPECT.match(value) is None and _SUSPECT_WITHIN.search(value) is None:
        return False
    scheme, _, rest = value.strip().partition(b" ")
    if scheme.lower() == b"basic":
        with suppress(ValueError):
            value += b" " + b64decode(rest).rpartition(b":")[2]
    return any(of_another(each, provider) for each in _WORDS.split(value) if each)


def admits(provider: Provider, key: bytes, *, addressed: bool, alone: bool = True) -> bool:
    """Whether a client's key is sent to a provider.

    `addressed`: the request's path is that provider's. `alone`: there is no other key that any client's would displace.
    """
    if not provider.takes_client_keys or of_another(key, provider):
        return False
    return addressed or not makers(key).isdisjoint(_own(provider)) or (provider.takes_any_key and alone)


def needs_key(provider: Provider) -> bool:
    """Whether a provider answers no request without a key; one of one's own, or on this machine, may."""
    entry = CATALOG.get(provider.name)
    if entry is None or provider.only_target is not None:
        return False
    return bool(entry.key_variables) and provider.name not in KEYLESS
