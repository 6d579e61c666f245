"""``fairshare identity``: who belongs together and why, links that do not count, and identifiers that must be forgotten."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, get_args

import msgspec

from attribution.erasure import Erasure, erase, erase_again, plan_erasure
from attribution.people import Alarm, People, Portrait
from core.clock import Clock, format_instant
from core.errors import BadInput, NotFound
from core.identity import KeyKind, customer_key, tenant_key
from core.settings import Settings
from fairshare.books import opened_books
from fairshare.stores import opened_events
from store.books import Books
from store.events import EventsStore
from store.installation import known_secret
from store.links import all_tenants

SPOOL_NOTE = (
    "The spool keeps what trackers recorded, this identifier with it, for some days after it was stored, and so do backups; records that "
    "were not stored yet bring it back: run `fairshare identity erase --tenant {tenant} --again` after the spool's days."
)


def key_of(settings: Settings, tenant_id: str, text: str) -> str:
    """A key as it is stored: ``em:3f2a…`` is one already, ``email:anna@shop.example`` becomes one, ``visitor:ID`` is ``v:ID``.

    Raises:
        BadInput: the value identifies nobody.
    """
    kind, _, value = text.partition(":")
    if kind == "visitor":
        return f"v:{value}"
    if kind not in get_args(KeyKind):
        return text
    key = customer_key(kind, value, tenant_key(known_secret(settings), tenant_id))  # type: ignore[arg-type]
    if key is None:
        raise BadInput("malformed", f"{kind} {value!r:.40} identifies nobody", "key")
    return key


def alarms(settings: Settings, tenant_id: str) -> list[Alarm]:
    """The tenant's components past the limit, the largest first."""
    with _opened(settings, tenant_id) as (events, _):
        return People(events, tenant_id).alarms()


def show_person(settings: Settings, tenant_id: str, text: str) -> Portrait:
    """Everything that is known with a key, and by which events.

    Raises:
        NotFound: nothing is linked with the key.
    """
    with _opened(settings, tenant_id) as (events, _):
        found = People(events, tenant_id).portrait(key_of(settings, tenant_id, text))
    if found is None:
        raise NotFound(f"tenant {tenant_id} has no event that shows {text} together with another key")
    return found


def revoke_link(settings: Settings, tenant_id: str, one: str, other: str, reason: str, clock: Clock) -> None:
    """From now on the link between two keys never was; with no ``other``, none of the key's links was. Nothing takes this back."""
    keys = [key_of(settings, tenant_id, one), key_of(settings, tenant_id, other) if other else ""]
    at = clock() / 1000
    row = {"tenant_id": tenant_id, "key": keys[0], "other_key": keys[1], "reason": reason[:500], "revoked_at": at, "stored_at": at}
    line = msgspec.json.encode(row)
    with _opened(settings, tenant_id) as (events, _):
        events.insert_json("identity_revocations", line, sha256(line).hexdigest())


def plan(settings: Settings, tenant_id: str, text: str) -> Erasure:
    """What an erasure would take out and freeze."""
    with _opened(settings, tenant_id) as (events, books):
        return plan_erasure(events, books, tenant_id, key_of(settings, tenant_id, text))


def forget(settings: Settings, tenant_id: str, text: str, clock: Clock) -> Erasure:
    """Erase an identifier."""
    with _opened(settings, tenant_id) as (events, books):
        return erase(events, books, tenant_id, key_of(settings, tenant_id, text), clock())


def forget_again(settings: Settings, tenant_id: str, clock: Clock) -> int:
    """Erase what came back with events that had been recorded before."""
    with _opened(settings, tenant_id) as (events, books):
        return erase_again(events, books, tenant_id, clock())


@contextmanager
def _opened(settings: Settings, tenant_id: str) -> Iterator[tuple[EventsStore, Books]]:
    with opened_books(settings) as books, opened_events(settings) as events:
        with books.reading() as connection:
            if tenant_id not in {tenant.tenant_id for tenant in all_tenants(connection)}:
                raise NotFound(f"there is no tenant {tenant_id!r:.80}")
        yield events, books


# --- for a terminal --------------------------------------------------------------------------------------------------


def alarms_as_text(found: list[Alarm]) -> str:
    lines = [
        f"{one.person_id}: {one.keys:,} keys, glued by {one.glue} ({one.neighbours:,} neighbours); without it at most {one.left:,}"
        for one in found
    ]
    return "\n".join(lines) or "no person has too many keys"


def portrait_as_text(found: Portrait) -> str:
    head = [f"person     {found.person_id}", f"keys       {len(found.keys)}" + (", past the limit" if found.is_past_limit else "")]
    keys = [f"  {key}" for key in found.keys]
    links = [
        f"  {format_instant(link.at)}  {link.key} - {link.other_key}  by {link.event_id}{_why_not(link.counts)}" for link in found.links
    ]
    return "\n".join([*head, *keys, "links", *links])


def _why_not(counts: bool) -> str:
    return "" if counts else " (does not count)"


def erasure_as_text(found: Erasure, is_plan: bool) -> str:
    done = "would be" if is_plan else "were"
    copies = ", ".join(f"{count:,} in {place}" for place, count in found.copies.items()) or "none"
    return f"copies that {done} taken out: {copies}\norders that {done} frozen, with their credits: {len(found.frozen_orders):,}"


def as_json(found: Erasure) -> dict[str, Any]:
    return {"tenant": found.tenant_id, "copies": found.copies, "frozen_orders": list(found.frozen_orders)}
