"""Where the configuration comes from: files found and merged, variables filled in, and the origin of every value.

From the outermost to the one that wins: the user's folder; `gateway.toml` from the root down to the working directory;
the file named by `-c`; what was set while running, which is kept in the data folder; flags. Beside each file its `.env`
is read, unless `dotenv = false` has been said so far. The process's own environment wins over those.
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
SETTINGS = "config.json"
"""In the data folder: providers, aliases and api_keys that were set while running, each entry whole."""

KEPT = ("providers", "aliases", "api_keys")
# A path in a message is followed by one of these.
_ENDS = ("", ".", "[", ":", " ")
_DEEPEST = 16
Kind = Literal["default", "file", "environment", "flag"]
Steps = tuple[str, ...]
Tree = dict[str, Any]
"""Tables, whose other values, and empty tables, are `Said`."""


class Origin(Struct, frozen=True, kw_only=True):
    """Where a value comes from.

    Attributes:
        file: Its file.
        variables: The variables that are named in it, each of the environment or of a `.env`.

    """

    kind: Kind
    file: str | None = None
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it in few words."""
        return ", ".join(filter(None, (self.file or self.kind, " ".join(self.variables))))


class Said(Struct, frozen=True):
    """A value as it is written, and who wrote it."""

    value: Any
    kind: Kind
    file: str | None = None

    def __repr__(self) -> str:
        """Any value may be a key."""
        return f"<Said {self.file or self.kind}>"


class Loaded(Struct, frozen=True, kw_only=True):
    """A configuration as it is in force.

    Attributes:
        environ: The process's environment and the `.env` files below it.
        origins: Of each value that was set, by its path; all others are defaults.
        written: The same values before variables were filled in; keys may be among them.
        read: The files that were read, the winning one last.
        files: All files that were read, or would be if they were there.
        variables: Which `.env` file each variable is from that is not the process's own.

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
        """Return an error that begins with a path as one that begins with the file that it is from."""
        file = _file_of(str(error), self.origins)
        return ConfigError(f"{file}: {error}") if file else error


def places(environ: Mapping[str, str], cwd: Path) -> list[Path]:
    """Return where a `gateway.toml` may be, the outermost first."""
    home, told = environ.get("HOME"), environ.get("XDG_CONFIG_HOME", "")
    # Its specification says that a relative one is to be ignored.
    user = Path(told) if told.startswith("/") else Path(home, ".config") if home else None
    found = [*([user / "gateway" / NAME] if user else []), *(each / NAME for each in reversed((cwd, *cwd.parents)))]
    return list(dict.fromkeys(reversed(found)))[::-1]  # met twice, the inner place counts


def marked(table: Mapping[str, Any], kind: Kind, file: str | None = None, depth: int = 0) -> Tree:
    """Return a table whose every value says who wrote it. Raises ConfigError for tables in tables without an end."""
    if depth > _DEEPEST:
        raise ConfigError(f"{file or kind}: tables are nested too deeply; there are none so deep")
    return {
        key: marked(value, kind, file, depth + 1) if isinstance(value, dict) and value else Said(value, kind, file)
        for key, value in table.items()
    }


def merged(outer: Tree, inner: Tree, path: Steps = ()) -> Tree:
    """Return two layers as one: tables are merged, anything else that the inner one says replaces the outer one's."""
    both = dict(outer)
    for key, value in inner.items():
        old = both.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and not _other_kind((*path, key), old, value):
            both[key] = merged(old, value, (*path, key))
        elif not (isinstance(old, dict) and isinstance(value, Said) and value.value == {}):
            both[key] = value
    return both


def _other_kind(path: Steps, outer: Tree, inner: Tree) -> bool:
    """Whether two tables are of different kinds, so that one's keys are none of the other's."""
    types = [each.get("type") for each in (outer, inner)]
    return path == ("retry", "increase") and len({said.value for said in types if isinstance(said, Said)}) > 1


def replaced(outer: Tree, kept: Tree) -> Tree:
    """Return a layer with the entries that were set while running, each in the place of the whole one of its name."""
    both = dict(outer)
    for key, entries in kept.items():
        old = both.get(key)
        both[key] = {**old, **entries} if isinstance(old, dict) and isinstance(entries, dict) else entries
    return both


