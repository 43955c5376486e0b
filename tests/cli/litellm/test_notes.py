"""Texts, names and secrets of an import: references become ours, literal keys move to variables."""

import pytest

from gateway.cli.litellm.notes import Notes

TEXTS = {
    "a text": ("gpt", "gpt", None),
    "a reference": ("os.environ/KEY", "${env:KEY}", None),
    "a reference without a name": ("os.environ/", None, "whose name is not valid here"),
    "a reference of an odd name": ("os.environ/A-B", None, "whose name is not valid here"),
    "our own reference": ("a ${env:KEY}", None, "would be filled in here"),
    "half a character": ("\ud800", None, "invalid Unicode"),
    "spaces": ("  ", None, "is not a text"),
    "a number": (7, None, "is not a text"),
    "nothing": (None, None, "is not a text"),
}


@pytest.mark.parametrize(("value", "text", "warning"), TEXTS.values(), ids=TEXTS)
def test_a_text(value, text, warning):
    """A value without an equivalent is None, with a warning that has its path."""
    notes = Notes()
    assert notes.text("$.a", value) == text
    assert [line.startswith("$.a: ") and warning in line for line in notes.warnings] == [True] * bool(warning)
    assert list(notes.variables) == (["KEY"] if text == "${env:KEY}" else [])


def test_a_name_is_not_read_from_the_environment():
    """A model's name must be known when the file is loaded."""
    notes = Notes()
    assert (notes.name("$.a", "m"), notes.name("$.b", "os.environ/M")) == ("m", None)
    assert notes.warnings == ["$.b: is a name, which cannot come from the environment here; it is left out"]


def test_literal_keys_move_to_variables_and_equal_ones_share_one():
    """Neither warnings nor descriptions nor repr have a key."""
    notes = Notes()
    assert notes.secret("$.a", "planted-1", "KEY") == "${env:KEY}"
    assert notes.secret("$.b", "planted-2", "KEY") == "${env:KEY_2}"
    assert notes.secret("$.c", "planted-1", "OTHER") == "${env:KEY}"
    assert notes.secret("$.d", "os.environ/MINE", "KEY") == "${env:MINE}"
    assert notes.secret("$.e", 7, "KEY") is None
    assert list(notes.variables) == ["KEY", "KEY_2", "MINE"]
    assert notes.variables["KEY"] == "the key at $.a, which is not copied"
    assert "planted" not in repr(notes) + str(notes.warnings) + str(notes.variables)


def test_a_warning_is_written_once():
    """Repeated settings do not repeat their warnings."""
    notes = Notes()
    for _ in range(2):
        notes.warn("$.a", "has no equivalent")
    assert notes.warnings == ["$.a: has no equivalent"]
