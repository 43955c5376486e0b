"""Search for canaries in bytes: plain, percent-encoded, as JSON, base64, hex or UTF-16. Pure."""

from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote

from msgspec import Struct

from gateway.cli.doctor.canaries import NUMBER, Canaries, Canary, Class

_GROUP = 4  # characters of base64, for three bytes


class Hit(Struct, frozen=True, kw_only=True):
    """A canary in bytes, at an offset, in a form. `canary` is None if its number is cut off."""

    canary: Canary | None
    of: Class
    form: str
    at: int


class _Form(Struct, frozen=True):
    """An encoding of a stem. `number` decodes the digits after a match at an offset."""

    name: str
    needle: bytes
    number: Callable[[bytes, int], str]


class Scanner:
    """Finds all canaries of the given classes."""

    def __init__(self, canaries: Canaries) -> None:
        self._canaries = canaries
        self._forms = {
            of: tuple({form.needle: form for form in _forms_of(stem)}.values()) for of, stem in canaries.stems.items()
        }

    def find(self, data: bytes, classes: Iterable[Class]) -> Iterator[Hit]:
        """Yield every hit, in no order."""
        for of in classes:
            if of == "redacted":
                yield from self._redacted(data)
                continue
            for form in self._forms[of]:
                at = data.find(form.needle)
                while at >= 0:
                    canary = self._canaries.numbered(of, form.number(data, at))
                    yield Hit(canary=canary, of=of, form=form.name, at=at)
                    at = data.find(form.needle, at + 1)

    def _redacted(self, data: bytes) -> Iterator[Hit]:
        for canary in self._canaries.all:
            if canary.of == "redacted":
                needles = {text.encode(): name for name, text in reversed(encodings(canary.value).items())}
                for needle, name in needles.items():
                    if (at := data.find(needle)) >= 0:
                        yield Hit(canary=canary, of="redacted", form=name, at=at)


def encodings(value: str) -> dict[str, str]:
    """Return the encodings in which a provider may repeat a value, by name."""
    return {
        "plain": value,
        "percent-encoded": quote(value, safe=""),
        "JSON-escaped": value.replace("/", "\\/"),
        "base64": b64encode(value.encode()).decode(),
    }


def _forms_of(stem: str) -> Iterator[_Form]:
    plain = {
        "plain": stem,
        "percent-encoded": quote(stem, safe=""),
        "percent-encoded, in lower case": quote(stem, safe="").replace("%2F", "%2f"),
        "percent-encoded twice": quote(quote(stem, safe=""), safe=""),
        "JSON-escaped": stem.replace("/", "\\/"),
        "JSON-escaped, in JSON": stem.replace("/", "\\\\/"),
        "JSON-escaped as \\u": stem.replace("/", "\\u002f"),
    }
    for name, text in plain.items():
        yield _Form(name, text.encode(), _following(len(text), 1, "latin-1"))
    needle = stem.encode("utf-16-le")[:-1]  # matches both byte orders
    yield _Form("UTF-16", needle, _following(len(needle), 2, "utf-16-be"))
    for name, digits in (("hex", stem.encode().hex()), ("hex, in capitals", stem.encode().hex().upper())):
        yield _Form(name, digits.encode(), _from_hex(len(digits)))
    for encode in (b64encode, urlsafe_b64encode):
        for before in range(3):
            yield _in_base64(stem, before, encode)


def _following(length: int, width: int, coding: str) -> Callable[[bytes, int], str]:
    return lambda data, at: data[at + length : at + length + width * NUMBER].decode(coding, "replace")


def _from_hex(length: int) -> Callable[[bytes, int], str]:
    def number(data: bytes, at: int) -> str:
        try:
            return bytes.fromhex(data[at + length : at + length + 2 * NUMBER].decode("latin-1")).decode("latin-1")
        except ValueError:
            return ""

    return number


def _in_base64(stem: str, before: int, encode: Callable[[bytes], bytes]) -> _Form:
    """Return the form in which `before` bytes in front of the stem share its first group of base64."""
    skipped = -before % 3  # bytes of the stem in that group
    whole = (len(stem) - skipped) // 3 * 3
    length = (len(stem) - skipped + NUMBER + 2) // 3 * _GROUP

    def number(data: bytes, at: int) -> str:
        text = data[at : at + length].translate(bytes.maketrans(b"-_", b"+/"))
        try:
            decoded = b64decode(text[: len(text) // _GROUP * _GROUP], validate=True).decode("latin-1")
        except ValueError:
            return ""
        return decoded[len(stem) - skipped :][:NUMBER]

    return _Form("base64", encode(stem.encode()[skipped : skipped + whole]), number)
