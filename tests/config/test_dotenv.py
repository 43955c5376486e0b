"""`.env` files, read as other tools read them; nothing in them is expanded or run."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.dotenv import parse

READ = {
    "A=1": {"A": "1"},
    "A=1\nA=2": {"A": "2"},
    "  export A = x y  # why": {"A": "x y"},
    "A=a#b": {"A": "a#b"},
    "A=#b": {"A": ""},
    "A=": {"A": ""},
    "A=\nB=1": {"A": "", "B": "1"},
    "A='it # stays \\n' # not this": {"A": "it # stays \\n"},
    'A="two\\nlines \\"and\\" \\\\ \\$B \\q"': {"A": 'two\nlines "and" \\ $B \\q'},
    'A="two\nlines"\nB=2': {"A": "two\nlines", "B": "2"},
    "A=$(touch /tmp/x) `id` ${B}": {"A": "$(touch /tmp/x) `id` ${B}"},
    "A=1\r\nB=2\r\n": {"A": "1", "B": "2"},
    "# nothing\n\n \t\n": {},
    "export=1": {"export": "1"},
}


@pytest.mark.parametrize(("text", "values"), READ.items(), ids=map(repr, READ))
def test_values_are_read(text, values):
    """Values may be bare or quoted, with `export` before the key, comments, and CRLF line ends."""
    found = parse(text)
    assert (found.values, found.unread) == (values, [])


@pytest.mark.parametrize("line", ["oops", "1A=2", "A-B=1", "A='open", 'A="x"y', "=1", "export A", "A=\0"])
def test_a_line_that_cannot_be_read_is_numbered(line):
    """An invalid line is ignored and reported by its number only, since its text may be a key."""
    found = parse(f"A=1\n\n{line}\nB=2\n")
    assert (found.values, found.unread) == ({"A": "1", "B": "2"}, [3])
    assert "=" not in repr(found)


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True), st.text(), max_size=4))
def test_what_is_quoted_comes_back(values):
    """Text in double quotes is unescaped to the original, over any number of lines."""
    kept = {key: value.replace("\0", "").replace("\r", "") for key, value in values.items()}
    lines = (f'{key}="' + re.sub(r'[\\"$]', r"\\\g<0>", value) + '"' for key, value in kept.items())
    text = "\n".join(lines)
    assert parse(text).values == kept


@given(st.text())
def test_any_text_is_read(text):
    """No text raises, and each line is read once."""
    found = parse(text)
    assert len(found.unread) == len(set(found.unread))
    assert all(1 <= line <= text.replace("\r\n", "\n").count("\n") + 1 for line in found.unread)
