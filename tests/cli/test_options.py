"""Options of several commands have the same names, defaults and values."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gateway.cli.options import config_option, data_option, format_options, here, url_option
from gateway.errors import GatewayError


@click.command()
@data_option
@config_option
@url_option
@format_options
def command(**values: object) -> None:
    """Print the values of all options."""
    click.echo(json.dumps(values, default=str))


DEFAULTS = {"data": "gateway-data", "config": None, "url": None, "form": None}
GIVEN = {
    "data": (["--data", "d"], {"data": "d"}),
    "config": (["-c", "a.toml"], {"config": "a.toml"}),
    "config in words": (["--config", "a.toml"], {"config": "a.toml"}),
    "url": (["--url", "http://a"], {"url": "http://a"}),
    "json": (["--json"], {"form": "json"}),
    "csv": (["--csv"], {"form": "csv"}),
    "table": (["--table"], {"form": "table"}),
    "nothing": ([], {}),
}


@pytest.mark.parametrize(("arguments", "values"), GIVEN.values(), ids=GIVEN)
def test_options_have_defaults_and_values(arguments, values):
    """Each option sets its own parameter."""
    result = CliRunner().invoke(command, arguments)
    assert json.loads(result.stdout) == DEFAULTS | values


@pytest.mark.parametrize(("option", "kind"), [("--data", "file"), ("-c", "folder")])
def test_a_file_is_no_folder_and_the_reverse(tmp_path, option, kind):
    """A wrong kind of path is a usage error that names the option."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    result = CliRunner().invoke(command, [option, str(tmp_path / kind)])
    assert (result.exit_code, option in result.stderr) == (2, True)


def test_the_working_directory_may_be_gone(tmp_path, monkeypatch):
    """A removed directory is an error with a remedy, not a traceback."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    assert here() == Path(gone)
    gone.rmdir()
    with pytest.raises(GatewayError, match="change to another one"):
        here()
