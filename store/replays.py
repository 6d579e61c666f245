"""Replays and how far each came, so that an interrupted one goes on where it stopped. Statements only; every one of one tenant."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from core.clock import Instant
from store.schema import replay_orders, replays

State = Literal["running", "stopped", "failed", "done", "applied"]
KEPT = 20
"""Replays of a tenant; older ones are removed, but for those that were applied."""


class Replay(msgspec.Struct, frozen=True):
    """One replay: what was asked, and everything found up to the order ``after`` (by id).

    ``fingerprint`` covers all that the result depends on. ``policies`` and ``tally`` are plain values of whoever replays. ``total`` counts
    the orders of the period. ``to_at`` None is open.
    """

    tenant_id: str
    replay_id: str
    fingerprint: str
    from_at: Instant
    to_at: Instant | None
    policies: list[dict[str, Any]]
    state: State
    requested_by: str
    requested_at: Instant
    after: str
    total: int
    tally: dict[str, Any]
    moved_at: Instant
    problem: str = ""
    applied_at: Instant | None = None
    applied_by: str = ""
    rerun_number: int | None = None


_REPLAY = [replays.c[name] for name in Replay.__struct_fields__]


def add_replay(connection: Connection, replay: Replay) -> None:
    """Write a new replay, and forget a tenant's oldest beyond ``KEPT``."""
    connection.execute(insert(replays).values(msgspec.structs.asdict(replay)))
    newest = (replays.c.requested_at.desc(), replays.c.replay_id.desc())
    mine = (replays.c.tenant_id == replay.tenant_id) & (replays.c.state != "applied")
    gone = list(connection.scalars(select(replays.c.replay_id).where(mine).order_by(*newest).offset(KEPT)))
    for table in (replay_orders, replays):
        connection.execute(delete(table).where(table.c.tenant_id == replay.tenant_id, table.c.replay_id.in_(gone)))


def find_replay(connection: Connection, tenant_id: str, replay_id: str) -> Replay | None:
    row = connection.execute(select(*_REPLAY).where(_is(tenant_id, replay_id))).one_or_none()
    return Replay(*row) if row else None


def recent_replays(connection: Connection, tenant_id: str, limit: int) -> list[Replay]:
    """A tenant's replays, newest first."""
    newest = (replays.c.requested_at.desc(), replays.c.replay_id.desc())
    rows = connection.execute(select(*_REPLAY).where(replays.c.tenant_id == tenant_id).order_by(*newest).limit(limit))
    return [Replay(*row) for row in rows]


def advance(
    connection: Connection, replay: Replay, after: str, tally: dict[str, Any], changes: Mapping[str, dict[str, Any]], at: Instant
) -> bool:
    """Note that everything up to ``after`` is in ``tally``, and the orders that changed on the way, by id.

    False where somebody stopped it, or another process has gone on meanwhile: this one's work is to be dropped.
    """
    unchanged = _is(replay.tenant_id, replay.replay_id) & (replays.c.after == replay.after) & (replays.c.state == "running")
    moved = connection.execute(update(replays).where(unchanged).values(after=after, tally=tally, moved_at=at))
    if moved.rowcount != 1:
        return False
    keys = {"tenant_id": replay.tenant_id, "replay_id": replay.replay_id}
    rows = [{**keys, "order_id": order_id, "change": change} for order_id, change in changes.items()]
    if rows:
        connection.execute(insert(replay_orders), rows)
    return True


def set_state(connection: Connection, tenant_id: str, replay_id: str, state: State, at: Instant, problem: str = "") -> None:
    """Running, stopped, failed with a sentence, or done; an applied replay stays that."""
    mine = _is(tenant_id, replay_id) & (replays.c.state != "applied")
    connection.execute(update(replays).where(mine).values(state=state, moved_at=at, problem=problem[:1024]))


def mark_applied(connection: Connection, tenant_id: str, replay_id: str, by: str, at: Instant, rerun_number: int) -> bool:
    """False where it is not done, or was applied before."""
    ready = _is(tenant_id, replay_id) & (replays.c.state == "done")
    values = {"state": "applied", "applied_by": by, "applied_at": at, "rerun_number": rerun_number}
    return connection.execute(update(replays).where(ready).values(values)).rowcount == 1


def changes_of(connection: Connection, tenant_id: str, replay_id: str, after: str, limit: int) -> Sequence[dict[str, Any]]:
    """The orders that changed, by id, from the one behind ``after``."""
    mine = (replay_orders.c.tenant_id == tenant_id) & (replay_orders.c.replay_id == replay_id) & (replay_orders.c.order_id > after)
    return list(connection.scalars(select(replay_orders.c.change).where(mine).order_by(replay_orders.c.order_id).limit(limit)))


def _is(tenant_id: str, replay_id: str) -> Any:
    return (replays.c.tenant_id == tenant_id) & (replays.c.replay_id == replay_id)
