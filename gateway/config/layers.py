"""Layers of the configuration, found and merged, with variables expanded and the origin of every value.

From the outermost layer to the one that wins: the user's configuration directory; every `gateway.toml` from the root
down to the working directory; the file named by `-c`; the runtime overrides in the data directory; flags. The `.env`
beside each file is read too, unless a layer so far has set `dotenv = false`. The process's environment wins over those.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from gateway.config import dotenv, model
from gateway.config.files import read_json, read_text, read_toml
from gateway.config.model import Config
from gateway.errors import ConfigError

NAME = "gateway.toml"
OVERRIDES = "config.json"
"""The file of runtime overrides in the data directory: entries of providers, aliases and api_keys, each whole."""

OVERRIDABLE = ("providers", "aliases", "api_keys")
# Characters that may follow a path in a message.
_ENDS = ("", ".", "[", ":", " ")
_DEPTH_MAX = 16
Kind = Literal["default", "file", "environment", "flag"]
Steps = tuple[str, ...]
Tree = dict[str, Any]
"""Tables by key; every other value, and every empty table, is a `SourcedValue`."""


class Origin(Struct, frozen=True, kw_only=True):
    """The origin of a value.

    Attributes:
        file: Its file.
        variables: The variables expanded in it, each from the environment or a `.env`.

    """

    kind: Kind
    file: str | None = None
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the file, or else the kind, and the variables."""
        return ", ".join(filter(None, (self.file or self.kind, " ".join(self.variables))))


class SourcedValue(Struct, frozen=True):
    """A value before expansion, and the layer that set it."""

    value: Any
    kind: Kind
    file: str | None = None

    def __repr__(self) -> str:
        """Leave out the value, which may be a key."""
        return f"<SourcedValue {self.file or self.kind}>"


class Loaded(Struct, frozen=True, kw_only=True):
    """A configuration with its sources.

    Attributes:
        environ: The process's environment, over the variables of the `.env` files.
        origins: The origin of each value that was set, by its path; all others are defaults.
        written: The same values before variables were expanded; keys may be among them.
        read: The files that were read, the winning one last.
        files: All files that were read, or would be if they existed.
        variables: The `.env` file of each variable that is not the process's own.

    """

    config: Config
    environ: Mapping[str, str]
    origins: Mapping[str, Origin]
    written: Mapping[str, Any]
    read: tuple[Path, ...]
    files: tuple[Path, ...]
    variables: Mapping[str, Path]
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Keep keys and variables out."""
        return f"<Loaded {', '.join(map(str, self.read)) or 'no files'}>"

    def blamed(self, error: ConfigError) -> ConfigError:
        """Return an error that begins with a path, prefixed with the file that set the value at the path."""
        file = _file_of(str(error), self.origins)
        return ConfigError(f"{file}: {error}") if file else error


def search_paths(environ: Mapping[str, str], cwd: Path) -> list[Path]:
    """Return the paths at which a `gateway.toml` is searched for, the outermost first."""
    home, xdg = environ.get("HOME"), environ.get("XDG_CONFIG_HOME", "")
    # The XDG specification has relative paths ignored.
    user = Path(xdg) if xdg.startswith("/") else Path(home, ".config") if home else None
    found = [*([user / "gateway" / NAME] if user else []), *(each / NAME for each in reversed((cwd, *cwd.parents)))]
    return list(dict.fromkeys(reversed(found)))[::-1]  # of duplicates, the innermost counts


def sourced(table: Mapping[str, Any], kind: Kind, file: str | None = None, depth: int = 0) -> Tree:
    """Return a table with the layer of every value. Raises ConfigError if tables are nested too deeply."""
    if depth > _DEPTH_MAX:
        raise ConfigError(f"{file or kind}: tables are nested more than {_DEPTH_MAX} deep; flatten them")
    return {
        key: sourced(value, kind, file, depth + 1)
        if isinstance(value, dict) and value
        else SourcedValue(value, kind, file)
        for key, value in table.items()
    }


def merged(outer: Tree, inner: Tree, path: Steps = ()) -> Tree:
    """Merge two layers: tables key by key; any other value of the inner one replaces the outer one's."""
    both = dict(outer)
    for key, value in inner.items():
        old = both.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and not _other_kind((*path, key), old, value):
            both[key] = merged(old, value, (*path, key))
        elif not (isinstance(old, dict) and isinstance(value, SourcedValue) and value.value == {}):
            both[key] = value
    return both


def _other_kind(path: Steps, outer: Tree, inner: Tree) -> bool:
    """Whether two tables are of different kinds, so that keys of one are invalid in the other."""
    types = [each.get("type") for each in (outer, inner)]
    return path == ("retry", "increase") and len({each.value for each in types if isinstance(each, SourcedValue)}) > 1


def overridden(outer: Tree, overrides: Tree) -> Tree:
    """Return a layer with the runtime overrides, each of which replaces an entry as a whole."""
    both = dict(outer)
    for key, entries in overrides.items():
        old = both.get(key)
        both[key] = {**old, **entries} if isinstance(old, dict) and isinstance(entries, dict) else entries
    return both


def leaves(tree: Tree, path: str = "$") -> Iterator[tuple[str, SourcedValue]]:
    """Yield the path of each value, and the value."""
    for key, value in tree.items():
        if isinstance(value, SourcedValue):
            yield f"{path}.{key}", value
        else:
            yield from leaves(value, f"{path}.{key}")


