"""Secrets are removed by `tracing.secrets` and `redaction` only: no other module has a list or placeholder for them."""

import ast
from pathlib import Path

import pytest

import gateway
from gateway.tracing.secrets import SECRET_HEADERS

ROOT = Path(gateway.__file__).parent
OWNERS = {"tracing/secrets.py", "redaction.py"}
# They list headers by API and provider, or to look for leaks, and remove nothing.
SENDERS = ("dialects/", "providers/", "proxy/", "cli/doctor/")
NAMES = {*SECRET_HEADERS, "set-cookie"}
WORDS = ("authorization", "cookie", "password", "secret", "token", "credential", "signature", "api_key", "api[_-]?key")
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


def redactions(source: str) -> list[str]:
    """Return what in a module's source removes secrets by itself, each with its line."""
    found = []
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str() | bytes() as value) if id(node) not in docstrings:
                text = value.decode("latin-1") if isinstance(value, bytes) else value
                if "[redacted" in text.lower():
                    found.append(f"{node.lineno}: a placeholder of its own, {text!r}")
                if "|" in text and sum(word in text.lower() for word in WORDS) > 1:
                    found.append(f"{node.lineno}: a pattern for the names of secrets, {text!r}")
            case ast.Set(elts=elements) | ast.List(elts=elements) | ast.Tuple(elts=elements):
                if len({_text(element) for element in elements} & NAMES) > 1:
                    found.append(f"{node.lineno}: a list of secret headers")
            case ast.Call(func=ast.Attribute(attr="replace" | "sub"), args=args):
                if any(text and set(text) <= {"*", "x", "X", "…"} for text in map(_text, args)):
                    found.append(f"{node.lineno}: a text that is replaced by a placeholder")
            case ast.Import(names=names) if any(name.name == "re2" for name in names):
                found.append(f"{node.lineno}: patterns of its own")
    return found


def _text(node: ast.AST) -> str:
    value = node.value if isinstance(node, ast.Constant) else ""
    return value.decode("latin-1").lower() if isinstance(value, bytes) else str(value).lower()


@pytest.mark.parametrize("module", [each for each in MODULES if each not in OWNERS])
def test_no_other_module_removes_secrets(module):
    """Placeholders, lists and patterns of secrets are in one place, so that nothing is redacted by half."""
    source = (ROOT / module).read_text()
    assert [each for each in redactions(source) if "headers" not in each or not module.startswith(SENDERS)] == []


@pytest.mark.parametrize(
    "source",
    [
        'x = "[redacted]"',
        'x = f"a [redacted: key] {1}"',
        'x = b"[redacted]"',
        'X = {"cookie", "x-api-key"}',
        'X = ("Authorization", "Cookie", "accept")',
        'X = frozenset({b"authorization", b"api-key"})',
        'X = re.compile("password|secret")',
        'text = text.replace(key, "***")',
        'text = pattern.sub("***", text)',
        "import re2",
    ],
)
def test_each_way_to_remove_secrets_is_found(source):
    """The check above can fail."""
    assert redactions(source) != []


@pytest.mark.parametrize("module", sorted(OWNERS))
def test_the_owners_remove_secrets(module):
    """The check finds the real thing, too."""
    assert redactions((ROOT / module).read_text()) != []
