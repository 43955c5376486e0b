"""Layers of the configuration: the files that are read, their precedence, and the origin of every value."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.files import LARGEST
from gateway.config.layers import Loaded, leaves, load, merged, overridden, search_paths, sourced
from gateway.errors import ConfigError
from gateway.proxy.routing.context import build_runtime
from tests.cli.test_main import run
from tests.support.gateways import Process
from tests.support.raw_http import exchange, request
from tests.support.upstream import Upstream, reply


def write(path: Path, text: str) -> Path:
    """Write a file, and create the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


class Tree:
    """A user's configuration directory, and a working directory two levels below another."""

    def __init__(self, root: Path) -> None:
        self.user = root / "home/.config/gateway/gateway.toml"
        self.outer = root / "work/gateway.toml"
        self.inner = root / "work/a/b/gateway.toml"
        self.named = root / "elsewhere/my.toml"
        self.cwd = root / "work/a/b"
        self.cwd.mkdir(parents=True)
        self.data = root / "data"
        self.environ = {"HOME": str(root / "home")}

    def load(self, named: Path | None = None, **more: Any) -> Loaded:
        """Load the configuration of this tree."""
        options = {"data": self.data, "environ": self.environ, "cwd": self.cwd} | more
        return load(named=named, **options)

    def refused(self, named: Path | None = None, **more: Any) -> str:
        """Return the error of a load."""
        with pytest.raises(ConfigError) as caught:
            self.load(named, **more)
        return str(caught.value)


@pytest.fixture(name="tree")
def _tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


# -- precedence


def test_nothing_is_needed(tree: Tree):
    """Without any file all settings have their defaults; the paths that were searched are known."""
    loaded = tree.load()
    assert (loaded.read, loaded.origins, loaded.warnings) == ((), {}, ())
    assert {tree.user, tree.outer, tree.inner, tree.data / "config.json"} < set(loaded.files)


def test_inner_layers_win(tree: Tree):
    """Precedence grows from the user's directory over the root down to the working directory, `-c` and flags."""
    write(tree.user, "port = 1\n[timeouts]\nconnect = 1.0\nfirst_byte = 1.0\nidle = 1.0\n[limits]\ndrain_seconds = 1.0")
    write(tree.outer, "[timeouts]\nconnect = 2.0\nfirst_byte = 2.0\nidle = 2.0")
    write(tree.inner, "[timeouts]\nconnect = 3.0\nfirst_byte = 3.0")
    write(tree.named, "port = 4\n[timeouts]\nconnect = 4.0")
    loaded = tree.load(tree.named, flags={"port": 5})
    config, timeouts = loaded.config, loaded.config.timeouts
    assert (config.limits.drain_seconds, timeouts.idle, timeouts.first_byte, timeouts.connect) == (1, 2, 3, 4)
    assert config.port == 5
    assert {path: str(origin) for path, origin in loaded.origins.items()} == {
        "$.limits.drain_seconds": str(tree.user),
        "$.timeouts.idle": str(tree.outer),
        "$.timeouts.first_byte": str(tree.inner),
        "$.timeouts.connect": str(tree.named),
        "$.port": "flag",
    }
    assert loaded.read == (tree.user, tree.outer, tree.inner, tree.named)


def test_overrides_replace_whole_entries(tree: Tree):
    """A runtime override replaces the whole entry of its name, and leaves other entries unchanged."""
    write(tree.inner, "[providers.a]\nbase_url = 'http://a'\nprefix = 'x/'\n[providers.b]\nbase_url = 'http://b'")
    overrides = {
        "providers": {"a": {"base_url": "http://c"}},
        "aliases": {"s": {"candidates": ["a/m"]}},
        "api_keys": {"k": "v"},
    }
    write(tree.data / "config.json", json.dumps(overrides))
    loaded = tree.load()
    a, b = loaded.config.providers["a"], loaded.config.providers["b"]
    assert (a.base_url, a.prefix, b.base_url) == ("http://c", None, "http://b")
    assert loaded.config.api_keys == {"k": "v"}
    assert loaded.origins["$.providers.a.base_url"].file == str(tree.data / "config.json")
    assert loaded.origins["$.providers.b.base_url"].file == str(tree.inner)
    assert "$.providers.a.prefix" not in loaded.origins


