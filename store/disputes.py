"""Disputes: an affiliate's cases, each with its steps and the explanation as it stood. Statements only.

Every read is bound to one tenant, or to one affiliate. Steps are append-only; of a case only its state moves.
"""

from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, func, insert, select, text, update

from core.clock import Instant
from store.schema import dispute_steps, disputes

Kind = Literal["untracked", "incorrect", "declined"]
State = Literal["open", "incomplete", "valid", "declined", "withdrawn"]
Side = Literal["affiliate", "merchant"]
Action = Literal["opened", "answered", "withdrawn", "asked", "accepted", "declined"]

LIVE: tuple[State, ...] = ("open", "incomplete")
"""The states in which somebody still has to say something: the merchant, or the affiliate."""


class Step(msgspec.Struct, frozen=True):
    """Who said and did what, when. ``position`` counts from 1."""

    position: int
    side: Side
    action: Action
    message: str
    by: str
    at: Instant


class Case(msgspec.Struct, frozen=True):
    """One case, without what was said and seen. ``steps`` counts what was said, so that two answers at once collide.

    ``override_version`` is that of the order's override that the case led to.
    """

    tenant_id: str
    case_id: str
    affiliate_id: str
    order_id: str
    kind: Kind
    state: State
    opened_at: Instant
    opened_by: str
    changed_at: Instant
    steps: int
    override_version: int | None = None

    @property
    def live(self) -> bool:
        return self.state in LIVE


class Evidence(msgspec.Struct, frozen=True):
    """The order's explanation when the case was opened, as plain values: what the affiliate might see of it, and all of it.

    None: there was no decision then, or none that the affiliate has a part in.
    """

    seen_by_affiliate: dict[str, Any] | None
    seen_by_merchant: dict[str, Any] | None


_CASE = [disputes.c[name] for name in Case.__struct_fields__]
_STEP = [dispute_steps.c[name] for name in Step.__struct_fields__]


def open_case(connection: Connection, case: Case, evidence: Evidence, message: str) -> None:
    """Write a new case with its first step, which is the affiliate's."""
    assert (case.state, case.steps) == ("open", 1), "a case begins open, with what the affiliate says"
    connection.execute(insert(disputes).values(msgspec.structs.asdict(case) | msgspec.structs.asdict(evidence)))
    _insert_step(connection, case, Step(1, "affiliate", "opened", message, case.opened_by, case.opened_at))


def add_step(connection: Connection, case: Case, step: Step, state: State, override_version: int | None = None) -> bool:
    """Append a step to the case as it was read and move its state; False where somebody else answered meanwhile."""
    assert step.position == case.steps + 1, "steps are counted without gaps"
    unchanged = _is(case.tenant_id, case.case_id) & (disputes.c.steps == case.steps) & (disputes.c.state == case.state)
    values = {"state": state, "changed_at": step.at, "steps": step.position, "override_version": override_version}
    if connection.execute(update(disputes).where(unchanged).values(values)).rowcount != 1:
        return False
    _insert_step(connection, case, step)
    return True


def case_of_tenant(connection: Connection, tenant_id: str, case_id: str) -> Case | None:
    row = connection.execute(select(*_CASE).where(_is(tenant_id, case_id))).one_or_none()
    return Case(*row) if row else None


def case_of_affiliate(connection: Connection, affiliate_id: str, case_id: str) -> Case | None:
    mine = (disputes.c.affiliate_id == affiliate_id) & (disputes.c.case_id == case_id)
    row = connection.execute(select(*_CASE).where(mine)).one_or_none()
    return Case(*row) if row else None


def live_case(connection: Connection, tenant_id: str, affiliate_id: str, order_id: str) -> Case | None:
    """The affiliate's case about an order that is not answered for good yet."""
    mine = (disputes.c.tenant_id == tenant_id) & (disputes.c.affiliate_id == affiliate_id) & (disputes.c.order_id == order_id)
    row = connection.execute(select(*_CASE).where(mine, disputes.c.state.in_(LIVE)).order_by(disputes.c.case_id)).first()
    return Case(*row) if row else None


def cases_of_affiliate(connection: Connection, affiliate_id: str, limit: int) -> list[Case]:
    """An affiliate's cases with all tenants, newest first."""
    newest = (disputes.c.opened_at.desc(), disputes.c.case_id.desc())
    mine = disputes.c.affiliate_id == affiliate_id
    return [Case(*row) for row in connection.execute(select(*_CASE).where(mine).order_by(*newest).limit(limit))]


def cases_of_tenant(connection: Connection, tenant_id: str, states: tuple[State, ...], limit: int) -> list[Case]:
    """A tenant's cases in these states, the one that waits longest first."""
    oldest = (disputes.c.changed_at, disputes.c.case_id)
    mine = (disputes.c.tenant_id == tenant_id) & disputes.c.state.in_(states)
    return [Case(*row) for row in connection.execute(select(*_CASE).where(mine).order_by(*oldest).limit(limit))]


def cases_of_order(connection: Connection, tenant_id: str, order_id: str) -> list[Case]:
    """All cases about a tenant's order, oldest first."""
    mine = (disputes.c.tenant_id == tenant_id) & (disputes.c.order_id == order_id)
    rows = connection.execute(select(*_CASE).where(mine).order_by(disputes.c.opened_at, disputes.c.case_id))
    return [Case(*row) for row in rows]


def count_by_state(connection: Connection, tenant_id: str) -> dict[str, int]:
    """How many of a tenant's cases are in which state."""
    counts = select(disputes.c.state, func.count()).where(disputes.c.tenant_id == tenant_id).group_by(disputes.c.state)
    return {row[0]: int(row[1]) for row in connection.execute(counts)}


def opened_since(connection: Connection, affiliate_id: str, at: Instant) -> int:
    """How many cases an affiliate opened after ``at``, with all tenants."""
    mine = (disputes.c.affiliate_id == affiliate_id) & (disputes.c.opened_at > at)
    return int(connection.scalar(select(func.count()).select_from(disputes).where(mine)) or 0)


def steps_of(connection: Connection, tenant_id: str, case_id: str) -> list[Step]:
    """What was said and done, in order."""
    mine = (dispute_steps.c.tenant_id == tenant_id) & (dispute_steps.c.case_id == case_id)
    return [Step(*row) for row in connection.execute(select(*_STEP).where(mine).order_by(dispute_steps.c.position))]


def evidence_of(connection: Connection, tenant_id: str, case_id: str) -> Evidence:
    """What the explanation was when the case was opened. The merchant's part is for the merchant's eyes only."""
    columns = (disputes.c.seen_by_affiliate, disputes.c.seen_by_merchant)
    return Evidence(*connection.execute(select(*columns).where(_is(tenant_id, case_id))).one())


def lock_affiliate(connection: Connection, affiliate_id: str) -> None:
    """Cases of one affiliate are opened one after another, so that limits hold. On SQLite every writer already is alone."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"disputes:{affiliate_id}"})


def _insert_step(connection: Connection, case: Case, step: Step) -> None:
    values = {"tenant_id": case.tenant_id, "case_id": case.case_id} | msgspec.structs.asdict(step)
    connection.execute(insert(dispute_steps).values(values))


def _is(tenant_id: str, case_id: str) -> Any:
    return (disputes.c.tenant_id == tenant_id) & (disputes.c.case_id == case_id)
