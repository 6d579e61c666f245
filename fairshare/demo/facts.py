"""The demo world as plain JSON, so that its totals can be worked out by somebody who knows the documents and not the code.

Instants are milliseconds since 1970, amounts minor units. ``customer_keys`` are opaque: two events that share one are of
the same customer. Pure.
"""

import csv
import io
from typing import Any

import msgspec

from core.events import Event, Lead, Order, Refund, Touch
from fairshare.demo.cards import reference_rates
from fairshare.demo.stages import stages
from fairshare.demo.world import World

FACTS_SECRET = b"the facts of the demo world"
"""Keys the customers' hashes in the facts; an installation has its own, and the same joins."""

_LISTS: tuple[tuple[str, type], ...] = (("touches", Touch), ("leads", Lead), ("orders", Order), ("refunds", Refund))


def facts_of(world: World) -> dict[str, Any]:
    """Catalogue, events by kind in the order of their arrival, and when they were booked and paid.

    Each touch also has ``human``: false where a machine made it, or where its link is disabled or unknown. ``stages``: all
    events with ``received_at < booked_at`` were known at a booking; holds that end until ``booked_at`` (for north: until
    ``prepared_at``) are over; north's batch takes what is payable then, and is paid where it has ``settled_at``. ``rates`` are, by day,
    what one euro was worth, in decimals.
    """
    lists = {name: [_plain(event, world) for event in world.events if isinstance(event, kind)] for name, kind in _LISTS}
    return {
        "seed": world.seed,
        "anchor": world.anchor,
        "stages": msgspec.to_builtins(stages(world.anchor)),
        "catalogue": _whole(world.catalogue),
        "rates": {row.pop("Date"): row for row in csv.DictReader(io.StringIO(reference_rates(world.anchor).decode()))},
        **lists,
    }


def _plain(event: Event, world: World) -> dict[str, Any]:
    fields: dict[str, Any] = _whole(event)
    return fields | {"human": event.event_id not in world.machine_touches} if isinstance(event, Touch) else fields


def _whole(value: Any) -> Any:
    """Every field by its name, defaults too: who reads the facts does not know the defaults."""
    if isinstance(value, msgspec.Struct):
        return {name: _whole(getattr(value, name)) for name in value.__struct_fields__}
    return [_whole(item) for item in value] if isinstance(value, tuple) else value