def expanded(tree: Tree, environ: Mapping[str, str], path: str = "$") -> dict[str, Any]:
    """Return plain tables with variables expanded. Raises ConfigError naming file, path and variable."""
    plain = {}
    for key, value in tree.items():
        below = f"{path}.{key}"
        if isinstance(value, SourcedValue):
            try:
                plain[key] = model.expand(value.value, environ, below)
            except ConfigError as error:
                raise ConfigError(f"{value.file or value.kind}: {error}") from None
            except RecursionError:
                raise ConfigError(f"{value.file or value.kind}: {below}: lists are nested too deeply") from None
        else:
            plain[key] = expanded(value, environ, below)
    return plain


def variables_in(value: Any) -> tuple[str, ...]:
    """Return the names of the variables in a value before expansion, each once."""
    if isinstance(value, str):
        return tuple(dict.fromkeys(match[1] for match in model.VARIABLE.finditer(value)))
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return tuple(dict.fromkeys(name for item in items for name in variables_in(item)))


def _file_of(message: str, origins: Mapping[str, Origin]) -> str | None:
    """Return the file of the path that a message begins with: the value's own, or else the nearest enclosing one's."""
    best, found = 2, None
    for path, origin in origins.items():
        end = len(path)
        while end >= best:
            if message.startswith(path[:end]) and message[end : end + 1] in _ENDS:
                best, found = end, origin.file
                break
            end = path.rfind(".", 0, end)
    return found


def load(
    *,
    named: Path | None,
    data: Path | None,
    environ: Mapping[str, str],
    cwd: Path,
    flags: Mapping[str, Any] | None = None,
    search: bool = True,
    overrides: Mapping[str, Any] | None = None,
) -> Loaded:
    """Find, read and merge all layers. Blocks. Raises ConfigError naming file, path and what to change.

    `named`: the file given by `-c`, which must exist. `data`: the data directory. `flags`: settings by their key, which
    win over all others. `search`: whether `search_paths` are read. `overrides`: replaces the content of the overrides
    file, to try a change before it is written.
    """
    files = _Files()
    wanted = [(path, str(path)) for path in (search_paths(environ, cwd) if search else ())]
    if named is not None:
        wanted = [each for each in wanted if not _same(each[0], cwd / named)]
    for path, shown in wanted:
        files.add(path, shown, named=False)
    if named is not None:
        files.add(cwd / named, str(named), named=True)
    tree = files.tree
    if data is not None:
        tree = overridden(tree, files.overrides(cwd / data / OVERRIDES, overrides))
    tree = merged(tree, sourced(flags or {}, "flag"))
    known = {**files.values, **environ}
    plain = expanded(tree, known)
    values = dict(leaves(tree))
    origins = {
        path: Origin(kind=each.kind, file=each.file, variables=variables_in(each.value))
        for path, each in values.items()
    }
    try:
        config = model.build(plain)
    except ConfigError as error:
        file = _file_of(str(error), origins)
        raise ConfigError(f"{file}: {error}" if file else f"{error}") from None
    return Loaded(
        config=config,
        environ=known,
        origins=origins,
        written={path: each.value for path, each in values.items()},
        read=tuple(files.read),
        files=tuple(dict.fromkeys(files.files)),
        variables={name: path for name, path in files.sources.items() if name not in environ},
        warnings=tuple(files.warnings),
    )


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


class _Files:
    """Reads files one after the other, and merges their tables and variables."""

    def __init__(self) -> None:
        self.tree: Tree = {}
        self.values: dict[str, str] = {}
        self.sources: dict[str, Path] = {}
        self.read: list[Path] = []
        self.files: list[Path] = []
        self.warnings: list[str] = []

    def add(self, path: Path, shown: str, *, named: bool) -> None:
        """Read a file, if it exists, and the `.env` beside it."""
        self.files.append(path)
        table = read_toml(path, shown, named=named, warn=self.warnings.append)
        if table is None:
            return
        self.read.append(path)
        self.tree = merged(self.tree, sourced(table, "file", shown))
        switch = self.tree.get("dotenv")
        if not (isinstance(switch, SourcedValue) and switch.value is False):
            self._dotenv(path.parent / ".env")

    def _dotenv(self, path: Path) -> None:
        self.files.append(path)
        if path.is_dir():  # a virtual environment of this name
            return
        text = read_text(path, str(path), named=False, instead="set dotenv = false", warn=self.warnings.append)
        if text is None:
            return
        self.read.append(path)
        found = dotenv.parse(text)
        self.values.update(found.values)
        self.sources.update(dict.fromkeys(found.values, path))
        if found.unread:
            lines = ", ".join(map(str, found.unread[:5]))
            self.warnings.append(f"{path}: line {lines} is not KEY=VALUE and is ignored; correct it")

    def overrides(self, path: Path, instead: Mapping[str, Any] | None) -> Tree:
        """Read the runtime overrides, or take `instead` for the content of their file."""
        self.files.append(path)
        table = read_json(path, str(path), warn=self.warnings.append) if instead is None else instead
        if table is None:
            return {}
        self.read.append(path)
        for key in table:
            if key not in OVERRIDABLE:
                raise ConfigError(f"{path}: $.{key}: only {', '.join(OVERRIDABLE)} can be overridden; remove it")
        tables = {key: value for key, value in table.items() if isinstance(value, dict)}
        others = {key: SourcedValue(value, "file", str(path)) for key, value in table.items() if key not in tables}
        return others | {key: sourced(value, "file", str(path)) for key, value in tables.items()}