def leaves(tree: Tree, path: str = "$") -> Iterator[tuple[str, Said]]:
    """Give each value with its path."""
    for key, value in tree.items():
        if isinstance(value, Said):
            yield f"{path}.{key}", value
        else:
            yield from leaves(value, f"{path}.{key}")


def expanded(tree: Tree, environ: Mapping[str, str], path: str = "$") -> dict[str, Any]:
    """Return the plain tables, with variables filled in. Raises ConfigError naming file, path and variable."""
    plain = {}
    for key, value in tree.items():
        below = f"{path}.{key}"
        if isinstance(value, Said):
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
    """Return the names of the variables that a written value asks for, each once."""
    if isinstance(value, str):
        return tuple(dict.fromkeys(match[1] for match in model.VARIABLE.finditer(value)))
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return tuple(dict.fromkeys(name for item in items for name in variables_in(item)))


def _file_of(message: str, origins: Mapping[str, Origin]) -> str | None:
    """Return the file of the path that a message begins with: of the value itself, or of the nearest one around it."""
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
    kept: Mapping[str, Any] | None = None,
) -> Loaded:
    """Find, read and merge all layers. Blocks. Raises ConfigError, naming file, path and what to change.

    `named`: the file given by `-c`, which must be there. `data`: the data folder. `flags`: settings by their key, which
    win over all. `search`: whether the user's folder and the working directory's are looked into. `kept`: what the data
    folder's file would say, to try it before it is written.
    """
    beyond = _Files()
    wanted = [(path, str(path)) for path in (places(environ, cwd) if search else ())]
    if named is not None:
        wanted = [each for each in wanted if not _same(each[0], cwd / named)]
    for path, shown in wanted:
        beyond.add(path, shown, named=False)
    if named is not None:
        beyond.add(cwd / named, str(named), named=True)
    tree = beyond.tree
    if data is not None:
        tree = replaced(tree, beyond.kept(cwd / data / SETTINGS, kept))
    tree = merged(tree, marked(flags or {}, "flag"))
    known = {**beyond.values, **environ}
    plain = expanded(tree, known)
    said = dict(leaves(tree))
    origins = {p: Origin(kind=s.kind, file=s.file, variables=variables_in(s.value)) for p, s in said.items()}
    try:
        made = model.made(plain)
    except ConfigError as error:
        file = _file_of(str(error), origins)
        raise ConfigError(f"{file}: {error}" if file else f"{error}") from None
    return Loaded(
        config=made,
        environ=known,
        origins=origins,
        written={path: each.value for path, each in said.items()},
        read=tuple(beyond.read),
        files=tuple(dict.fromkeys(beyond.files)),
        variables={name: path for name, path in beyond.sources.items() if name not in environ},
        warnings=tuple(beyond.warnings),
    )


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


class _Files:
    """Reads files one after the other, and keeps what they say."""

    def __init__(self) -> None:
        self.tree: Tree = {}
        self.values: dict[str, str] = {}
        self.sources: dict[str, Path] = {}
        self.read: list[Path] = []
        self.files: list[Path] = []
        self.warnings: list[str] = []

    def add(self, path: Path, shown: str, *, named: bool) -> None:
        """Read a file, where it is there, and the `.env` beside it."""
        self.files.append(path)
        table = read_toml(path, shown, named=named, warn=self.warnings.append)
        if table is None:
            return
        self.read.append(path)
        self.tree = merged(self.tree, marked(table, "file", shown))
        said = self.tree.get("dotenv")
        if not (isinstance(said, Said) and said.value is False):
            self._dotenv(path.parent / ".env")

    def _dotenv(self, path: Path) -> None:
        self.files.append(path)
        if path.is_dir():  # where some keep a virtual environment
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
            self.warnings.append(f"{path}: line {lines} is not KEY=VALUE, and is passed over")

    def kept(self, path: Path, instead: Mapping[str, Any] | None) -> Tree:
        """Read what was set while running."""
        self.files.append(path)
        table = read_json(path, str(path), warn=self.warnings.append) if instead is None else instead
        if table is None:
            return {}
        self.read.append(path)
        for key in table:
            if key not in KEPT:
                raise ConfigError(f"{path}: $.{key}: only {', '.join(KEPT)} are kept here; take it out")
        tables = {key: value for key, value in table.items() if isinstance(value, dict)}
        others = {key: Said(value, "file", str(path)) for key, value in table.items() if key not in tables}
        return others | {key: marked(value, "file", str(path)) for key, value in tables.items()}
