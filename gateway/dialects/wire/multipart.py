"""One field of a multipart form, found and changed in its bytes: the model of a request that uploads a file.

The search passes over the contents of files and stops at the field, or at a bound. Only a form as clients write it is
searched: the first boundary stands at its beginning, and lines end in CRLF (RFC 2046, section 5.1; RFC 7578). Pure.
"""

import re

from msgspec import Struct

SEARCHED_MAX = 64 * 1024 * 1024
"""Bytes of a form up to which the field is searched: some 30 ms."""

_PARTS_MAX = 256
_HEAD_MAX = 8 * 1024
_VALUE_MAX = 1024

_BOUNDARY = re.compile(
    r'^multipart/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE | re.DOTALL
)
_DISPOSITION = re.compile(rb"^content-disposition:[ \t]*form-data[ \t]*(;.*)$", re.IGNORECASE | re.MULTILINE)
_FILE = re.compile(rb";[ \t]*filename\*?=", re.IGNORECASE)
_LINE_END = re.compile(rb"[ \t]*\r\n")


class FormField(Struct, frozen=True, gc=False):
    """A field's value, and its place in the form's bytes."""

    value: str
    start: int
    end: int

    def replaced(self, form: bytes, value: str) -> bytes:
        """Return the form with another value, every other byte as it was."""
        return b"%b%b%b" % (form[: self.start], value.encode(), form[self.end :])


def find_field(form: bytes, content_type: str, name: str) -> FormField | None:
    """Return the first field of a name, which is no file; None if there is none, or the bytes are no such form."""
    if (boundary := _boundary(content_type)) is None:
        return None
    delimiter = b"\r\n--" + boundary
    if not form.startswith(delimiter[2:]):
        return None
    named = re.compile(rb';[ \t]*name=(?:"%b"|%b(?=[;\s]|$))' % ((re.escape(name.encode()),) * 2), re.IGNORECASE)
    at, wanted = len(delimiter) - 2, False
    start = 0
    for _ in range(_PARTS_MAX):
        # `at` is behind a delimiter; one that no line end follows is content
        if (line := _LINE_END.match(form, at)) is not None:
            if wanted:
                return _field(form, start, at - len(delimiter))
            head = form.find(b"\r\n\r\n", line.end() - 2, line.end() + _HEAD_MAX)
            if head < 0:
                return None
            start = head + 4
            wanted = _is_named(form[line.end() : head], named)
        elif form.startswith(b"--", at):
            return _field(form, start, at - len(delimiter)) if wanted else None
        limit = start + _VALUE_MAX + len(delimiter) if wanted else SEARCHED_MAX
        found = form.find(delimiter, max(start - 2, at), limit)
        if found < 0:
            return None
        at = found + len(delimiter)
    return None


def _boundary(content_type: str) -> bytes | None:
    """Return the boundary of a form.

    >>> _boundary('multipart/form-data; charset=utf-8; boundary="a b"')
    b'a b'
    """
    found = _BOUNDARY.match(content_type)
    return None if found is None else (found[1] or found[2]).encode("latin-1", "replace")


def _is_named(head: bytes, named: re.Pattern[bytes]) -> bool:
    disposition = _DISPOSITION.search(head)
    return disposition is not None and _FILE.search(disposition[1]) is None and named.search(disposition[1]) is not None


def _field(form: bytes, start: int, end: int) -> FormField | None:
    try:
        return FormField(form[start:end].decode(), start, end) if start <= end else None
    except UnicodeDecodeError:
        return None
