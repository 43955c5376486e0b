import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.config.model import parse
from gateway.providers.auth.extras import BEDROCK, VERTEX, Extra, gcloud_file, google_file, static_aws, warnings
from gateway.providers.auth.refresh import CredentialError
from gateway.providers.table import build

# Run as `python -c`: neither library can be imported, as if its extra were not installed.
WITHOUT = """
import sys
sys.modules["botocore"] = sys.modules["google.auth"] = None
"""
CREDENTIALS = (
    WITHOUT
    + """
import asyncio, json
from gateway.errors import ExchangeError
from gateway.providers.auth.aws import AwsCredentials
from gateway.providers.auth.google import GoogleCredentials
from gateway.providers.http.client import Client

async def outcome(credentials):
    try:
        return repr(await credentials.get(1_790_000_000.0))
    except ExchangeError as error:
        return [error.kind.value, error.message]

async def main():
    client = Client()
    aws, google = json.loads(sys.argv[1])
    found = [await outcome(AwsCredentials(each)) for each in aws]
    found += [await outcome(GoogleCredentials(client, each)) for each in google]
    await client.close()
    print(json.dumps([found, [name for name in sys.modules if name.startswith(("botocore.", "google.auth."))]]))

asyncio.run(main())
"""
)
CHECK = WITHOUT + "from gateway.cli.main import main\nmain()\n"
LOAD = (
    WITHOUT
    + """
import json, pathlib
from gateway.server.live_config.source import Source
home = pathlib.Path(sys.argv[1])
source = Source(data=home / "data", environ={"HOME": str(home)}, cwd=home, named=home / "gateway.toml")
print(json.dumps(source.load().warnings))
"""
)
TOML = """
[providers.aws-bedrock]
base_url = "https://bedrock-runtime.eu-west-1.amazonaws.com"
[providers.vertex]
base_url = "https://eu-aiplatform.googleapis.com/v1/projects/p/locations/eu/publishers/google"
"""


def run(script: str, *arguments: str, home: Path) -> Any:
    """Return the JSON that a script writes in a process without the libraries."""
    environ = {"HOME": str(home), "PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=environ, cwd=home, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_the_libraries_static_credentials_work(tmp_path: Path) -> None:
    """Keys and tokens of the environment need no library; whatever else is asked for names the extra."""
    file = tmp_path / "key.json"
    file.write_text('{"type": "service_account"}')
    nowhere = {"NO_GCE_CHECK": "true", "HOME": str(tmp_path)}
    aws = [{"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s"}, {"AWS_BEARER_TOKEN_BEDROCK": "b"}, {}]
    google = [
        nowhere | {"GOOGLE_OAUTH_ACCESS_TOKEN": "t"},
        nowhere | {"GOOGLE_APPLICATION_CREDENTIALS": str(file)},
        nowhere,
    ]
    found, imported = run(CREDENTIALS, json.dumps([aws, google]), home=tmp_path)
    assert found[:2] == ["<Credentials AKIA>", "<Bearer>"]
    assert found[2][0] == "auth"
    assert "AWS_ACCESS_KEY_ID is not set, and for all other sources botocore is not installed" in found[2][1]
    assert "pip install 'tracing-gateway[bedrock]'" in found[2][1]
    assert found[3] == "'t'"
    assert f"{file}: google-auth is not installed; run `pip install 'tracing-gateway[vertex]'`" in found[4][1]
    assert "There are no Google credentials." in found[5][1]
    assert imported == []


def test_check_and_start_name_the_extra_of_a_configured_provider(tmp_path: Path) -> None:
    """`gateway check` and the start warn for each configured provider, and check shows it beside the credentials."""
    (tmp_path / "gateway.toml").write_text(TOML)
    folder = tmp_path / ".config" / "gcloud"
    folder.mkdir(parents=True)
    (folder / "application_default_credentials.json").write_text("{}")
    expected = [
        f"The provider {name!r} has no credentials yet: {library} is not installed; "
        f"run `pip install 'tracing-gateway[{extra}]'`."
        for name, library, extra in (("aws-bedrock", "botocore", "bedrock"), ("vertex", "google-auth", "vertex"))
    ]
    report = run(CHECK, "check", "--json", "-c", str(tmp_path / "gateway.toml"), home=tmp_path)
    assert report["ok"]
    assert report["warnings"] == expected
    keys = {each["name"]: each["key"] for each in report["providers"]}
    assert keys["aws-bedrock"] == f"the AWS credential chain ({BEDROCK.remedy})"
    assert keys["vertex"] == f"Google's application default credentials ({VERTEX.remedy})"
    assert run(LOAD, str(tmp_path), home=tmp_path) == expected


def test_with_the_libraries_nothing_is_missing(tmp_path: Path) -> None:
    """If both libraries are installed there is no warning."""
    environ = {"HOME": str(tmp_path)}
    config = parse(TOML, environ, "t")
    assert warnings(config, build(config, environ), environ) == ()


def test_a_module_whose_library_is_missing_is_not_loaded() -> None:
    """An extra whose package does not exist is not installed, and loading what imports it names the extra."""
    for package in ("no_such_library", "no_such_parent.library"):
        extra = Extra("x", "the library", package)
        assert not extra.installed
        with pytest.raises(CredentialError, match=r"is not installed; run `pip install 'tracing-gateway\[x"):
            extra.load(package)
    assert BEDROCK.installed
    assert VERTEX.installed


@pytest.mark.parametrize(
    ("environ", "static"),
    [
        ({}, False),
        ({"AWS_PROFILE": "p", "AWS_ROLE_ARN": "r"}, False),
        ({"AWS_ACCESS_KEY_ID": "A"}, True),
        ({"AWS_BEARER_TOKEN_BEDROCK": "b"}, True),
    ],
)
def test_static_aws_credentials_are_known(environ: dict[str, str], static: bool) -> None:
    """A Bedrock key and an access key of the environment are static; nothing else is."""
    assert static_aws(environ) is static


@pytest.mark.parametrize(
    ("environ", "file"),
    [
        ({}, False),
        ({"GOOGLE_APPLICATION_CREDENTIALS": "/no/such"}, True),
        ({"GOOGLE_APPLICATION_CREDENTIALS": "f", "GOOGLE_OAUTH_ACCESS_TOKEN": "t"}, False),
        ({"GOOGLE_APPLICATION_CREDENTIALS": "f", "CLOUDSDK_AUTH_ACCESS_TOKEN": "t"}, False),
    ],
)
def test_google_credentials_in_a_file_are_known(tmp_path: Path, environ: dict[str, str], file: bool) -> None:
    """A file that a variable names, or that gcloud wrote, needs the library unless there is a token."""
    environ = {"CLOUDSDK_CONFIG": str(tmp_path)} | environ
    assert google_file(environ) is file
    gcloud_file(environ).write_text("{}")
    assert google_file({"CLOUDSDK_CONFIG": str(tmp_path)})
