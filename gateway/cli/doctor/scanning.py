"""Finds canaries in bytes, however they are written: plain, percent-encoded, as JSON, base64, hex or UTF-16. Pure."""

from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote

from msgspec import Struct

from gateway.cli.doctor.canaries import NUMBER, Cage, Canary, Class

_GROUP = 4  # characters of base64, which are three bytes


class Hit(Struct, frozen=True, kw_only=True):
    """A canary in bytes.

    Attributes:
        canary: Which; None where so much of it is cut off that nobody can tell.
        form: How it is written.
        at: The offset in the bytes.

    """

    canary: Canary | None
    of: Class
    form: str
    at: int


class _Form(Struct, frozen=True):
    """One way to write a stem. `number` reads the digits that follow it, from its offset on."""

    name: str
    needle: bytes
    number: Callable[[bytes, int], str]


class Scanner:
    """Looks for all canaries of a cage, of the classes that are asked for."""

    def __init__(self, cage: Cage) -> None:
        self._cage = cage
        self._forms = {
            of: tuple({form.needle: form for form in _forms_of(stem)}.values()) for of, stem in cage.stems.items()
        }

    def find(self, data: bytes, classes: Iterable[Class]) -> Iterator[Hit]:
        """Give every hit, in no order."""
        for of in classes:
            if of == "redacted":
                yield from self._literally(data)
            else:
                for form in self._forms[of]:
                    yield from self._of(data, of, form)

    def _of(self, data: bytes, of: Class, form: _Form) -> Iterator[Hit]:
        at = data.find(form.needle)
        while at >= 0:
            canary = self._cage.numbered(of, form.number(data, at))
            yield Hit(canary=canary, of=of, form=form.name, at=at)
            at = data.find(form.needle, at + 1)

    def _literally(self, data: bytes) -> Iterator[Hit]:
        for canary in self._cage.all:
            if canary.of == "redacted":
                for name, needle in _literal(canary.value):
                    at = data.find(needle)
                    if at >= 0:
                        yield Hit(canary=canary, of="redacted", form=name, at=at)


def written(value: str) -> dict[str, str]:
    """Return a value as others may repeat it, by the form's name."""
    return {
        "plain": value,
        "percent-encoded": quote(value, safe=""),
        "JSON-escaped": value.replace("/", "\\/"),
        "base64": b64encode(value.encode()).decode(),
    }


def _forms_of(stem: str) -> Iterator[_Form]:
    """Give each form; of plain text and percent-encoding also what differs in case or in what is escaped."""
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
        yield _Form(name, text.encode(), _following(len(text)))
    needle = stem.encode("utf-16-le")[:-1]  # of either byte order
    yield _Form("UTF-16", needle, _wide(len(needle)))
    for name, digits in (("hex", stem.encode().hex()), ("hex, in capitals", stem.encode().hex().upper())):
        yield _Form(name, digits.encode(), _from_hex(len(digits)))
    for encode in (b64encode, urlsafe_b64encode):
        for before in range(3):
            yield _in_base64(stem, before, encode)


def _following(length: int) -> Callable[[bytes, int], str]:
    return lambda data, at: data[at + length : at + length + NUMBER].decode("latin-1")


def _wide(length: int) -> Callable[[bytes, int], str]:
    return lambda data, at: data[at + length : at + length + 2 * NUMBER].decode("utf-16-be", "replace")


def _from_hex(length: int) -> Callable[[bytes, int], str]:
    def number(data: bytes, at: int) -> str:
        try:
            return bytes.fromhex(data[at + length : at + length + 2 * NUMBER].decode("latin-1")).decode("latin-1")
        except ValueError:
            return ""

    return number


def _in_base64(stem: str, before: int, encode: Callable[[bytes], bytes]) -> _Form:
    """Return the form where so many bytes of what stands before the stem share its first group."""
    skipped = -before % 3  # bytes of the stem in that group
    whole = (len(stem) - skipped) // 3 * 3
    needle = encode(stem.encode()[skipped : skipped + whole])
    length = (len(stem) - skipped + NUMBER + 2) // 3 * _GROUP

    def number(data: bytes, at: int) -> str:
        text = data[at : at + length].translate(bytes.maketrans(b"-_", b"+/"))
        try:
            said = b64decode(text[: len(text) // _GROUP * _GROUP], validate=True).decode("latin-1")
        except ValueError:
            return ""
        return said[len(stem) - skipped :][:NUMBER]

    return _Form("base64", needle, number)


def _literal(value: str) -> Iterator[tuple[str, bytes]]:
    """Give the forms of a value without a stem."""
    found = {form: text.encode() for form, text in written(value).items()}
    seen: set[bytes] = set()
    for form, needle in found.items():
        if needle not in seen:
            seen.add(needle)
            yield form, needle
