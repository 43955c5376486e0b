r"""`.env` files: lines of `KEY=VALUE`, as shells and other tools write them. Pure; nothing is expanded or run.

A value is bare (up to white space and a `#`), in single quotes (verbatim) or in double quotes (with \n, \r, \t, \",
\\ and \$); a quoted value may span lines. `export` before the key is ignored.
"""

import re

from msgspec import Struct

_KEY = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BARE = re.compile(r"[^\n]*")
_AFTER = re.compile(r"[ \t]*(?:#[^\n]*)?(?=\n|\Z)")
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_COMMENT = re.compile(r"(?:^|[ \t]+)#.*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


class Variables(Struct, frozen=True, kw_only=True):
    """The variables of a file, of which the last one of a name counts, and the numbers of its invalid lines."""

    values: dict[str, str]
    unread: list[int]

    def __repr__(self) -> str:
        """Name the variables without their values."""
        return f"<Variables {', '.join(self.values)}>"


def parse(text: str) -> Variables:
    r"""Return the variables of a file's text.

    >>> parse("# keys\nexport A='x y'  # one\nB=1 # two\noops\n").values
    {'A': 'x y', 'B': '1'}
    """
    text = text.replace("\r\n", "\n")
    values: dict[str, str] = {}
    unread: list[int] = []
    at, line = 0, 1
    while at < len(text):
        begun = at
        if blank := _BLANK.match(text, at):
            at = blank.end()
        elif assignment := _assignment(text, at):
            key, value, at = assignment
            values[key] = value
        else:
            unread.append(line)
            at = _next_line(text, at)
        line += text.count("\n", begun, at)
    return Variables(values=values, unread=unread)


def _assignment(text: str, at: int) -> tuple[str, str, int] | None:
    """Return the key, the value and the offset of the next line; None if the line is no assignment."""
    while text[at : at + 1] in {" ", "\t"}:
        at += 1
    key = _KEY.match(text, at)
    if key is None:
        return None
    at = key.end()
    quoted = text[at : at + 1]
    if quoted in {"'", '"'}:
        found = (_SINGLE if quoted == "'" else _DOUBLE).match(text, at)
        after = _AFTER.match(text, found.end()) if found else None
        if found is None or after is None:
            return None
        value = found[1] if quoted == "'" else _ESCAPE.sub(_unescaped, found[1])
        at = after.end()
    else:
        bare = _BARE.match(text, at)
        value = _COMMENT.sub("", bare[0] if bare else "").strip()
        at = bare.end() if bare else at
    return None if "\x00" in value else (key[1], value, _next_line(text, at))


def _unescaped(match: re.Match[str]) -> str:
    return _ESCAPED.get(match[1], match[0])


def _next_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1
