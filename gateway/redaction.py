"""Redaction by pattern (`[redaction]`) and by the names of fields, as pure functions of values.

A match is replaced by `[redacted: NAME]` in everything that is recorded; requests and responses pass unchanged. RE2
matches in time linear in the text, so that no pattern can block the event loop. It has no lookaround and no
back-references. Secrets that are known by value are removed by `tracing.secrets`.

Built-in kinds:
    keys    API keys with a well-known prefix (sk-, AKIA, ghp_, xoxb-, AIza, ...), JSON web tokens, bearer tokens,
            private keys
    emails  name@host.tld
    cards   13 to 19 digits, in groups or not, with the prefix of a card network and a valid check digit (ISO/IEC 7812)
    phones  international, `+` and 8 to 15 digits (ITU-T E.164); North American, with separators: (415) 555-2671
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args
from urllib.parse import quote

import re2
from msgspec import Struct

Builtin = Literal["keys", "emails", "cards", "phones"]

REDACTED = "[redacted]"
"""The placeholder of a secret that is known by its value or its name."""

USERINFO = re.compile(r"([a-z]+://)([^/]*)@")
"""A URL's scheme, and its user with the password (RFC 3986, section 3.2.1)."""

TOOL_SECRETS = frozenset({"authorization", "authorization_token", "headers", "token", "access_token", "api_key"})
"""Fields of a remote MCP tool's definition with which a provider authenticates to the tool's server."""

_SECRET_VARIABLE = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH", re.IGNORECASE)

_LABEL = r"[A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?"
_KEYS = (
    r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}",
    r"\b(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{10,}",
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    r"\bgh[pousr]_[A-Za-z0-9]{30,}",
    r"\bgithub_pat_[A-Za-z0-9_]{40,}",
    r"\bglpat-[A-Za-z0-9_-]{20,}",
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"\bxapp-[A-Za-z0-9-]{20,}",
    r"\bAIza[A-Za-z0-9_-]{35}",
    r"\bya29\.[A-Za-z0-9_-]{20,}",
    r"\b(?:hf|gsk|npm|r8)_[A-Za-z0-9]{30,}",
    r"\b(?:xai|pplx|nvapi)-[A-Za-z0-9_-]{40,}",
    r"\bpypi-[A-Za-z0-9_-]{50,}",
    r"\blsv2_(?:pt|sk)_[A-Za-z0-9_]{32,}",
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    r"\b(?i:bearer)\s+[A-Za-z0-9._~+/-]{16,}=*",
    rf"-----BEGIN {_LABEL}-----[\s\S]*?(?:-----END {_LABEL}-----|\z)",
)
_EMAILS = (r"\b[A-Za-z0-9._%+'-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}\b",)
_CARDS = (r"\b(?:4|5[1-5]|2[2-7]|3[0-9]|6)[0-9](?:[ -]?[0-9]){11,17}\b",)
_PHONES = (
    r"\+[1-9][0-9]{0,2}(?:[ .-]?\(?[0-9]{1,4}\)?){2,6}\b",
    r"(?:\([2-9][0-9]{2}\) ?|\b[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}\b",
)


# Patterns with one of these may match differently once texts are joined.
_ANCHORS = ("^", "$", "\\A", "\\z", "\\B")


class _Rule(Struct, frozen=True):
    """A pattern and its placeholder. `length_of` gives how many characters of a match are redacted, from its start."""

    pattern: Any
    placeholder: str
    length_of: Callable[[str], int]

    def apply(self, text: str) -> str:
        redacted: str = self.pattern.sub(self._replacement, text)
        return redacted

    def _replacement(self, match: Any) -> str:
        text: str = match.group(0)
        # Digits after a point are a fraction; RE2 has no lookbehind.
        before = match.string[match.start() - 1] if match.start() else ""
        length = 0 if before == "." and text[0].isdigit() else self.length_of(text)
        return self.placeholder + text[length:] if length else text


