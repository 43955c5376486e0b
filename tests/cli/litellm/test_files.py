"""Files of an import: YAML is read safely, TOML is written by tomli-w, and errors quote nothing."""

import tomllib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.litellm import files
from gateway.errors import ConfigError
from tests.cli.test_main import run
from tests.support.paths import ROOT

tables = st.dictionaries(
    st.text(min_size=1),
    st.recursive(
        st.text() | st.integers(-(2**60), 2**60) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@given(tables)
def test_what_is_written_is_read_back(said):
    """Any tables with names and texts of any characters survive the round trip."""
    assert tomllib.loads(files.dumps(said)) == said


def test_text_that_is_no_unicode_is_replaced():
    """A lone surrogate cannot be written as UTF-8."""
    assert tomllib.loads(files.dumps({"a": "x\ud800y"})) == {"a": "x?y"}


def test_an_existing_file_is_not_overwritten(tmp_path):
    """Neither are errors of the system passed on as they are."""
    files.write(tmp_path / "new.toml", "a = 1\n")
    assert (tmp_path / "new.toml").read_text() == "a = 1\n"
    with pytest.raises(ConfigError, match="exists already"):
        files.write(tmp_path / "new.toml", "b = 1\n")
    with pytest.raises(ConfigError, match="cannot be written: No such file or directory; name another file with --o"):
        files.write(tmp_path / "no" / "new.toml", "")


BROKEN = {
    "no YAML": ("a: [planted\nb: c", "config.yaml: not valid YAML (line 2, column 2): "),
    "a tag": ("a: !!python/object/apply:os.system ['planted']", "config.yaml: not valid YAML (line 1, column 4): "),
    "brackets": ("[" * 20000, "config.yaml: not valid YAML"),
    "a date that is none": ("a: 2020-99-99", "config.yaml: not valid YAML"),
    "a control character": ("a: \x01planted", "config.yaml: not valid YAML"),
    "large": ("#" * 10 * 1024 * 1024, "config.yaml: has more than 1 MiB"),
}


@pytest.mark.parametrize(("text", "said"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_file_is_an_error(tmp_path, text, said):
    """The error names the place without quoting it, and no tag in it is executed."""
    (tmp_path / "config.yaml").write_text(text)
    ran = await run(tmp_path, "import", "litellm", "config.yaml")
    assert (ran.code, ran.out) == (1, "")
    assert f"Error: {said}" in ran.err
    assert "planted" not in ran.err
    assert "Traceback" not in ran.err


def test_no_line_of_a_broken_file_is_shown(tmp_path, monkeypatch):
    """The slower loader, whose errors quote the file, is used where libyaml is missing; its errors are not shown."""
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    (tmp_path / "config.yaml").write_text(BROKEN["no YAML"][0])
    with pytest.raises(ConfigError) as caught:
        files.read(tmp_path / "config.yaml")
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(("module", "distribution"), [("yaml", "PyYAML"), ("tomli_w", "tomli-w")])
async def test_without_a_library_the_command_says_what_to_install(tmp_path, module, distribution):
    """Both libraries are in the extra `import`."""
    (tmp_path / f"{module}.py").write_text("raise ImportError")
    (tmp_path / "config.yaml").write_text("{}")
    path = f"{tmp_path}:{ROOT}"
    ran = await run(tmp_path, "import", "litellm", "config.yaml", environ={"PYTHONPATH": path})
    assert (ran.code, ran.out) == (1, "")
    assert f"needs {distribution}: pip install 'tracing-gateway[import]'" in ran.err
