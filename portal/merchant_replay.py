"""Try a policy on past orders: the difference for each affiliate, the orders that change and why; and apply it, once it was shown."""

import threading
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from attribution.policy import default_policy, sentences
from core.catalogue import Catalogue, Policy, Programme
from core.clock import DAY, MINUTE, Instant, as_datetime, start_of_day
from core.errors import Conflict, NotFound
from core.scope import Scope
from portal.forms import Form, read_form, read_query_form
from portal.merchant_catalogue import own_catalogue
from portal.merchant_policy import policies_of, read_draft
from portal.page import page, redirect, run
from portal.replay import Changed, Plan, Question, apply, begin, plan_of, question_of, run_replay, tally_of
from portal.sessions import role
from portal.workshop import Workshop
from store.books import Books
from store.installation import known_secret
from store.replays import KEPT, Replay, changes_of, find_replay, recent_replays, set_state
from store.reports import payees

PERIOD = 30 * DAY
LONGEST = 400 * DAY
CHANGES = 50
REFRESH_S = 2
STALE = MINUTE
"""A replay that is said to run and has not moved for so long has lost its process."""
NOT_DRAFT = ("csrf", "programme_id", "from", "to", "open", "action", "version")
STATES = {
    "running": ("Working", "wait"),
    "stopped": ("Stopped", "plain"),
    "failed": ("Failed", "bad"),
    "done": ("Done", "good"),
    "applied": ("Applied", "good"),
}


class Result(msgspec.Struct, frozen=True):
    """A replay as its page shows it. ``plan`` is what applying would write; None where it cannot be applied, for ``refusal``."""

    replay: Replay
    names: dict[str, str]
    changes: list[Changed]
    plan: Plan | None
    refusal: str
    at_work: bool


@role("merchant")
async def replays(request: Request, scope: Scope) -> Response:
    """GET /merchant/replays: the last ones, newest first."""
    found = await run(_recent, request.app.state.books, scope.tenant_id)
    return page(
        request, scope, "merchant/replays.html", tab="/merchant/programmes", replays=[(one, tally_of(one), _tried(one)) for one in found],
        states=STATES,
    )  # fmt: skip


@role("merchant")
async def choose(request: Request, scope: Scope) -> Response:
    """GET /merchant/replay?programme_id=&version=: which period an existing version is tried on."""
    catalogue, form = await own_catalogue(request, scope), read_query_form(request)
    programme = read_programme(form, catalogue)
    form = Form.of(version=form.raw("version"), **_default_period(request.app.state.clock()))
    return _try_page(request, scope, catalogue, programme, form, read_version(form, catalogue, programme))


@role("merchant")
async def start(request: Request, scope: Scope) -> Response:
    """POST to the same: a draft as the policy's form sends it (then the period is asked for), or a version; with a period it begins."""
    form, catalogue = await read_form(request), await own_catalogue(request, scope)
    programme = read_programme(form, catalogue)
    policy = read_tried(form, catalogue, programme, request.app.state.clock())
    if not form.raw("from"):
        form.values |= {name: [value] for name, value in _default_period(request.app.state.clock()).items()}
        return _try_page(request, scope, catalogue, programme, form, policy)
    period = read_period(form, request.app.state.clock())
    if form.faults:
        return _try_page(request, scope, catalogue, programme, form, policy)
    tried = msgspec.structs.replace(policy, version=0, effective_from=0)
    replay = await run(_begin, request, Question(scope.tenant_id, *period, (tried,)), scope.user_id)
    return redirect(f"/merchant/replays/{replay.replay_id}")


@role("merchant")
async def result(request: Request, scope: Scope) -> Response:
    """GET /merchant/replays/{replay_id}?after=: how far it is, and when it is done, the difference. It loads itself anew meanwhile."""
    found = await run(read_result, request, scope.tenant_id, request.path_params["replay_id"], request.query_params.get("after", ""))
    replay, tally = found.replay, tally_of(found.replay)
    response = page(
        request,
        scope,
        "merchant/replay.html",
        tab="/merchant/programmes",
        replay=replay,
        tally=tally,
        state=STATES["running" if found.at_work else replay.state],
        result=found,
        tried=_tried(replay),
        totals=_totals(tally.rows),
        more=_more(found.changes, replay),
        changes=found.changes[:CHANGES],
        after=request.query_params.get("after", ""),
    )
    if found.at_work:
        response.headers["Refresh"] = str(REFRESH_S)
    return response


