"""The catalogue in the books: read whole or by id, written one record at a time, each change noted with its author.

Statements only: the caller opens and commits the transaction. A read returns the records of :mod:`core.catalogue`.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import msgspec
from sqlalchemy import Connection, Table, and_, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from core.catalogue import (
    RECORD_KEYS,
    Affiliate,
    ApiKey,
    Catalogue,
    Coalition,
    Coupon,
    Link,
    Membership,
    Policy,
    Programme,
    RateCard,
    Segment,
    Store,
    Tenant,
    User,
)
from core.clock import Instant
from core.errors import Conflict, NotFound
from store import schema

Record = Tenant | Store | Segment | Programme | Affiliate | Membership | Link | Coupon | Policy | RateCard | User | ApiKey | Coalition
AnyRecord = TypeVar("AnyRecord", bound=Record)
Outcome = Literal["added", "changed", "unchanged"]

KINDS: dict[type, str] = {
    Tenant: "tenants",
    Store: "stores",
    Segment: "segments",
    Programme: "programmes",
    Affiliate: "affiliates",
    Membership: "memberships",
    Link: "links",
    Coupon: "coupons",
    Policy: "policies",
    RateCard: "rate_cards",
    User: "users",
    ApiKey: "api_keys",
    Coalition: "coalitions",
}
"""Each record's table, in the order in which rows may be written: what is named comes before what names it."""

_NOUNS: dict[type, str] = {
    Tenant: "tenant",
    Store: "store",
    Segment: "segment",
    Programme: "programme",
    Affiliate: "affiliate",
    Membership: "membership",
    Link: "link",
    Coupon: "coupon",
    Policy: "policy",
    RateCard: "rate card",
    User: "user",
    ApiKey: "API key",
    Coalition: "coalition",
}
_REMOVABLE = (Coupon, ApiKey)


class Change(msgspec.Struct, frozen=True):
    """One line of the catalogue's history: ``what`` names the record and its changed fields, never their values."""

    version: int
    changed_at: Instant
    changed_by: str
    what: str


# --- reading ---------------------------------------------------------------------------------------------------------


def load_catalogue(connection: Connection, tenant_id: str | None = None) -> Catalogue:
    """The whole installation, or one tenant with its own staff, the affiliates that are its members, and its coalitions.

    Sign-ins of affiliates belong to the installation: they are left out where one tenant is asked for.
    Of a coalition's other members no more is told than their ids and dates. An unknown tenant gives an empty catalogue.
    """
    if tenant_id is None:
        whole: dict[str, Any] = {name: tuple(_records(connection, kind)) for kind, name in KINDS.items()}
        return Catalogue(**whole)
    members = select(schema.memberships.c.affiliate_id).where(schema.memberships.c.tenant_id == tenant_id)
    part: dict[str, Any] = {
        name: tuple(_records(connection, kind, _table(kind).c.tenant_id == tenant_id))
        for kind, name in KINDS.items()
        if kind not in (Affiliate, Coalition)
    }
    affiliates = tuple(_records(connection, Affiliate, schema.affiliates.c.affiliate_id.in_(members)))
    return Catalogue(affiliates=affiliates, coalitions=coalitions_of(connection, tenant_id), **part)


def find(connection: Connection, kind: type[AnyRecord], *key: str | int) -> AnyRecord | None:
    """One record by its key (:data:`core.catalogue.RECORD_KEYS`), such as ``find(connection, Programme, "north", "main")``."""
    found = _records(connection, kind, _is(kind, key))
    return found[0] if found else None


def find_link(connection: Connection, code: str) -> Link | None:
    return find(connection, Link, code)


def find_user(connection: Connection, email: str) -> User | None:
    """A user by e-mail, in any letter case."""
    return find(connection, User, email.strip().lower())


def find_api_key(connection: Connection, key_hash: str) -> ApiKey | None:
    """The key whose SHA-256 (hex) this is."""
    found = _records(connection, ApiKey, schema.api_keys.c.key_hash == key_hash)
    return found[0] if found else None


def find_coupon(connection: Connection, tenant_id: str, code: str) -> Coupon | None:
    """A tenant's coupon, in any letter case; it may be expired."""
    return find(connection, Coupon, tenant_id, code.strip().upper())


def tenants_of(connection: Connection, affiliate_id: str) -> list[Tenant]:
    """The tenants of whose programmes an affiliate is a member, in whatever status."""
    joined = select(schema.memberships.c.tenant_id).where(schema.memberships.c.affiliate_id == affiliate_id)
    return _records(connection, Tenant, schema.tenants.c.tenant_id.in_(joined))


def memberships_of(connection: Connection, affiliate_id: str, tenant_id: str | None = None) -> list[Membership]:
    """An affiliate's memberships, with all tenants or with one."""
    return _records(connection, Membership, _of_affiliate(schema.memberships, affiliate_id, tenant_id))


