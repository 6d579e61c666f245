"""Disputes as both sides see them: the words, what was said, and the explanation as it stood when the case was opened."""

import re
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from attribution.disputes import KINDS, MOST_CHARS, next_state
from attribution.explain import OTHER
from core.clock import Instant
from core.errors import Conflict
from core.ids import mint
from core.scope import Scope
from portal.forms import Form
from portal.page import page
from store.books import Books
from store.disputes import Action, Case, Side, State, Step, add_step

STATES: dict[State, tuple[str, str]] = {
    "open": ("Waiting for the merchant", "wait"),
    "incomplete": ("Waiting for the affiliate", "wait"),
    "valid": ("Accepted", "good"),
    "declined": ("Declined", "bad"),
    "withdrawn": ("Withdrawn", "plain"),
}
"""Each state in words, and the colour of its badge."""

DONE: dict[Action, str] = {
    "opened": "asked for a review",
    "answered": "answered",
    "withdrawn": "withdrew the case",
    "asked": "asked back",
    "accepted": "accepted: the order goes to the affiliate",
    "declined": "declined",
}
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


class Seen(msgspec.Struct, frozen=True):
    """One touch of an explanation as it stood. Fields that a later version renames read as empty, never as a fault."""

    touch_class: str = ""
    affiliate_id: str = ""
    occurred_at: Instant = 0
    verdict: str = ""
    why: str = ""


class Held(msgspec.Struct, frozen=True):
    """One credit of an explanation as it stood."""

    affiliate_id: str = ""
    share: str = ""


class AsItStood(msgspec.Struct, frozen=True):
    """An explanation as it stood when the case was opened."""

    result: str = ""
    meaning: str = ""
    programme_id: str = ""
    policy_version: int = 0
    revision: int = 0
    ordered_at: Instant = 0
    decided_at: Instant = 0
    credits: tuple[Held, ...] = ()
    candidates: tuple[Seen, ...] = ()
    untold: str = ""


def as_it_stood(kept: dict[str, Any] | None) -> AsItStood | None:
    """One side's evidence, read back; None where there was nothing to see."""
    return msgspec.convert(kept, AsItStood) if kept is not None else None


def read_message(form: Form, *, required: bool = True) -> str:
    """Field ``message``: several lines of plain text, trimmed."""
    text = form.raw("message").replace("\r\n", "\n").replace("\t", " ").strip()
    if not text and required:
        form.fault("message", "Please say something: the other side reads this.")
    elif len(text) > MOST_CHARS:
        form.fault("message", f"At most {MOST_CHARS:,} characters; this has {len(text):,}.")
    elif CONTROL.search(text):
        form.fault("message", "Control characters are not taken here.")
    return text


def new_case(tenant_id: str, affiliate_id: str, order_id: str, kind: str, by: str, at: Instant) -> Case:
    """A case as it begins."""
    fields = {"tenant_id": tenant_id, "case_id": mint(at), "affiliate_id": affiliate_id, "order_id": order_id, "kind": kind}
    return msgspec.convert(fields | {"state": "open", "opened_at": at, "opened_by": by, "changed_at": at, "steps": 1}, Case)


def take_step(books: Books, case: Case, side: Side, action: Action, message: str, by: str, at: Instant) -> None:
    """Write what one side said, where the case still is as it was read.

    Raises:
        Conflict: the case is in another state by now, or takes no more of this.
    """
    state = next_state(case, side, action)
    if state is None:
        raise Conflict(f"this case is {STATES[case.state][0].lower()}, so that this cannot be done now; load it again")
    step = Step(case.steps + 1, side, action, message, by, at)
    with books.writing() as connection:
        if not add_step(connection, case, step, state):
            raise Conflict("somebody answered this case at the same moment; load it again and look")


def case_page(request: Request, scope: Scope, template: str, case: Case, form: Form | None, **facts: Any) -> Response:
    """A case on one side's page."""
    status = 422 if form and form.faults else 200
    return page(
        request,
        scope,
        template,
        status=status,
        case=case,
        form=form or Form(),
        kind=KINDS[case.kind],
        state=STATES[case.state],
        done=DONE,
        most_chars=MOST_CHARS,
        other=OTHER,
        **facts,
    )
