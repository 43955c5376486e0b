"""Rules for the layout, the imports and the prose of the project, which no linter checks.

There are no exceptions.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT, TESTS

PACKAGE = ROOT / "gateway"
MODULES = sorted(PACKAGE.rglob("*.py"))
FACES = {"__init__", "__main__"}
PACKAGES = {"cli", "server", "proxy", "providers", "dialects", "tracing", "store", "config", "client"}
ROOT_MODULES = {"errors", "ids", "redaction", "semconv"}

FENCES = {
    "aiohttp": {"server", "proxy"},
    "duckdb": {"store"},
    "opentelemetry.sdk": {"tracing", "store"},
}
"""Each library, and the packages that may import it."""

MOST_LINES, FEWEST_LINES = 500, 60
QUESTION_WORDS = re.compile(r"\s*(?:What|Where|Whom|Who|How|Whose|That|When)\b")
# A path below somebody's home, or a folder of a machine; the container's own home is part of the product.
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:work|root|Users|mnt|home/(?!gateway\b))\b/?")
TEXTS = {".py", ".md", ".toml", ".sql", ".sh", ".yml", ".yaml", ".mjs", ".html", ".js", ".css", ".json", ""}


def name_of(module: Path) -> str:
    """Return a module's path below `gateway`."""
    return module.relative_to(PACKAGE).as_posix()


def package_of(module: Path) -> str:
    """Return the top-level package of a module; the module's own name for one at the root."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def nodes(module: Path) -> tuple[ast.AST, ...]:
    """Return the syntax of a module."""
    return tuple(ast.walk(ast.parse(module.read_bytes())))


def imports(module: Path) -> Iterator[str]:
    """Yield the full name of everything that a module imports, wherever the statement is."""
    for node in nodes(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def docstrings(module: Path) -> Iterator[str]:
    """Yield the docstrings of a module, its classes and its functions."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in nodes(module):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield text


def project_files() -> list[Path]:
    """Return the project's text files, without those of caches and virtual environments."""
    folders = ("gateway", "tests", "dashboards", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")] + list(ROOT.iterdir())
    left_out = {".git", "__pycache__", "node_modules"}
    return sorted(path for path in files if path.is_file() and path.suffix in TEXTS and left_out.isdisjoint(path.parts))


def test_packages_and_root_modules():
    """The package has nine packages and four modules at its root."""
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - FACES
    assert (packages, modules) == (PACKAGES, ROOT_MODULES)


def test_every_module_has_its_test_file():
    """The tests of `gateway/a/b.py` are in `tests/a/test_b.py`."""
    missing = {
        name_of(module)
        for module in MODULES
        if module.stem not in FACES
        and not (TESTS / module.relative_to(PACKAGE)).with_name(f"test_{module.name}").exists()
    }
    assert missing == set()


def test_no_module_is_too_long():
    """A module that outgrows the limit is two modules."""
    lengths = {name_of(module): len(module.read_bytes().splitlines()) for module in MODULES}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_no_module_is_too_short():
    """A module of a few lines belongs into another one, unless it is the face of a package."""
    short = {
        name_of(module)
        for module in MODULES
        if module.stem not in FACES and len(module.read_bytes().splitlines()) < FEWEST_LINES
    }
    assert short == set()


@pytest.mark.parametrize("library", FENCES)
def test_a_library_stays_within_its_packages(library: str):
    """A library that is fenced in is imported by the packages that own it, and by no other."""
    importers = {
        package_of(module)
        for module in MODULES
        for imported in imports(module)
        if imported == library or imported.startswith(f"{library}.")
    }
    assert importers == FENCES[library]


def test_no_docstring_opens_with_a_question_word():
    """A docstring opens with a noun phrase or an imperative."""
    found = Counter(
        package_of(module) for module in MODULES for text in docstrings(module) if QUESTION_WORDS.match(text)
    )
    assert found == {}


def test_the_reference_implementation_has_a_name():
    """The Rust proxy whose API is supported is called chronicle."""
    files = [*MODULES, *PACKAGE.rglob("*.sql"), *ROOT.glob("*.md")]
    assert [str(path.relative_to(ROOT)) for path in files if re.search(r"\bthe seed\b", path.read_text())] == []


def test_no_path_of_a_machine():
    """Nothing in the project refers to a folder of the machine that it was written on."""
    found = {
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in project_files()
        for match in MACHINE_PATHS.finditer(path.read_text(errors="replace"))
    }
    assert found == set()