def links_of(connection: Connection, affiliate_id: str, tenant_id: str | None = None) -> list[Link]:
    """An affiliate's links, for all tenants or for one."""
    return _records(connection, Link, _of_affiliate(schema.links, affiliate_id, tenant_id))


def capped_links(connection: Connection, tenant_id: str, most: int) -> list[Link]:
    """A tenant's links that have a click cap: the first ``most`` by code."""
    table = schema.links.c
    has_cap = table.daily_click_cap.is_not(None) | table.total_click_cap.is_not(None)
    codes = select(table.code).where(table.tenant_id == tenant_id, has_cap).order_by(table.code).limit(most)
    return _records(connection, Link, table.code.in_(codes))


def coupons_of(connection: Connection, affiliate_id: str, tenant_id: str | None = None) -> list[Coupon]:
    """An affiliate's coupons, expired ones too, for all tenants or for one."""
    return _records(connection, Coupon, _of_affiliate(schema.coupons, affiliate_id, tenant_id))


def coalitions_of(connection: Connection, tenant_id: str) -> tuple[Coalition, ...]:
    """The coalitions that a tenant is, was or will be a member of. There are few in an installation."""
    every = _records(connection, Coalition)
    return tuple(coalition for coalition in every if any(member.tenant_id == tenant_id for member in coalition.members))


def partner_names(connection: Connection, tenant_id: str) -> dict[str, str]:
    """The names of the tenants that share a coalition with ``tenant_id``, itself included: all that it may read of them."""
    partners = {member.tenant_id for coalition in coalitions_of(connection, tenant_id) for member in coalition.members}
    table = schema.tenants.c
    found = connection.execute(select(table.tenant_id, table.name).where(table.tenant_id.in_(sorted(partners))))
    return {row.tenant_id: row.name for row in found}


def programmes_of(connection: Connection, tenant_id: str) -> tuple[Programme, ...]:
    return tuple(_records(connection, Programme, schema.programmes.c.tenant_id == tenant_id))


def policies_of(connection: Connection, tenant_id: str, programme_id: str) -> tuple[Policy, ...]:
    """All versions of a programme's policy, oldest version first."""
    return tuple(_records(connection, Policy, _of_programme(schema.policies, tenant_id, programme_id)))


def rate_cards_of(connection: Connection, tenant_id: str, programme_id: str) -> tuple[RateCard, ...]:
    """All versions of a programme's rate card, oldest version first."""
    return tuple(_records(connection, RateCard, _of_programme(schema.rate_cards, tenant_id, programme_id)))


def next_version(connection: Connection, kind: type[Policy] | type[RateCard], tenant_id: str, programme_id: str) -> int:
    """The number that a programme's next policy or rate card gets; the first is 1."""
    table = _table(kind)
    highest = select(func.max(table.c.version)).where(_of_programme(table, tenant_id, programme_id))
    return int(connection.execute(highest).scalar() or 0) + 1


def catalogue_version(connection: Connection) -> int:
    """Grows with every change; 0 for an untouched catalogue. Programs that hold the catalogue in memory watch it."""
    return int(connection.execute(select(func.max(schema.catalogue_changes.c.version))).scalar() or 0)


def recent_changes(connection: Connection, limit: int = 100) -> list[Change]:
    """The latest changes of the installation, newest first."""
    table = schema.catalogue_changes
    newest = select(table.c.version, table.c.changed_at, table.c.changed_by, table.c.what).order_by(table.c.version.desc())
    return [Change(*row) for row in connection.execute(newest.limit(limit))]


# --- writing ---------------------------------------------------------------------------------------------------------


def put(connection: Connection, record: Record, changed_by: str, at: Instant) -> Outcome:
    """Write a record under its key and note the change; an equal record is left as it is, without a note.

    Raises:
        Conflict: :func:`refusal` says why not, or the record names something the books do not hold.
    """
    _lock(connection)
    before = find(connection, type(record), *_key(record))
    if before == record:
        return "unchanged"
    if before is None:
        return _insert(connection, record, changed_by, at)
    refused = refusal(before, record)
    if refused:
        raise Conflict(refused)
    values = _values(record)
    fields = [name for name, value in _values(before).items() if values[name] != value]
    _write(connection, update(_table(type(record))).where(_is(type(record), _key(record))).values(**values), record)
    _note_of(connection, record, f"changed {describe(record)}: {', '.join(fields)}", changed_by, at)
    return "changed"


def add(connection: Connection, record: Record, changed_by: str, at: Instant) -> None:
    """Write a new record and note the change.

    Raises:
        Conflict: the key is taken, whoever holds it, or the record names something the books do not hold.
    """
    _lock(connection)
    if find(connection, type(record), *_key(record)) is not None:
        raise Conflict(f"{describe(record)} exists already; choose another id")
    _insert(connection, record, changed_by, at)


