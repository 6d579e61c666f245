"""``fairshare identity``: who belongs together and why, links that do not count, and identifiers that must be forgotten."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import product
from typing import Any, get_args

import msgspec

from attribution.erasure import Erasure, erase, erase_again, plan_erasure, shared_beside
from attribution.identity import CLICK, VISITOR
from attribution.people import Alarm, People
from attribution.portraits import Device, Portrait, count_links, portrait
from core.clock import Clock, format_instant
from core.errors import BadInput, NotFound
from core.identity import SHARED_PREFIX, KeyKind, coalition_key, customer_key, is_customer_key, shared_key, tenant_key
from core.settings import Settings
from fairshare.books import opened_books
from fairshare.stores import opened_events
from store.books import Books
from store.events import EventsStore
from store.installation import known_secret
from store.links import all_coalitions, all_tenants

SPOOL_NOTE = (
    "The spool keeps what trackers recorded, this identifier with it, for some days after it was stored, and so do backups; records that "
    "were not stored yet bring it back: run `fairshare identity erase --tenant {tenant} --again` after the spool's days."
)
FORMS = "a stored key is v:VISITOR, c:TOUCH, or cid:, em:, ph:, loy:, dev:, card: or x:COALITION:em: and the like with 32 hex digits"


class Named(msgspec.Struct, frozen=True):
    """The keys that a text stands for, the merchant's own first, then the coalitions'.

    ``may_be`` are keys of the same kind that events have shown together with a stored key: from a hash no other can be derived.
    ``is_hash`` says that there may be others.
    """

    keys: tuple[str, ...]
    is_hash: bool = False
    may_be: tuple[str, ...] = ()


class Revocation(msgspec.Struct, frozen=True):
    """Links that would not count any more: pairs of keys, the second empty for all links of the first, and how many these are."""

    tenant_id: str
    pairs: tuple[tuple[str, str], ...]
    links: int
    may_be: tuple[str, ...] = ()


def key_of(settings: Settings, tenant_id: str, text: str) -> str:
    """A key as it is stored: ``em:3f2a…`` is one already, ``email:anna@shop.example`` becomes one, ``visitor:ID`` is ``v:ID``.

    Raises:
        BadInput: the value identifies nobody, or the text is no key of any kind.
    """
    kind, _, value = text.partition(":")
    if kind == "visitor" and value:
        return f"{VISITOR}{value}"
    if kind in get_args(KeyKind):
        key = customer_key(kind, value, tenant_key(known_secret(settings), tenant_id))  # type: ignore[arg-type]
        if key is None:
            raise BadInput("malformed", f"{kind} {value!r:.40} identifies nobody", "key")
        return key
    if is_customer_key(text) or (text.startswith((VISITOR, CLICK)) and value):
        return text
    known = ", ".join(f"{name}:…" for name in ("visitor", *get_args(KeyKind)))
    raise BadInput("malformed", f"{text!r:.60} is no key: name a value by {known}; {FORMS}", "key")


def named_by(settings: Settings, events: EventsStore, books: Books, tenant_id: str, text: str) -> Named:
    """Every key that stands for what a text names: an address has another one in each coalition that the tenant is or was in.

    Raises:
        BadInput: see :func:`key_of`.
    """
    own, (kind, _, value) = key_of(settings, tenant_id, text), text.partition(":")
    with books.reading() as connection:
        coalitions = sorted(one.coalition_id for one in all_coalitions(connection) if tenant_id in {each.tenant_id for each in one.members})
    if own != text:
        secret = known_secret(settings)
        shared = (
            shared_key(kind, value, one, coalition_key(secret, one))  # type: ignore[arg-type]
            for one in coalitions
            if kind in get_args(KeyKind)
        )
        return Named((own, *(key for key in shared if key)))
    is_hash = own.startswith(SHARED_PREFIX) or (bool(coalitions) and own.startswith(("em:", "ph:", "dev:", "card:")))
    return Named((own,), is_hash, tuple(shared_beside(events, tenant_id, own)) if is_hash else ())


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
        found = portrait(events, People(events, tenant_id), key_of(settings, tenant_id, text))
    if found is None:
        raise NotFound(f"tenant {tenant_id} has no event that shows {text} together with another key")
    return found


def plan_revocation(settings: Settings, tenant_id: str, one: str, other: str) -> Revocation:
    """What a revocation would make count no more: the link between two keys, or with no ``other`` all links of one.

    Raises:
        NotFound: there is no such link, or it is revoked already.
    """
    with _opened(settings, tenant_id) as (events, books):
        ones = named_by(settings, events, books, tenant_id, one)
        others = named_by(settings, events, books, tenant_id, other) if other else Named(("",))
        people = People(events, tenant_id)
        counts = {pair: count_links(people, *pair) for pair in product(ones.keys, others.keys)}
    pairs = tuple(pair for pair, count in counts.items() if count)
    if not pairs:
        what = f"no link between {one} and {other}" if other else f"no link of {one}"
        raise NotFound(f"tenant {tenant_id} has {what} that counts; `fairshare identity show` lists the links of a key")
    return Revocation(tenant_id, pairs, sum(counts.values()), (*ones.may_be, *others.may_be))


def revoke(settings: Settings, found: Revocation, reason: str, clock: Clock) -> None:
    """From now on these links never were. Nothing takes this back."""
    at = clock() / 1000
    rows = [
        {"tenant_id": found.tenant_id, "key": key, "other_key": other, "reason": reason[:500], "revoked_at": at, "stored_at": at}
        for key, other in found.pairs
    ]
    lines = b"\n".join(map(msgspec.json.encode, rows))
    with _opened(settings, found.tenant_id) as (events, _):
        events.insert_json("identity_revocations", lines, sha256(lines).hexdigest())


def plan(settings: Settings, tenant_id: str, text: str) -> tuple[Erasure, Named]:
    """What an erasure would take out and freeze."""
    with _opened(settings, tenant_id) as (events, books):
        named = named_by(settings, events, books, tenant_id, text)
        return plan_erasure(events, books, tenant_id, named.keys), named


def forget(settings: Settings, tenant_id: str, keys: tuple[str, ...], clock: Clock) -> Erasure:
    """Erase identifiers."""
    with _opened(settings, tenant_id) as (events, books):
        return erase(events, books, tenant_id, keys, clock())


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
    """The person, its keys, shared devices and links; what is left out is counted."""
    limits = ", past the limit: these are one link away" if found.is_past_limit else ", a hub: it joins nobody" if found.is_hub else ""
    lines = [f"person     {found.person_id}", f"keys       {found.keys_in_all:,}{limits}"]
    lines += [f"  {key}" for key in found.keys]
    lines += _more(found.keys_in_all - len(found.keys))
    for device in found.devices:
        lines += _turns(device)
    lines.append(f"links      {found.links_in_all:,}")
    lines += [
        f"  {format_instant(link.at)}  {link.key} - {link.other_key}  by {link.event_id}{_why_not(link.counts)}" for link in found.links
    ]
    lines += _more(found.links_in_all - len(found.links))
    return "\n".join(lines)


def _turns(device: Device) -> Iterator[str]:
    yield f"shared     {device.key}"
    yield from _more(device.turns_in_all - len(device.turns), "before these")
    for turn in device.turns:
        since = format_instant(turn.from_at) if turn.from_at is not None else "…"
        until = format_instant(turn.to_at) if turn.to_at is not None else "…"
        yield f"  {since:<24} to {until:<24}  {turn.person_id or 'nobody'}"


def _more(count: int, where: str = "") -> list[str]:
    return [f"  and {count:,} more {where}".rstrip()] if count > 0 else []


def _why_not(counts: bool) -> str:
    return "" if counts else " (does not count)"


def revocation_as_text(found: Revocation) -> str:
    links = [f"  {key} - {other}" if other else f"  {key}, with whichever key" for key, other in found.pairs]
    return "\n".join(
        [f"links that would not count any more, now or later: {found.links:,}", *links, *_hint(bool(found.may_be), found.may_be)]
    )


def erasure_as_text(found: Erasure, named: Named, is_plan: bool) -> str:
    done = "would be" if is_plan else "were"
    copies = ", ".join(f"{count:,} in {place}" for place, count in found.copies.items()) or "none"
    lines = [f"identifiers: {', '.join(found.keys)}", f"copies that {done} taken out: {copies}"]
    elsewhere = sum(map(len, found.frozen_elsewhere.values()))
    also = f", and {elsewhere:,} of other members of a coalition" if elsewhere else ""
    lines.append(f"orders that {done} frozen, with their credits: {len(found.frozen_orders):,}{also}")
    return "\n".join([*lines, *_hint(named.is_hash, named.may_be)])


def _hint(is_hash: bool, may_be: tuple[str, ...]) -> Iterator[str]:
    """What follows from a value, and not from its hash."""
    if is_hash:
        yield "not derived: other keys of the same value, a coalition's or the merchant's own; give the value itself, or name each"
        yield f"  shown by the same events: {', '.join(may_be) or 'none'}"


def as_json(found: Erasure, named: Named) -> dict[str, Any]:
    return {
        "tenant": found.tenant_id,
        "keys": list(found.keys),
        "copies": found.copies,
        "frozen_orders": list(found.frozen_orders),
        "frozen_elsewhere": sum(map(len, found.frozen_elsewhere.values())),
        "is_complete": not named.is_hash,
        "may_be_the_same": list(named.may_be),
    }
