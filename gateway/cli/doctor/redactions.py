"""Values that `[redaction]` is to take out: one of each built-in kind, and the user's examples of patterns. Pure."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from gateway.cli.doctor.canaries import Cage
from gateway.config.model import Redacted
from gateway.errors import ConfigError
from gateway.redaction import Redaction


class Planted(Struct, frozen=True, kw_only=True):
    """What prompts, answers and errors say besides. `untried`: patterns of which nobody has given an example."""

    text: str = ""
    untried: tuple[str, ...] = ()


def planted(cage: Cage, redaction: Redacted, examples: Sequence[str]) -> Planted:
    """Make the values. Raises ConfigError for an example that no pattern finds, without repeating it."""
    values = []
    for kind in redaction.builtin:
        value = _VALUES[kind](cage)
        if Redaction([kind]).text(value) == value:
            raise ConfigError(f"$.redaction.builtin: {kind} does not find what doctor takes for such a value")
        values.append(cage.redacted(f"a value of [redaction], {kind}", value))
    found = set()
    for number, example in enumerate(examples, 1):
        names = [
            name for name, each in redaction.patterns.items() if Redaction((), {name: each}).text(example) != example
        ]
        if not names:
            raise ConfigError(
                f"--example number {number} is matched by none of $.redaction.patterns; it is not taken out"
            )
        found.update(names)
        values.append(cage.redacted(f"an example of $.redaction.patterns, {', '.join(names)}", example))
    return Planted(text=" ; ".join(values), untried=tuple(name for name in redaction.patterns if name not in found))


def _card(cage: Cage) -> str:
    """Return a number that ends as ISO/IEC 7812 has it."""
    digits = "4" + cage.digits(14)
    total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(digits))
    return digits + str(-total % 10)


_VALUES: Mapping[str, Callable[[Cage], str]] = {
    "keys": lambda cage: f"sk-proj-{cage.letters(24)}{cage.digits(6)}",
    "emails": lambda cage: f"{cage.letters(10)}@{cage.letters(6)}.example.com",
    "cards": _card,
    "phones": lambda cage: f"+1 415 {cage.digits(3)} {cage.digits(4)}",
}
