"""What stands for a lead where an order's id would: a lead is decided, explained and booked under a name of its own. Pure.

No order has such a name: it begins with a space, and orders' ids are trimmed wherever they come in.
"""

from collections.abc import Iterable
from hashlib import sha256

from core.catalogue import Subject

PREFIX = " lead:"
EXTERNAL_ID_CHARS = 128
"""As long as an order's id may be, and so the name that stands for one."""
PLAIN_CHARS = EXTERNAL_ID_CHARS - len(PREFIX)
"""A longer lead's id is in its name as a digest, behind one more space: no lead's own id begins with one."""


def name_of(lead_id: str) -> str:
    """The name of a lead.

    >>> name_of("L-17")
    ' lead:L-17'
    """
    return PREFIX + (lead_id if len(lead_id) <= PLAIN_CHARS else f" {sha256(lead_id.encode()).hexdigest()}")


def is_lead(order_id: str) -> bool:
    """True for what :func:`name_of` made."""
    return order_id.startswith(PREFIX)


def subject_of(order_id: str) -> Subject:
    """What a rule pays for that has this id."""
    return "lead" if is_lead(order_id) else "order"


def spoken(order_id: str) -> str:
    """For people, in the middle of a sentence: ``order O-1``, ``lead L-17``."""
    return f"lead {order_id.removeprefix(PREFIX).strip()}" if is_lead(order_id) else f"order {order_id}"


def asked_by(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """What to look for in a table of leads: their ids, and the digests of those whose id is too long for their name."""
    parts = sorted({name.removeprefix(PREFIX) for name in names if is_lead(name)})
    return [part for part in parts if not part.startswith(" ")], [part[1:] for part in parts if part.startswith(" ")]