@role("merchant")
async def stop(request: Request, scope: Scope) -> Response:
    """POST /merchant/replays/{replay_id}/stop."""
    replay = await run(_find, request.app.state.books, scope.tenant_id, request.path_params["replay_id"])
    await run(_stop, request, replay)
    return redirect(f"/merchant/replays/{replay.replay_id}", "Stopped. It can go on from here at any time.")


@role("merchant")
async def go_on(request: Request, scope: Scope) -> Response:
    """POST /merchant/replays/{replay_id}/continue."""
    replay = await run(_find, request.app.state.books, scope.tenant_id, request.path_params["replay_id"])
    again = await run(_begin, request, question_of(replay), scope.user_id)
    return redirect(f"/merchant/replays/{again.replay_id}")


@role("merchant")
async def apply_it(request: Request, scope: Scope) -> Response:
    """POST /merchant/replays/{replay_id}/apply: with the ``fingerprint`` of the difference that was shown."""
    state, form = request.app.state, await read_form(request)
    replay = await run(_find, state.books, scope.tenant_id, request.path_params["replay_id"])
    if form.raw("fingerprint") != replay.fingerprint:
        raise Conflict("this is not the difference that was shown; load the page again and look at it")
    secret = known_secret(state.settings)
    await run(apply, state.books, state.events, secret, scope.tenant_id, replay.replay_id, scope.user_id, state.clock())
    return redirect(f"/merchant/replays/{replay.replay_id}", "Applied. The orders are decided anew, and the differences are booked.")


# --- what is asked ---------------------------------------------------------------------------------------------------


def read_programme(form: Form, catalogue: Catalogue) -> Programme:
    """The programme that field ``programme_id`` names; without one, the tenant's first.

    Raises:
        NotFound: the tenant has no such programme.
    """
    asked = form.raw("programme_id")
    found = [one for one in catalogue.programmes if asked in ("", one.programme_id)]
    if not found:
        raise NotFound(f"there is no programme {asked:.80}")
    return found[0]


def read_version(form: Form, catalogue: Catalogue, programme: Programme) -> Policy:
    """The version that field ``version`` names; without one, the newest, or where there is none the policy that holds by default.

    Raises:
        NotFound: the programme has no such version.
    """
    asked = form.raw("version")
    found = [policy for policy in policies_of(catalogue, programme) if asked in ("", str(policy.version))]
    if asked and not found:
        raise NotFound(f"there is no policy version {asked:.20}")
    return max(found, key=lambda policy: policy.version, default=default_policy(programme.tenant_id, programme.programme_id))


def read_tried(form: Form, catalogue: Catalogue, programme: Programme, at: Instant) -> Policy:
    """The draft that the form carries, else an existing version. Faults are noted on the form."""
    if not any(name not in NOT_DRAFT for name in form.values):
        return read_version(form, catalogue, programme)
    draft = Form(form.values | {"effective_from": [""]})
    policy = read_draft(draft, catalogue, programme, at)
    for name, message in draft.faults.items():
        form.fault(name, message)
    return policy


def read_period(form: Form, at: Instant) -> tuple[Instant, Instant | None]:
    """Fields ``from`` and ``to``, days that are both in it (UTC); ``open``: the end stays open, and ``to`` does not matter."""
    first, last = form.date("from"), form.date("to", required=not form.checked("open"))
    to_at = None if form.checked("open") or last is None else last + DAY
    if first is not None and first >= at:
        form.fault("from", "This day has not come yet; a policy is tried on past orders.")
    if first is not None and to_at is not None and first >= to_at:
        form.fault("from", "The first day must not lie after the last.")
    if first is not None and at - first > LONGEST:
        form.fault("from", f"At most {LONGEST // DAY} days back.")
    if to_at is not None and to_at - at > LONGEST:
        form.fault("to", f"At most {LONGEST // DAY} days ahead.")
    return first or 0, to_at


def _default_period(at: Instant) -> dict[str, str]:
    today = start_of_day(at)
    return {"from": f"{as_datetime(today - PERIOD):%Y-%m-%d}", "to": f"{as_datetime(today - DAY):%Y-%m-%d}"}


