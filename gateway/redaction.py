"""What is taken out of everything that is kept: `[redaction]`, as a function of values. Pure.

A match is replaced by `[redacted: NAME]`. Nothing of this touches what goes to the provider or to the client. RE2 does
the matching: whatever pattern meets whatever text, it takes time in proportion to the text, so that no pattern can hang
the loop that relays for everybody. It has no lookaround and no back-references.

What the built-in kinds find:
    keys    what their makers give a beginning (sk-, AKIA, ghp_, xoxb-, AIza, ...), JSON web tokens, bearer tokens,
            private keys
    emails  name@host.tld
    cards   13 to 19 digits, in groups or not, that begin as the cards of a network do, and whose last one is right
            (ISO/IEC 7812)
    phones  international, `+` and 8 to 15 digits (ITU-T E.164); North American, with separators: (415) 555-2671
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args

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


# What a text's neighbours could stand in the way of, or for.
_ANCHORS = ("^", "$", "\\A", "\\z", "\\B")


class _Rule(Struct, frozen=True):
    """`found`: how much of a match it is, from its beginning."""

    pattern: Any
    word: str
    found: Callable[[str], int]

    def applied(self, text: str) -> str:
        changed: str = self.pattern.sub(self._without, text)
        return changed

    def _without(self, match: Any) -> str:
        text: str = match.group(0)
        # Digits behind a point are a fraction; RE2 itself does not look behind.
        before = match.string[match.start() - 1] if match.start() else ""
        length = 0 if before == "." and text[0].isdigit() else self.found(text)
        return self.word + text[length:] if length else text


class Redaction:
    """All rules of a configuration. Raises PatternError for a pattern that is none."""

    def __init__(self, builtin: Iterable[Builtin] = (), patterns: Mapping[str, str] | None = None) -> None:
        self._rules: list[_Rule] = []
        each: list[str] = []
        for kind in get_args(Builtin):
            if kind in builtin:
                alternatives, word, found = _BUILTIN[kind]
                each += alternatives
                self._rules.append(_Rule(re2.compile("|".join(alternatives)), word, found))
        for name, pattern in (patterns or {}).items():
            self._rules.append(_Rule(compiled(pattern), f"[redacted: {name}]", len))
            each.append(f"(?:{pattern})")
        # Most texts have none of it: one look instead of one for each rule; and for all texts of a value, where no
        # pattern asks for the beginning or the end of one.
        self._any = re2.compile("|".join(each)) if each else None
        self._at_once = not any(anchor in pattern for pattern in (patterns or {}).values() for anchor in _ANCHORS)

    def __repr__(self) -> str:
        return f"<Redaction rules: {len(self._rules)}>"

    def __bool__(self) -> bool:
        """Whether there is any rule."""
        return self._any is not None

    def text(self, text: str) -> str:
        """Return a text without what is to be taken out."""
        if self._any is None or self._any.search(text) is None:
            return text
        for rule in self._rules:
            text = rule.applied(text)
        return text

    def value(self, value: Any) -> Any:
        """Return a JSON value likewise, the keys of its objects included; what has none is the same object again."""
        if self._any is None:
            return value
        if self._at_once:
            texts: list[str] = []
            _collect(value, texts)
            if self._any.search("\n".join(texts)) is None:
                return value
        return self._without(value)

    def _without(self, value: Any) -> Any:
        match value:
            case str():
                return self.text(value)
            case dict():
                binary = _binary(value)
                return {
                    key if key == binary else self.text(key): each if key == binary else self._without(each)
                    for key, each in value.items()
                }
            case list() | tuple():
                return [self._without(each) for each in value]
            case _:
                return value


def _binary(value: dict[str, Any]) -> str | None:
    """Return the key that has base64 below it, in which anything may stand by chance: of a picture, or of bytes."""
    return "content" if value.get("type") == "blob" else "otlp.bytes" if "otlp.bytes" in value else None


def _collect(value: Any, into: list[str]) -> None:
    """Add all texts of a JSON value that are looked at."""
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
    """A pattern cannot be used; the message says why."""


def compiled(pattern: str) -> Any:
    """Return a user's pattern, ready to use. Raises PatternError."""
    options = re2.Options()
    options.log_errors = False
    try:
        made = re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0]
        why = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise PatternError(f"{why} (RE2's syntax: no lookaround, no back-references)") from None
    if made.search("") is not None:
        raise PatternError("it matches the empty text, and so everywhere")
    return made


def _key(text: str) -> int:
    # A word with a dash may begin so, too; a key without any digit does not come up.
    return len(text) if any(character.isdigit() for character in text) else 0


def _card(text: str) -> int:
    return _longest(text, _has_right_end)


def _longest(text: str, fits: Callable[[list[int]], bool]) -> int:
    """Return the length of the number that some groups of digits begin with; more digits may stand behind it."""
    while text:
        if fits([int(character) for character in text if character.isdigit()]):
            return len(text)
        text = text[: max(0, *(text.rfind(separator) for separator in " -.("))]
    return 0


def _has_right_end(digits: list[int]) -> bool:
    """Whether the last digit is that of Luhn's sum."""
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
