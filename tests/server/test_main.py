"""Entry points of the server: tokens, settings that restart the recorder, and starts that fail."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.server.data_dir import lock_data_dir
from gateway.server.live_config.source import Source
from gateway.server.main import Options, Tokens, _recorder_settings, serve


def source(folder: Path, toml: str = "", environ: dict[str, str] | None = None, **flags: Any) -> Source:
    """Return where a configuration comes from that is one file, its data folder beside it."""
    (folder / "gateway.toml").write_text(toml)
    return Source(data=folder / "data", environ=environ or {}, cwd=folder, flags={"port": 0, **flags})


def token(folder: Path, host: str, toml: str = "", environ: dict[str, str] | None = None) -> tuple[str | None, bool]:
    """Return the token of a gateway that is started, and whether it is needed."""
    return Tokens().resolve(source(folder, toml, environ, host=host).load())


LOOPBACK = ("127.0.0.1", "127.0.0.2", "::1", "localhost")
BEYOND = ("0.0.0.0", "::", "192.0.2.1", "example.com", "")


@pytest.mark.parametrize("host", LOOPBACK)
def test_on_loopback_no_token_is_needed(tmp_path, host):
    """Unless it is asked for."""
    assert token(tmp_path, host) == (None, False)
    made, required = token(tmp_path, host, "[auth]\nrequired = true")
    assert (len(made or ""), required) == (32, True)
    said = {"GATEWAY_TOKEN": "from-the-environment\n"}
    assert token(tmp_path, host, environ=said) == ("from-the-environment", False)


@pytest.mark.parametrize("host", BEYOND)
def test_beyond_loopback_a_token_is_needed(tmp_path, host):
    """The file's, else the environment's, else a new one each time; unless it is said that none is."""
    (first, needed), (second, _) = (token(tmp_path, host) for _ in range(2))
    assert (len(first or ""), needed) == (32, True)
    assert first != second
    said = {"GATEWAY_TOKEN": "from-the-environment"}
    assert token(tmp_path, host, environ=said) == ("from-the-environment", True)
    assert token(tmp_path, host, '[auth]\ntoken = "from-the-file"', said) == ("from-the-file", True)
    assert token(tmp_path, host, "[auth]\nrequired = false", said) == ("from-the-environment", False)


def test_a_token_is_made_at_the_start_only(tmp_path):
    """Where one is needed all at once, nobody would be told it; the one that was made and told stays."""
    open_, closed = source(tmp_path).load(), source(tmp_path, "[auth]\nrequired = true").load()
    tokens = Tokens()
    assert tokens.resolve(open_) == (None, False)
    with pytest.raises(ConfigError, match=r"^\$\.auth\.required: .*GATEWAY_TOKEN"):
        tokens.resolve(closed)
    tokens = Tokens()
    first, _ = tokens.resolve(closed)
    assert tokens.resolve(open_) == (None, False)
    assert tokens.resolve(closed) == (first, True)
    assert (first or "nothing") not in repr(tokens)


THE_RECORDERS = (
    "[store]\nmax_age_days = 3",
    "[sql]\nmax_rows = 3",
    "[otlp]\nvocabulary = 'openinference'",
    "[capture]\notlp = 'full'",
    "[capture]\notlp_bytes = 3",
)
THE_WORKERS = (
    "[capture]\nstore = 'off'",
    "[api_keys]\na = 'k'",
    "[limits]\ndrain_seconds = 3.0",
    "[retry]\nmax_tries = 1",
)


@pytest.mark.parametrize("toml", [*THE_RECORDERS, *THE_WORKERS])
def test_the_recorder_is_started_again_for_what_it_reads_once(tmp_path, toml):
    """Its settings, and where the exporter sends; not for what concerns the workers alone."""
    before, after = _recorder_settings(source(tmp_path).load()), _recorder_settings(source(tmp_path, toml).load())
    assert (before != after) == (toml in THE_RECORDERS)
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    assert _recorder_settings(source(tmp_path, environ=environ).load()) != before
    assert _recorder_settings(source(tmp_path, environ={"A_KEY": "k"}).load()) == before


@pytest.fixture(name="taken")
def _taken() -> Iterator[int]:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


CANNOT: dict[str, tuple[dict[str, Any], str]] = {
    "a provider without a place": ({"toml": "[providers.a]\nprefix = 'a/'"}, r"\$\.providers\.a: base_url"),
    "a provider that is ours": ({"toml": "[providers.demo]\nbase_url = 'http://x'"}, r"\$\.providers\.demo"),
    "a host that is not ours": ({"host": "no.such.host.invalid"}, "--host"),
}


@pytest.mark.parametrize(("said", "error"), CANNOT.values(), ids=CANNOT.keys())
def test_what_cannot_work_ends_before_anything_is_started(tmp_path, said, error):
    """A configuration error is raised in the parent, and nothing is left held."""
    with pytest.raises(ConfigError, match=error):
        serve(Options(source=source(tmp_path, **said), workers=1))
    os.close(lock_data_dir(tmp_path / "data"))


def test_a_port_that_is_taken_leaves_the_folder_free(tmp_path, taken):
    """The next try with another port finds the folder as it was."""
    with pytest.raises(ConfigError, match=f"port {taken}"):
        serve(Options(source=source(tmp_path, port=taken), workers=1))
    os.close(lock_data_dir(tmp_path / "data"))
