"""The makers that a key is for, by its form, and the providers that may be sent it."""

import pytest

from gateway.config.model import parse
from gateway.errors import ConfigError
from gateway.providers import table
from gateway.providers.audience import SHARED, admits, is_of, makers, needs_key, of_another
from gateway.providers.catalog import CATALOG

OWN = "[providers.own]\nbase_url = 'http://127.0.0.1:9/v1'\n"
PROVIDERS = table.build(parse(OWN, {}, "t"), {"AWS_REGION": "r", "GOOGLE_CLOUD_PROJECT": "p"})
FORMS = [(name, form) for name, entry in CATALOG.items() for form in entry.key_forms if form != SHARED.decode()]


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_a_form_of_the_catalog_is_its_makers(name, form):
    """A key that begins so is that provider's, goes there whatever the path, and to no other provider by any path."""
    key = f"{form}0123456789abcdef".encode()
    assert name in makers(key)
    assert is_of(key, name)
    assert admits(PROVIDERS[name], key, addressed=False)
    for other in PROVIDERS.keys() - makers(key):
        assert of_another(key, PROVIDERS[other])
        assert not admits(PROVIDERS[other], key, addressed=True)


@pytest.mark.parametrize(
    "key", [b"", b"x", b"ollama", b"sk-ant-", b"not-needed", b"a-key-of-no-known-form", b"sk-0123456789ab"]
)
def test_any_other_key_goes_by_the_path(key):
    """Short ones are words, and OpenAI's form is shared."""
    assert makers(key) == frozenset()
    assert admits(PROVIDERS["own"], key, addressed=True)
    assert not admits(PROVIDERS["own"], key, addressed=False)


@pytest.mark.parametrize("name", [*CATALOG, "own"])
def test_providers_that_need_a_key(name):
    """All of the catalog, but for servers on this machine and those with a cloud's credentials only."""
    if name in PROVIDERS:
        assert needs_key(PROVIDERS[name]) == (name not in {"own", "vertex", *table.KEYLESS})


def test_the_setting_names_providers():
    """A name in `pass_client_keys_to` that is no provider's is an error with the path."""
    passing = table.build(parse(f"{OWN}[auth]\npass_client_keys_to = ['own']", {}, "t"), {})["own"]
    assert admits(passing, b"sk-ant-0123456789", addressed=False)
    assert not admits(passing, b"sk-ant-0123456789", addressed=False, alone=False)
    with pytest.raises(ConfigError, match=r"\$\.auth\.pass_client_keys_to\[0\]: there is no provider 'nope'"):
        table.build(parse("[auth]\npass_client_keys_to = ['nope']", {}, "t"), {})
