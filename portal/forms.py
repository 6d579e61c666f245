"""Forms: read every field, collect every fault, show the form again with what was typed.

A reader (``form.text("name")``) returns the value, or an empty one after noting a fault under the field's name. So a
handler reads all fields first and then asks once: ``if form.faults: return page(…, status=422, form=form)``.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from starlette.requests import Request

from core.clock import Instant, parse_instant
from core.errors import BadInput
from core.ids import is_slug
from core.money import parse_amount

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_EMAIL = re.compile(r"[^\s@<>\"']{1,64}@[^\s@<>\"']+\.[^\s@<>\"'.]{2,}")
_PERCENT = re.compile(r"(\d{1,3})(?:\.(\d{1,2}))?\s*%?", re.ASCII)
Value = TypeVar("Value")
MOST_FIELDS = 20_000
"""Of one form; the longest that a body can hold (``portal.app.MOST_BODY_BYTES``) stays the nearer bound for most."""


class Form:
    """What was typed (``values``, by field) and what is wrong with it (``faults``: field -> message; "" is the whole form)."""

    def __init__(self, values: Mapping[str, Sequence[str]] | None = None) -> None:
        self.values = {name: list(texts) for name, texts in (values or {}).items()}
        self.faults: dict[str, str] = {}

    @classmethod
    def of(cls, **values: str | Sequence[str]) -> "Form":
        """A form as a page first shows it, with these values filled in."""
        return cls({name: [value] if isinstance(value, str) else value for name, value in values.items()})

    def fault(self, field: str, message: str) -> None:
        """Note what is wrong; the first fault of a field stands."""
        self.faults.setdefault(field, message)

    def raw(self, field: str) -> str:
        """What was typed, as it is; empty if the field was not sent."""
        return next(iter(self.values.get(field, ())), "")

    def all(self, field: str) -> list[str]:
        """Every value of a field that may come several times (check boxes)."""
        return self.values.get(field, [])

    def checked(self, field: str) -> bool:
        """Whether a check box was ticked."""
        return bool(self.raw(field))

    def text(self, field: str, *, required: bool = True, longest: int = 255) -> str:
        """One line, trimmed."""
        value = self.raw(field).strip()
        if not value and required:
            self.fault(field, "Please fill this in.")
        elif len(value) > longest:
            self.fault(field, f"At most {longest} characters; this has {len(value)}.")
        elif _CONTROL.search(value):
            self.fault(field, "Line breaks and control characters are not taken here.")
        return value

    def lines(self, field: str, *, longest: int = 255, most: int = 100) -> list[str]:
        """A text area with one value a line: trimmed, without empty lines and repeats."""
        values = list(dict.fromkeys(line.strip() for line in self.raw(field).splitlines() if line.strip()))
        if len(values) > most:
            self.fault(field, f"At most {most} lines; this has {len(values)}.")
        for value in values:
            if len(value) > longest or _CONTROL.search(value):
                self.fault(field, f"The line that begins with {value[:20]!r} is too long or holds control characters.")
        return values

    def slug(self, field: str, *, required: bool = True) -> str:
        """An id that people choose: 1 to 63 of ``a-z 0-9 -``."""
        value = self.text(field, required=required)
        if value and not is_slug(value):
            self.fault(field, "Use 1 to 63 of a-z, 0-9 and dashes, without a dash at either end.")
        return value

    def email(self, field: str, *, required: bool = True) -> str:
        """An e-mail address, in lower case."""
        value = self.text(field, required=required).lower()
        if value and _EMAIL.fullmatch(value) is None:
            self.fault(field, "This does not look like an e-mail address.")
        return value

    def choice(self, field: str, options: Collection[str], *, required: bool = True) -> str:
        """One of ``options``; an unknown one is a fault and reads as empty."""
        value = self.text(field, required=required)
        if value and value not in options:
            self.fault(field, "Please choose one of the list.")
            return ""
        return value

    def many(self, field: str, options: Collection[str]) -> list[str]:
        """Any of ``options``, in the order sent."""
        values = list(dict.fromkeys(self.all(field)))
        if any(value not in options for value in values):
            self.fault(field, "Please choose from the list.")
        return [value for value in values if value in options]

    def whole(self, field: str, lowest: int, highest: int, *, required: bool = True) -> int:
        """A whole number in ``[lowest, highest]``."""
        value = self.text(field, required=required)
        if not value:
            return lowest
        if not re.fullmatch(r"-?[0-9]{1,16}", value) or not lowest <= int(value) <= highest:
            self.fault(field, f"Please give a whole number from {lowest} to {highest}.")
            return lowest
        return int(value)

    def percent(self, field: str, *, required: bool = True) -> int | None:
        """``7.5`` or ``7.5 %`` as basis points (750), from 0 to 100 %; None where empty."""
        value = self.text(field, required=required)
        if not value:
            return None
        match = _PERCENT.fullmatch(value)
        points = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0")) if match else 10_001
        if points > 10_000:
            self.fault(field, "Please give a percentage from 0 to 100 with at most two decimals, such as 7.5.")
            return None
        return points

    def amount(self, field: str, currency: str, *, required: bool = True) -> int | None:
        """A decimal amount as minor units of ``currency``; None where empty."""
        value = self.text(field, required=required)
        return self._parse(field, lambda: parse_amount(value, currency, "this")) if value else None

    def date(self, field: str, *, required: bool = True) -> Instant | None:
        """``2026-11-21`` as midnight UTC; None where empty."""
        value = self.text(field, required=required)
        if value and not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
            self.fault(field, "Please give a date such as 2026-11-21.")
            return None
        return self._parse(field, lambda: parse_instant(f"{value}T00:00:00Z", "this")) if value else None

    def instant(self, field: str, *, required: bool = True) -> Instant | None:
        """``2026-11-21T20:15`` (as browsers send ``datetime-local``), read as UTC; None where empty."""
        value = self.text(field, required=required)
        return self._parse(field, lambda: parse_instant(f"{value.removesuffix('Z')}Z", "this")) if value else None

    def _parse(self, field: str, parse: Callable[[], Value]) -> Value | None:
        try:
            return parse()
        except BadInput as error:
            self.fault(field, f"{str(error)[:1].upper()}{str(error)[1:]}.")
            return None


async def read_form(request: Request) -> Form:
    """The form that a POST carries. Fields that are files are left out."""
    fields = await request.form(max_fields=MOST_FIELDS)
    values: dict[str, list[str]] = {}
    for name, value in fields.multi_items():
        if isinstance(value, str):
            values.setdefault(name, []).append(value)
    return Form(values)


def read_query_form(request: Request) -> Form:
    """The same readers over the query string: for filters."""
    values: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        values.setdefault(name, []).append(value)
    return Form(values)
