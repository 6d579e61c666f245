"""Fields taken out of a JSON object one by one, every fault collected, so that an integrator sees all of them at once."""

from collections.abc import Collection, Mapping
from typing import Any

from core.clock import Instant, parse_instant
from core.errors import BadInput
from core.money import parse_amount

TEXT_CHARS = 255
MOST_FAULTS = 100


class Fields:
    """One object of a body. Every method takes a field; :meth:`end` refuses those that nobody took.

    A missing or faulty field gives its default, and the fault goes to ``faults``: the values count only where there are
    none. ``path`` is the object's own name in messages, such as ``lines[2]``.
    """

    def __init__(self, content: Any, faults: list[BadInput], path: str = "") -> None:
        self.faults = faults
        self._path = path
        self._rest: dict[str, Any] = {}
        if isinstance(content, Mapping):
            # null is how many programs say "not given".
            self._rest = {name: value for name, value in content.items() if value is not None}
        else:
            self._fault("malformed", "", f"{path or 'the body'} is not a JSON object")

    @property
    def path(self) -> str:
        """The object's own name in messages; empty for the body."""
        return self._path

    def has(self, name: str) -> bool:
        """True where a field is there and not yet taken."""
        return name in self._rest

    def name_of(self, name: str) -> str:
        """The field's full name, as messages show it."""
        return f"{self._path}.{name}" if self._path else name

    def text(self, name: str, chars: int = TEXT_CHARS, required: bool = False) -> str:
        """A trimmed text of at most ``chars`` characters, none of them a control character."""
        value = self._take(name, required)
        if value is None:
            return ""
        if not isinstance(value, str):
            self._fault("malformed", name, f"{self.name_of(name)} is not a text in quotes")
            return ""
        text = value.strip()
        if not text and required:
            self._fault("missing_field", name, f"{self.name_of(name)} is empty")
        if len(text) > chars:
            self._fault("too_large", name, f"{self.name_of(name)} has {len(text)} characters; at most {chars} are taken")
            return ""
        if any(letter < " " or letter == "\x7f" for letter in text):
            self._fault("malformed", name, f"{self.name_of(name)} holds a control character")
            return ""
        return text

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        value = self.text(name)
        if value and value not in choices:
            self._fault("malformed", name, f"{self.name_of(name)} {value!r:.40} is none of {', '.join(sorted(filter(None, choices)))}")
            return default
        return value or default

    def flag(self, name: str) -> bool:
        """A boolean, false by default."""
        value = self._take(name)
        if value is not None and not isinstance(value, bool):
            self._fault("malformed", name, f"{self.name_of(name)} is neither true nor false")
        return value is True

    def whole(self, name: str, default: int, lowest: int, highest: int) -> int:
        """A whole number between ``lowest`` and ``highest``, both included."""
        value = self._take(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            self._fault("malformed", name, f"{self.name_of(name)} is not a whole number from {lowest} to {highest}")
            return default
        return value

    def amount(self, name: str, currency: str, required: bool = False) -> int | None:
        """A decimal in quotes, zero or more, in minor units; None where it is missing or the currency is not known."""
        value = self._take(name, required)
        if value is None:
            return None
        if not isinstance(value, str):
            kind = "a JSON number, which may have lost a cent on its way" if isinstance(value, int | float) else "not a text"
            self._fault("malformed", name, f'{self.name_of(name)} is {kind}; send a decimal in quotes such as "12.30"')
            return None
        if not currency:
            return None
        try:
            minor = parse_amount(value.strip(), currency, self.name_of(name))
        except BadInput as fault:
            self._add(fault)
            return None
        if minor < 0:
            self._fault("malformed", name, f"{self.name_of(name)} is below zero; money taken back is a refund")
            return None
        return minor

    def instant(self, name: str) -> Instant | None:
        """An RFC 3339 time with a zone; None where it is not given."""
        value = self.text(name, 64)
        if not value:
            return None
        try:
            return parse_instant(value, self.name_of(name))
        except BadInput as fault:
            self._add(fault)
            return None

    def objects(self, name: str, most: int) -> list["Fields"]:
        """A list of at most ``most`` objects."""
        return [Fields(value, self.faults, f"{self.name_of(name)}[{index}]") for index, value in enumerate(self._list(name, most))]

    def one_or_more(self, name: str, most: int) -> list["Fields"]:
        """A list of at most ``most`` objects, or one object without a list around it."""
        if isinstance(self._rest.get(name), Mapping):
            return [self.nested(name)]
        return self.objects(name, most)

    def texts(self, name: str, most: int, chars: int) -> list[str]:
        """A list of at most ``most`` texts, empty ones left out."""
        found = []
        for index, value in enumerate(self._list(name, most)):
            one = Fields({str(index): value}, self.faults, self.name_of(name))
            found.append(one.text(str(index), chars))
        return [text for text in found if text]

    def nested(self, name: str) -> "Fields":
        """An object inside this one, empty where it is not given."""
        return Fields(self._rest.pop(name, {}), self.faults, self.name_of(name))

    def names(self) -> list[str]:
        """The fields that are there and not yet taken."""
        return list(self._rest)

    def end(self) -> None:
        """Refuse what is left: a misspelt field would otherwise be lost without a word."""
        for name in self._rest:
            self._fault("unknown_field", name[:64], f"{self.name_of(name)[:120]} is not a field that is known here")
        self._rest = {}

    def fault(self, code: str, name: str, message: str) -> None:
        """Add a fault of a field."""
        self._fault(code, name, message)

    def _list(self, name: str, most: int) -> list[Any]:
        value = self._take(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self._fault("malformed", name, f"{self.name_of(name)} is not a list")
            return []
        if len(value) > most:
            self._fault("too_large", name, f"{self.name_of(name)} has {len(value)} entries; at most {most} are taken")
            return []
        return value

    def _take(self, name: str, required: bool = False) -> Any:
        value = self._rest.pop(name, None)
        if value is None and required:
            self._fault("missing_field", name, f"{self.name_of(name)} is missing")
        return value

    def _fault(self, code: str, name: str, message: str) -> None:
        self._add(BadInput(code, message, self.name_of(name) if name else self._path))

    def _add(self, fault: BadInput) -> None:
        """The rest of very many faults is not listed: the answer would be larger than the request."""
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(fault)