def remove(connection: Connection, kind: type[AnyRecord], *key: str, changed_by: str, at: Instant) -> None:
    """Delete a coupon or an API key and note it. Everything else is disabled or suspended, since events name it.

    Raises:
        NotFound: there is no such record.
    """
    assert kind in _REMOVABLE, f"a {_NOUNS[kind]} is never removed: events and commissions name it"
    _lock(connection)
    record = find(connection, kind, *key)
    if record is None:
        raise NotFound(f"there is no {_NOUNS[kind]} {' '.join(key)}")
    connection.execute(delete(_table(kind)).where(_is(kind, key)))
    _note(connection, f"removed {describe(record)}", changed_by, at)


def describe(record: Record) -> str:
    """A record in a message: ``link spring-blog``, ``policy north main 2``."""
    return f"{_NOUNS[type(record)]} {' '.join(str(part) for part in _key(record))}"


def refusal(before: Record, record: Record) -> str | None:
    """Why ``record`` may not take the place of ``before``, which has its key; None where it may.

    Versions never change; a key never moves to another tenant; a tenant keeps its currency, in which its rates and its
    ledger are.
    """
    if isinstance(record, Policy | RateCard) and before != record:
        return f"{describe(record)} exists with another content, and a version never changes; add the next version instead"
    if getattr(before, "tenant_id", "") != getattr(record, "tenant_id", ""):
        return f"{describe(record)} is taken; choose another id"
    if isinstance(before, Tenant) and isinstance(record, Tenant) and before.currency != record.currency:
        return f"{describe(record)} keeps its currency {before.currency}: its rate cards and its ledger are in it"
    return None


def _insert(connection: Connection, record: Record, changed_by: str, at: Instant) -> Outcome:
    _write(connection, insert(_table(type(record))).values(**_values(record)), record)
    _note_of(connection, record, f"added {describe(record)}", changed_by, at)
    return "added"


def _write(connection: Connection, statement: Any, record: Record) -> None:
    try:
        connection.execute(statement)
    except IntegrityError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise Conflict(f"cannot store {describe(record)}: it does not fit what the books hold ({reason})") from error


def _note_of(connection: Connection, record: Record, what: str, changed_by: str, at: Instant) -> None:
    version = _note(connection, what, changed_by, at)
    if isinstance(record, Link):
        links = schema.links
        connection.execute(update(links).where(links.c.code == record.code).values(changed_version=version))


def _note(connection: Connection, what: str, changed_by: str, at: Instant) -> int:
    note = insert(schema.catalogue_changes).values(changed_at=at, changed_by=changed_by, what=what[:2048])
    written = connection.execute(note).inserted_primary_key
    assert written is not None, "a change has a number"
    return int(written[0])


def _lock(connection: Connection) -> None:
    """Versions must become visible in order, or a watcher that saw the higher one would miss the lower."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('catalogue', 0))"))


# --- rows and records ------------------------------------------------------------------------------------------------


def _records(connection: Connection, kind: type[AnyRecord], *conditions: Any) -> list[AnyRecord]:
    """Sorted by key here, not there: databases disagree on the order of text."""
    names = kind.__struct_fields__
    rows = connection.execute(select(*(_table(kind).c[name] for name in names)).where(*conditions))
    records = [msgspec.convert(dict(zip(names, row, strict=True)), kind) for row in rows]
    return sorted(records, key=_key)


def _table(kind: type) -> Table:
    return schema.metadata.tables[KINDS[kind]]


def _key(record: Record) -> tuple[str | int, ...]:
    return tuple(getattr(record, name) for name in RECORD_KEYS[KINDS[type(record)]])


def _values(record: Record) -> dict[str, Any]:
    """Column values; what the books keep as JSON becomes plain lists and objects."""
    return {name: _plain(getattr(record, name)) for name in record.__struct_fields__}


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value) if isinstance(value, tuple) else value


def _is(kind: type, key: Sequence[str | int]) -> Any:
    table, names = _table(kind), RECORD_KEYS[KINDS[kind]]
    assert len(key) == len(names), f"the key of {KINDS[kind]} is {', '.join(names)}"
    return and_(*(table.c[name] == part for name, part in zip(names, key, strict=True)))


def _of_programme(table: Table, tenant_id: str, programme_id: str) -> Any:
    return and_(table.c.tenant_id == tenant_id, table.c.programme_id == programme_id)


def _of_affiliate(table: Table, affiliate_id: str, tenant_id: str | None) -> Any:
    owned: Any = table.c.affiliate_id == affiliate_id
    return owned if tenant_id is None else and_(owned, table.c.tenant_id == tenant_id)