def _try_page(request: Request, scope: Scope, catalogue: Catalogue, programme: Programme, form: Form, policy: Policy) -> Response:
    draft = [(name, value) for name, values in form.values.items() if name not in NOT_DRAFT for value in values]
    if not draft and policy.version:
        form.values["version"] = [str(policy.version)]
    faults = [message for name, message in form.faults.items() if name not in ("from", "to", "open")]
    return page(
        request,
        scope,
        "merchant/policy_try.html",
        status=422 if form.faults else 200,
        tab="/merchant/programmes",
        programme=programme,
        form=form,
        draft=draft,
        draft_faults=faults,
        tried=sentences(policy) if not faults else (),
        versions=[(str(one.version), f"Version {one.version}") for one in reversed(policies_of(catalogue, programme))],
    )


# --- work in threads -------------------------------------------------------------------------------------------------


def read_result(request: Request, tenant_id: str, replay_id: str, after: str) -> Result:
    """A replay with one screen of its changed orders.

    Raises:
        NotFound: the tenant has no such replay.
    """
    state = request.app.state
    workshop: Workshop = state.workshop
    replay = _find(state.books, tenant_id, replay_id)
    with state.books.reading() as connection:
        changes = changes_of(connection, tenant_id, replay_id, after, CHANGES + 1)
        names = {affiliate_id: payee.name for affiliate_id, payee in payees(connection, tenant_id).items()}
    plan, refusal = None, ""
    if replay.state == "done":
        try:
            plan = plan_of(state.books, known_secret(state.settings), replay, state.clock())
        except Conflict as error:
            refusal = str(error)
    moving = replay.state == "running" and state.clock() - replay.moved_at < STALE
    at_work = workshop.is_at_work(tenant_id, replay_id) or moving
    return Result(replay, names, [msgspec.convert(one, Changed) for one in changes], plan, refusal, at_work)


def _begin(request: Request, question: Question, by: str) -> Replay:
    state = request.app.state
    secret = known_secret(state.settings)
    replay = begin(state.books, state.events, secret, question, by, state.clock())

    def work(stop: threading.Event) -> None:
        run_replay(state.books, state.events, secret, state.clock, replay, stop=stop)

    if replay.state not in ("done", "applied"):
        state.workshop.start(question.tenant_id, replay.replay_id, work)
    return replay


def _stop(request: Request, replay: Replay) -> None:
    """Whichever process works on it: this one hears it at once, another one with its next batch."""
    state = request.app.state
    state.workshop.stop(replay.tenant_id, replay.replay_id)
    if replay.state == "running":
        with state.books.writing() as connection:
            set_state(connection, replay.tenant_id, replay.replay_id, "stopped", state.clock())


def _find(books: Books, tenant_id: str, replay_id: str) -> Replay:
    with books.reading() as connection:
        found = find_replay(connection, tenant_id, replay_id)
    if found is None:
        raise NotFound(f"there is no replay {replay_id}")
    return found


def _recent(books: Books, tenant_id: str) -> list[Replay]:
    with books.reading() as connection:
        return recent_replays(connection, tenant_id, KEPT)


def _tried(replay: Replay) -> list[tuple[str, tuple[str, ...]]]:
    """The tried policies: each programme's id with the policy in plain words."""
    return [(policy.programme_id, sentences(policy)) for policy in question_of(replay).tried]


def _more(changes: list[Changed], replay: Replay) -> str:
    if len(changes) <= CHANGES:
        return ""
    return f"/merchant/replays/{replay.replay_id}?{urlencode({'after': changes[CHANGES - 1].change.sale.order_id})}"


def _totals(rows: list) -> dict[str, tuple[int, int]]:  # type: ignore[type-arg]
    """By currency: all commissions before and after."""
    sums: dict[str, tuple[int, int]] = {}
    for row in rows:
        before, after = sums.get(row.currency, (0, 0))
        sums[row.currency] = (before + row.commission_before, after + row.commission_after)
    return sums


routes: list[BaseRoute] = [
    Route("/merchant/replay", choose, methods=["GET"]),
    Route("/merchant/replay", start, methods=["POST"]),
    Route("/merchant/replays", replays, methods=["GET"]),
    Route("/merchant/replays/{replay_id}", result, methods=["GET"]),
    Route("/merchant/replays/{replay_id}/stop", stop, methods=["POST"]),
    Route("/merchant/replays/{replay_id}/continue", go_on, methods=["POST"]),
    Route("/merchant/replays/{replay_id}/apply", apply_it, methods=["POST"]),
]
