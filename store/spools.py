"""How far each tracker's spool is stored, where loaders see no files: the books' statements on ``spools``.

A spool id is a tracker's name, ``identity`` the folder that uses it: two machines that give the same name to different
folders would skip each other's records, so that the second is refused. A plan says what is about to be inserted, before it
is: whoever tries again takes the same bounds, under the same tokens.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from core.clock import Instant
from core.errors import FairshareError
from store.schema import spools

Place = tuple[str, int]
"""A segment's file name and a byte offset in it. Places of a spool compare as its records were written."""

BEGINNING: Place = ("", 0)


class SpoolTaken(FairshareError):
    """Another folder uses this spool id."""


class Progress(msgspec.Struct, frozen=True):
    """A spool is stored up to ``place``; what lies before ``plan`` may be inserted already (the beginning: there is no plan).

    ``stored_at`` and ``received_at`` are the highest stored so far, ``planned_stored_at`` the highest ever given out.
    """

    spool_id: str
    identity: str
    place: Place
    stored_at: Instant = 0
    received_at: Instant = 0
    plan: Place = BEGINNING
    planned_stored_at: Instant = 0
    moved_at: Instant = 0


class Step(msgspec.Struct, frozen=True):
    """A range of a spool from where it ``was`` to ``end``, and what its rows carry."""

    was: Progress
    end: Place
    stored_at: Instant
    received_at: Instant


def register_spool(connection: Connection, start: Progress) -> Progress:
    """Make a spool known, or find it: returns how far it is stored. A ``start`` beyond what the books say moves them on.

    Raises:
        SpoolTaken: the id belongs to another folder.
    """
    put = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(put(spools).values(spool_id=start.spool_id, **_columns(start)).on_conflict_do_nothing())
    [found] = read_spools(connection, [start.spool_id])
    if found.identity != start.identity:
        raise SpoolTaken(
            f"the tracker id {start.spool_id} belongs to a spool folder of another machine; give this one its own (--tracker-id)"
        )
    if found.place >= start.place:
        return found
    moved = msgspec.structs.replace(start, planned_stored_at=max(start.planned_stored_at, found.planned_stored_at, found.stored_at))
    connection.execute(update(spools).where(_still(found)).values(**_columns(moved)))
    return moved


def read_spools(connection: Connection, spool_ids: Sequence[str] | None = None) -> list[Progress]:
    """How far spools are stored, all of them by default, sorted by id."""
    question = select(spools).order_by(spools.c.spool_id)
    if spool_ids is not None:
        question = question.where(spools.c.spool_id.in_(spool_ids))
    return [_progress(row) for row in connection.execute(question)]


def plan_step(connection: Connection, step: Step) -> bool:
    """Note what will be inserted; false where the spool is not where it was. Call it within the loader's term."""
    plan = {"planned_segment": step.end[0], "planned_end": step.end[1], "planned_stored_at": step.stored_at}
    return connection.execute(update(spools).where(_still(step.was)).values(**plan)).rowcount == 1


def move_spool(connection: Connection, step: Step, at: Instant) -> bool:
    """The step is stored; false where the spool is not where it was."""
    values = {"segment": step.end[0], "position": step.end[1], "stored_at": step.stored_at, "received_at": step.received_at, "moved_at": at}
    return connection.execute(update(spools).where(_still(step.was)).values(**values)).rowcount == 1


def _still(was: Progress) -> Any:
    table = spools.c
    segment, position = was.place
    return and_(table.spool_id == was.spool_id, table.identity == was.identity, table.segment == segment, table.position == position)


def _columns(progress: Progress) -> dict[str, Any]:
    return {
        "identity": progress.identity,
        "segment": progress.place[0],
        "position": progress.place[1],
        "stored_at": progress.stored_at,
        "received_at": progress.received_at,
        "planned_segment": progress.plan[0],
        "planned_end": progress.plan[1],
        "planned_stored_at": progress.planned_stored_at,
        "moved_at": progress.moved_at,
    }


def _progress(row: Any) -> Progress:
    return Progress(
        row.spool_id,
        row.identity,
        (row.segment, row.position),
        row.stored_at,
        row.received_at,
        (row.planned_segment, row.planned_end),
        row.planned_stored_at,
        row.moved_at,
    )