def test_overrides_can_be_tried(tree: Tree):
    """Overrides on trial replace the content of their file, which is neither read nor written."""
    write(tree.data / "config.json", "{")
    assert tree.load(overrides={"api_keys": {"k": "v"}}).config.api_keys == {"k": "v"}
    error = tree.refused(overrides={"providers": {"a": {"prot": 1}}})
    assert error.startswith(f"{tree.data}/config.json: $.providers.a.prot: there is no such key")
    assert (tree.data / "config.json").read_text() == "{"


def test_an_increase_of_another_type_is_replaced(tree: Tree):
    """An increase of another type drops the outer one's keys; one without a type is merged with it."""
    write(tree.outer, "[retry.increase]\ntype = 'exponential'\nmultiplier = 3.0")
    write(tree.inner, "[retry.increase]\ntype = 'additive'\namount = 5.0")
    assert tree.load().config.retry.increase.amount == 5.0
    write(tree.inner, "[retry.increase]\nmultiplier = 4.0")
    assert tree.load().config.retry.increase.multiplier == 4.0
    write(tree.inner, "[retry]\nincrease = 'constant'")
    assert tree.load().config.retry.increase == "constant"


def test_a_file_of_two_layers_is_read_once(tree: Tree):
    """A file is read once if it is the working directory's and also that of `-c` or the user's."""
    write(tree.inner, "port = 1")
    assert tree.load(Path("gateway.toml")).read == (tree.inner,)
    assert tree.load(Path("../b/gateway.toml")).config.port == 1
    assert len(tree.load(Path("../b/gateway.toml")).read) == 1
    environ = tree.environ | {"XDG_CONFIG_HOME": str(tree.cwd.parent)}
    assert tree.load(environ=environ, cwd=tree.cwd.parent / "gateway").read == ()
    found = search_paths({"XDG_CONFIG_HOME": "/x"}, Path("/x/gateway/y"))
    assert found == [
        Path("/gateway.toml"),
        Path("/x/gateway.toml"),
        Path("/x/gateway/gateway.toml"),
        Path("/x/gateway/y/gateway.toml"),
    ]


def test_the_users_directory_is_that_of_the_xdg_specification():
    """The user's directory is $XDG_CONFIG_HOME if that is absolute, else ~/.config; without a home there is none."""
    cwd = Path("/w")
    assert search_paths({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}, cwd)[0] == Path("/x/gateway/gateway.toml")
    assert search_paths({"HOME": "/h", "XDG_CONFIG_HOME": "x"}, cwd)[0] == Path("/h/.config/gateway/gateway.toml")
    assert search_paths({}, cwd) == [Path("/gateway.toml"), Path("/w/gateway.toml")]


def test_without_a_search_only_the_named_file_is_read(tree: Tree):
    """With `search=False` no other file than that of `-c` is read."""
    write(tree.inner, "port = 1")
    write(tree.named, "host = 'localhost'")
    loaded = tree.load(tree.named, search=False)
    assert (loaded.config.port, loaded.config.host, loaded.read) == (4000, "localhost", (tree.named,))


words = st.sampled_from("abcd")
tables = st.recursive(
    st.dictionaries(words, st.integers() | st.lists(st.integers(), max_size=2), max_size=4),
    lambda inner: st.dictionaries(words, inner | st.integers(), max_size=4),
    max_leaves=8,
)


