"""TLS by files: CAs, client certificates, and errors that name the setting."""

import shutil
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.providers.http.client import Client, ConnectFailed
from gateway.providers.http.origin import Origin
from gateway.providers.http.tls import TlsContexts, TlsFiles, checked
from gateway.providers.http.ways_out import Way
from tests.support.certificates import Authority
from tests.support.upstream import Upstream


@pytest.fixture(scope="module", name="authority")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


async def status(upstream: Upstream, files: TlsFiles) -> int:
    """Send one request on a connection of its own, and return the status."""
    client = Client()
    try:
        origin = Origin("https", "127.0.0.1", upstream.port)
        sent = client.send(origin, b"GET", b"/", [], b"", connect_timeout=5, first_byte_timeout=5, way=Way(tls=files))
        return (await sent).status
    finally:
        await client.close()


async def test_an_own_ca(authority: Authority) -> None:
    """A server of one's own CA is trusted by `ca_file`, and by the system's CAs it is not."""
    async with Upstream(tls=authority.server("127.0.0.1")) as upstream:
        assert await status(upstream, TlsFiles(str(authority.ca_file))) == 200
        with pytest.raises(ConnectFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await status(upstream, TlsFiles())


@pytest.mark.parametrize("joined", [False, True])
async def test_a_client_certificate(authority: Authority, tmp_path: Path, joined: bool) -> None:
    """A certificate with its key, in one file or two, opens a server that asks for one."""
    certificate, key = authority.issue("client")
    if joined:
        one = tmp_path / "one.pem"
        one.write_bytes(certificate.read_bytes() + key.read_bytes())
        files = TlsFiles(str(authority.ca_file), str(one))
    else:
        files = TlsFiles(str(authority.ca_file), str(certificate), str(key))
    async with Upstream(tls=authority.server("127.0.0.1", verify=True)) as upstream:
        assert await status(upstream, files) == 200


async def test_a_renewed_file_is_loaded(authority: Authority, tmp_path: Path) -> None:
    """A file that changes is loaded again for the next connection, and one that does not is loaded once."""
    contexts, ca_file = TlsContexts(), tmp_path / "ca.pem"
    shutil.copy(authority.ca_file, ca_file)
    files = TlsFiles(str(ca_file))
    first = await contexts.of(files)
    assert await contexts.of(files) is first
    ca_file.write_bytes(Authority(tmp_path / "..").ca_file.read_bytes())
    assert await contexts.of(files) is not first
    ca_file.unlink()
    with pytest.raises(FileNotFoundError):
        await contexts.of(files)


def test_files_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    """The error names the setting, the file and the remedy."""
    certificate, key = map(str, authority.issue("client"))
    other, ca, text = str(authority.issue("other")[1]), str(authority.ca_file), tmp_path / "text"
    text.write_text("planted")
    wrong = {
        ("ca_file", "name a PEM file"): TlsFiles(ca_file=str(tmp_path / "none.pem")),
        ("ca_file", "name a PEM file "): TlsFiles(ca_file=str(tmp_path)),
        ("ca_file", "holds no CA certificate in PEM"): TlsFiles(ca_file=str(text)),
        ("client_cert", "name a PEM file"): TlsFiles(client_cert="", client_key=key),
        ("client_cert", "private key"): TlsFiles(client_cert=certificate),
        ("client_cert", "private key; "): TlsFiles(client_cert=certificate, client_key=other),
        ("client_cert", "holds no certificate"): TlsFiles(client_cert=str(text), client_key=key),
        ("client_key", "client_cert is missing"): TlsFiles(client_key=key),
        ("client_key", "No such file"): TlsFiles(client_cert=certificate, client_key=str(tmp_path / "none")),
    }
    for (name, message), files in wrong.items():
        with pytest.raises(ConfigError, match=rf"^\$\.providers\.x\.{name}: .*{message.strip()}") as refused:
            checked(files, "$.providers.x")
        assert "planted" not in str(refused.value)
    for files in (TlsFiles(), TlsFiles(ca), TlsFiles(ca, certificate, key)):
        assert checked(files, "$.tls") == files