class Redaction:
    """The redaction rules of a configuration. Raises PatternError for a pattern that cannot be used."""

    def __init__(self, builtin: Iterable[Builtin] = (), patterns: Mapping[str, str] | None = None) -> None:
        self._rules: list[_Rule] = []
        expressions: list[str] = []
        for kind in get_args(Builtin):
            if kind in builtin:
                alternatives, placeholder, length_of = _BUILTIN[kind]
                expressions += alternatives
                self._rules.append(_Rule(re2.compile("|".join(alternatives)), placeholder, length_of))
        for name, pattern in (patterns or {}).items():
            self._rules.append(_Rule(compiled(pattern), f"[redacted: {name}]", len))
            expressions.append(f"(?:{pattern})")
        # Most texts match no rule: they are searched once instead of once for each rule, and all texts of a value
        # together unless a pattern is anchored.
        self._any = re2.compile("|".join(expressions)) if expressions else None
        self._joinable = not any(anchor in pattern for pattern in (patterns or {}).values() for anchor in _ANCHORS)

    def __repr__(self) -> str:
        return f"<Redaction rules: {len(self._rules)}>"

    def __bool__(self) -> bool:
        """Whether there is any rule."""
        return self._any is not None

    def text(self, text: str) -> str:
        """Return a redacted text."""
        if self._any is None or self._any.search(text) is None:
            return text
        for rule in self._rules:
            text = rule.apply(text)
        return text

    def value(self, value: Any) -> Any:
        """Return a redacted JSON value, keys of objects included; the same object if nothing matches."""
        if self._any is None:
            return value
        if self._joinable:
            texts: list[str] = []
            _collect(value, texts)
            if self._any.search("\n".join(texts)) is None:
                return value
        return self._redacted(value)

    def _redacted(self, value: Any) -> Any:
        match value:
            case str():
                return self.text(value)
            case dict():
                binary = _binary(value)
                return {
                    key if key == binary else self.text(key): each if key == binary else self._redacted(each)
                    for key, each in value.items()
                }
            case list() | tuple():
                return [self._redacted(each) for each in value]
            case _:
                return value


def _binary(value: dict[str, Any]) -> str | None:
    """Return the key of an object's base64 data, which may match a pattern by chance; None if it has none."""
    return "content" if value.get("type") == "blob" else "otlp.bytes" if "otlp.bytes" in value else None


def _collect(value: Any, into: list[str]) -> None:
    """Add all texts of a JSON value that are searched."""
    match value:
        case str():
            into.append(value)
        case dict():
            binary = _binary(value)
            for key, each in value.items():
                if key != binary:
                    into.append(key)
                    _collect(each, into)
        case list() | tuple():
            for each in value:
                _collect(each, into)


def is_secret_variable(name: str) -> bool:
    """Return whether the name of an environment variable suggests that its value is secret."""
    return _SECRET_VARIABLE.search(name) is not None


def bare_url(url: str) -> str:
    """Return a URL without user, query and fragment, any of which may hold a secret.

    >>> bare_url("https://user:pass@host/v1/models?key=k#f")
    'https://host/v1/models'
    """
    return USERINFO.sub(r"\1", url.partition("?")[0].partition("#")[0])


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return a text without secrets that are known by value, plain or percent-encoded."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, REDACTED).replace(quote(secret, safe=""), REDACTED)
    return text


def without_tool_secrets(tools: Any) -> Any:
    """Return tool definitions without the secrets, in fields and URLs, of remote MCP servers."""
    return [_without_tool_secrets(tool) for tool in tools] if isinstance(tools, list) else tools


def _without_tool_secrets(tool: Any) -> Any:
    if not isinstance(tool, dict) or tool.get("type") != "mcp":
        return tool
    redacted = {field: REDACTED if field in TOOL_SECRETS else value for field, value in tool.items()}
    if isinstance(url := redacted.get("server_url"), str):
        redacted["server_url"] = bare_url(url)
    return redacted


class PatternError(ValueError):
    """A pattern is invalid, or matches the empty text."""


def compiled(pattern: str) -> Any:
    """Compile a user's pattern. Raises PatternError."""
    options = re2.Options()
    options.log_errors = False
    try:
        expression = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise PatternError(f"{reason} (RE2's syntax: no lookaround, no back-references)") from None
    if expression.search("") is not None:
        raise PatternError("it matches the empty text, and so everywhere")
    return expression


def _key(text: str) -> int:
    # A hyphenated word may have the same prefix; a key has a digit.
    return len(text) if any(character.isdigit() for character in text) else 0


def _card(text: str) -> int:
    return _longest(text, _has_check_digit)


def _longest(text: str, fits: Callable[[list[int]], bool]) -> int:
    """Return the length of the longest number that groups of digits begin with; other digits may follow it."""
    while text:
        if fits([int(character) for character in text if character.isdigit()]):
            return len(text)
        text = text[: max(0, *(text.rfind(separator) for separator in " -.("))]
    return 0


def _has_check_digit(digits: list[int]) -> bool:
    """Return whether the last digit is the check digit of Luhn's algorithm."""
    if not 13 <= len(digits) <= 19:
        return False
    doubled = (digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _phone(text: str) -> int:
    return _longest(text, lambda digits: 8 <= len(digits) <= 15)


_BUILTIN: Mapping[str, tuple[tuple[str, ...], str, Callable[[str], int]]] = {
    "keys": (_KEYS, "[redacted: key]", _key),
    "emails": (_EMAILS, "[redacted: email]", len),
    "cards": (_CARDS, "[redacted: card]", _card),
    "phones": (_PHONES, "[redacted: phone]", _phone),
}

NOTHING = Redaction()