def plain(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a tree."""
    return {key: plain(value) if isinstance(value, dict) else value.value for key, value in tree.items()}


@given(st.lists(tables, min_size=1, max_size=4))
def test_the_innermost_value_wins_with_its_origin(layers):
    """Each active value is that of the innermost layer that sets it, and names that layer as its origin."""
    tree: dict[str, Any] = {}
    for number, layer in enumerate(layers):
        tree = merged(tree, sourced(layer, "file", str(number)))

    def expected(below: list[tuple[int, Any]]) -> Any:
        """Return the active value of one path: its tables merge, back to the last layer with another value there."""
        number, last = below[-1]
        if not isinstance(last, dict):
            return number, last
        run = []
        for entry in reversed(below):
            if not isinstance(entry[1], dict):
                break
            run.append(entry)
        run.reverse()
        keys = dict.fromkeys(key for _, table in run for key in table)
        return {key: expected([(n, table[key]) for n, table in run if key in table]) for key in keys}

    def actual(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: actual(value) for key, value in tree.items()}
        return {} if tree.value == {} else (int(tree.file), tree.value)

    assert actual(tree) == expected(list(enumerate(layers)))
    assert {path for path, _ in leaves(tree)} == {path for path, _ in leaves(sourced(plain(tree), "file"))}


@given(tables, tables)
def test_overrides_win_whole(files, overrides):
    """Each override is active unchanged, and so is every other entry of the files."""
    overrides = {key: value for key, value in overrides.items() if isinstance(value, dict)}
    found = plain(overridden(sourced(files, "file"), {key: sourced(value, "file") for key, value in overrides.items()}))
    for key, entries in overrides.items():
        old = files.get(key)
        assert found[key] == {**(old if isinstance(old, dict) else {}), **entries}
    assert {key: value for key, value in found.items() if key not in overrides} == {
        key: value for key, value in files.items() if key not in overrides
    }


# -- variables


def test_dotenv_files_are_read_beside_each_layer(tree: Tree):
    """An inner `.env` wins over an outer one, the process's environment over both; each variable has its file."""
    write(tree.outer, "")
    write(tree.outer.parent / ".env", "A=outer\nB=outer\nC=outer")
    write(tree.inner, "[api_keys]\nk = '${env:A}${env:B}${env:C}'")
    write(tree.inner.parent / ".env", "B=inner\nC=inner")
    loaded = tree.load(environ=tree.environ | {"C": "process"})
    assert loaded.config.api_keys["k"] == "outerinnerprocess"
    assert loaded.variables == {"A": tree.outer.parent / ".env", "B": tree.inner.parent / ".env"}
    assert loaded.origins["$.api_keys.k"].variables == ("A", "B", "C")
    assert tree.inner.parent / ".env" in loaded.files


def test_a_dotenv_file_holds_keys_of_providers(tree: Tree):
    """A key in a `.env` file counts like one of the environment."""
    write(tree.inner, "")
    write(tree.inner.parent / ".env", "GROQ_API_KEY=from-a-file")
    loaded = tree.load()
    assert build_runtime(loaded.config, loaded.environ).providers["groq"].environment_key == "from-a-file"


def test_dotenv_can_be_turned_off(tree: Tree):
    """`dotenv = false` applies from its layer inwards; an inner layer may turn it on again."""
    for path, name in ((tree.user, "USER"), (tree.outer, "OUTER"), (tree.inner, "INNER")):
        write(path, "")
        write(path.parent / ".env", f"{name}=1")
    write(tree.outer, "dotenv = false")
    assert set(tree.load().variables) == {"USER"}
    write(tree.inner, "dotenv = true")
    assert set(tree.load().variables) == {"USER", "INNER"}


def test_a_dotenv_file_alone_is_not_read(tree: Tree):
    """A `.env` without a configuration file beside it belongs to another program, and is not read."""
    write(tree.inner.parent / ".env", "A=1")
    assert tree.load().variables == {}


def test_an_invalid_line_of_a_dotenv_file_is_a_warning_without_its_text(tree: Tree):
    """An invalid line is a warning and no error, since other tools read these files, too."""
    write(tree.inner, "")
    write(tree.inner.parent / ".env", "A=1\nplanted secret\n")
    loaded = tree.load()
    assert loaded.warnings == (f"{tree.inner.parent}/.env: line 2 is not KEY=VALUE and is ignored; correct it",)


def test_a_directory_named_dotenv_is_ignored(tree: Tree):
    """A directory `.env`, such as a virtual environment, is ignored without a warning."""
    write(tree.inner, "")
    (tree.inner.parent / ".env").mkdir()
    assert tree.load().warnings == ()


# -- errors


def test_an_error_names_the_file_of_the_very_value(tree: Tree):
    """An error names the file that set the wrong value, after all layers were merged."""
    write(tree.outer, "[providers.a]\nbase_url = 'http://x'\ntimeout = 1.0\n[timeouts]\nidle = 1.0")
    write(tree.inner, "[providers.a]\ntimeout = 'x'")
    assert tree.refused() == f"{tree.inner}: $.providers.a.timeout: Expected `float | null`, got `str`"
    write(tree.inner, "[timeouts]\nidle = -1.0")
    assert tree.refused() == f"{tree.inner}: $.timeouts.idle must be more than 0, not -1.0"
    write(tree.inner, "[providers.a]\ntimeuot = 1.0")
    assert tree.refused().startswith(
        f"{tree.inner}: $.providers.a.timeuot: there is no such key; did you mean `timeout`"
    )
    write(tree.inner, "[aliases.'gpt-5.4']\norder = 'random'")
    assert tree.refused() == f"{tree.inner}: $.aliases.gpt-5.4: the key `candidates` is missing"
    write(tree.inner, "[providers.b]\nprefix = 'p/'\nbase_url = 'http://x'\n[providers.a]\nprefix = 'p/'")
    assert tree.refused().startswith(f"{tree.inner}: $.providers.b.prefix 'p/' is also the prefix of $.providers.a")
    write(tree.inner, "[retry]\nmax_tries = 0")
    assert tree.refused().startswith(f"{tree.inner}: $.retry.max_tries must be from 1")


def test_an_error_found_after_loading_names_a_file(tree: Tree):
    """An error that begins with a path is prefixed with the file that set the value at the path."""
    write(tree.outer, "[aliases.a]\ncandidates = ['b']")
    write(tree.inner, "[aliases.b]\ncandidates = ['a']")
    loaded = tree.load()
    with pytest.raises(ConfigError) as caught:
        build_runtime(loaded.config, loaded.environ)
    blamed = str(loaded.blamed(caught.value))
    assert blamed.startswith((f"{tree.outer}: $.aliases.a.candidates: ", f"{tree.inner}: $.aliases.b.candidates: "))
    assert str(loaded.blamed(ConfigError("elsewhere"))) == "elsewhere"
    assert str(loaded.blamed(ConfigError("$.aliasesx: no"))) == "$.aliasesx: no"


def test_a_missing_variable_is_named_with_path_and_file(tree: Tree):
    """A variable that is not set is an error only if the value that needs it is active."""
    write(
        tree.outer, "[providers.a]\nbase_url = 'http://x'\napi_key = '${env:NO_SUCH}'\nheaders = {x-b = '${env:NO_B}'}"
    )
    assert tree.refused().startswith(
        f"{tree.outer}: $.providers.a.api_key: the environment variable NO_SUCH is not set; set it, or write"
    )
    write(tree.inner, "[providers.a]\napi_key = 'k'\nheaders = {x-b = 'b'}")
    assert tree.load().config.providers["a"].api_key == "k"


def deep(text: str) -> str:
    """Return a text repeated 5,000 times."""
    return text * 5000


BROKEN = {
    "no TOML": ("[retry\n", "not valid TOML: "),
    "brackets": (f"a = {deep('[')}", "not valid TOML: "),
    "dots": (f"{'.'.join(deep('a'))} = 1", "tables are nested more than 16 deep"),
    "a long number": (f"port = {deep('9')}", "not valid TOML: "),
    "large": ("#" * 10 * LARGEST, "has more than 1 MiB"),
}


@pytest.mark.parametrize(("text", "error"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named(tree: Tree, text, error):
    """A file that cannot be parsed is an error that names it."""
    write(tree.inner, text)
    assert tree.refused().startswith(f"{tree.inner}: {error}")


def test_a_file_that_cannot_be_read_is_named(tree: Tree):
    """A loop of links, a broken link, a directory, a pipe and text that is not UTF-8 are errors that name the file."""
    tree.inner.symlink_to(tree.inner)
    assert "Too many levels of symbolic links" in tree.refused()
    tree.inner.unlink()
    tree.inner.symlink_to("nowhere")
    assert "a broken link" in tree.refused()
    tree.inner.unlink()
    tree.inner.mkdir()
    assert tree.refused().startswith(f"{tree.inner}: is a directory")
    tree.inner.rmdir()
    os.mkfifo(tree.inner)
    assert tree.refused().startswith(f"{tree.inner}: is no regular file")
    tree.inner.unlink()
    tree.inner.write_bytes(b"\xffport = 1")
    assert tree.refused().startswith(f"{tree.inner}: not UTF-8 text")
    tree.inner.write_bytes(b"\xef\xbb\xbfport = 1\r\n")
    assert tree.load().config.port == 1
    assert tree.refused(Path("no-such.toml")).startswith("no-such.toml: there is no such file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tree: Tree):
    """A file that may not be read is an error, although it was only searched for."""
    write(tree.inner, "").chmod(0)
    assert tree.refused().startswith(f"{tree.inner}: cannot be read: Permission denied")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_in_a_world_writable_directory_is_refused(tree: Tree):
    """Such a file could send the user's keys elsewhere; named by `-c`, or in a private directory, it is read."""
    os.chown(write(tree.outer, "port = 1"), 12345, 12345)
    assert tree.load().config.port == 1
    tree.outer.parent.chmod(0o1777)
    assert "belongs to another user" in tree.refused()
    assert tree.load(tree.outer).config.port == 1


OVERRIDES = {
    "no JSON": ("{", "not a JSON object: "),
    "a list": ("[]", "not a JSON object: "),
    "another table": ('{"retry": {}}', "$.retry: only providers, aliases, api_keys can be overridden"),
    "no entries": ('{"providers": 3}', "$.providers: Expected `table`, got `int`"),
    "a wrong entry": ('{"providers": {"a": {"base_url": 3}}}', "$.providers.a.base_url: Expected `str | null`"),
    "a missing variable": ('{"api_keys": {"a": "${env:NO_SUCH}"}}', "$.api_keys.a: the environment variable NO_SUCH"),
    "nested": ('{"aliases": {"a": {"candidates": ' + deep("[") + deep("]") + "}}}", ""),
}


@pytest.mark.parametrize(("text", "error"), OVERRIDES.values(), ids=OVERRIDES)
def test_a_broken_overrides_file_is_named(tree: Tree, text, error):
    """A broken overrides file is an error that names it, like any other file."""
    path = write(tree.data / "config.json", text)
    assert tree.refused().startswith(f"{path}: {error}")


def test_nothing_shows_a_key(tree: Tree):
    """The repr of a loaded configuration, and of its parts, has no value."""
    write(tree.inner, "[api_keys]\na = 'planted'\n[auth]\ntoken = 'planted'")
    loaded = tree.load(environ=tree.environ | {"X": "planted"})
    assert "planted" not in repr(loaded)
    assert "planted" not in repr(sourced(loaded.written, "file"))


# -- the command


@pytest.mark.integration
async def test_the_command_reads_its_layers(upstream: Upstream, tmp_path):
    """A provider of the user's file, with a key of the `.env` beside it, is reached by `gateway serve`."""
    upstream.answer = lambda _asked: reply({"id": "c", "model": "m", "choices": []})
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "user")}
    write(
        tmp_path / "user/gateway/gateway.toml",
        f"[providers.mine]\nbase_url = '{upstream.url}/v1'\napi_key = '${{env:MY_KEY}}'",
    )
    write(tmp_path / "user/gateway/.env", "MY_KEY=of-the-file")
    async with Process(tmp_path, environ=environ) as gateway:
        body = b'{"model":"mine/m","messages":[]}'
        assert (await exchange(gateway.url, request("POST", "/v1/chat/completions", [], body))).status == 200
    assert upstream.asked[-1].header("authorization") == "Bearer of-the-file"


async def test_the_command_names_the_file_of_what_cannot_work(tmp_path):
    """The command's error names the file of the wrong layer; with `--bare` that file is not read."""
    write(tmp_path / "gateway.toml", "[aliases.a]\ncandidates = []")
    ran = await run(tmp_path, "--port", "0")
    assert (ran.code, ran.out) == (1, "")
    assert f"Error: {tmp_path}/gateway.toml: $.aliases.a.candidates: the alias has no models" in ran.err
    ran = await run(tmp_path, "--port", "0", "--bare", "--host", "no.such.host.invalid")
    assert "cannot listen on no.such.host.invalid port 0" in ran.err


async def test_flags_win_over_files(tmp_path):
    """`--host` wins over `$.host`; a setting without a flag keeps its configured value."""
    write(tmp_path / "gateway.toml", "host = 'no.such.host.invalid'\nport = 1")
    ran = await run(tmp_path)
    assert "cannot listen on no.such.host.invalid port 1:" in ran.err
    ran = await run(tmp_path, "--port", "2", "--host", "other.invalid")
    assert "cannot listen on other.invalid port 2:" in ran.err
