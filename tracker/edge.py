"""The edge: one object that answers every request, whichever server read it. All it needs is handed to it.

The hot path (``/c/…``, ``/i.gif``) never leaves memory but for one line in the spool. Conversions also take a receipt in
the books, in other threads.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from core.clock import MINUTE, Clock, Instant
from core.errors import BadInput, Conflict, Unavailable
from core.events import Order, Refund, Touch, TouchKind, encode_event
from core.ids import Mint
from tracker.answer import (
    Answer,
    error,
    json_answer,
    not_found,
    pixel,
    refusal,
    text_answer,
    unavailable,
)
from tracker.basket import is_marketplace, split_order, split_refund
from tracker.click import FOLLOWED, AgentFlag, Aim, answer_click, answer_impression, read_visit, take_aim
from tracker.commit import Spool, Waiter
from tracker.confirmation import confirm
from tracker.conversion import Arrival, Conversion, Refused
from tracker.counters import Counters
from tracker.health import health_of, metrics_of
from tracker.hit import Hit, read_pairs
from tracker.landing import answer_landing
from tracker.limits import Limits
from tracker.links import EMPTY, LinkTable, TenantEntry
from tracker.orders import read_lead, read_order, read_refund
from tracker.postback import read_lead_parameters, read_sale
from tracker.recording import Recorded, Recorder
from tracker.reported import read_touches

BODY_BYTES = 256 * 1024
DRAIN_FACTOR = 4
"""A body up to four times too long is read to its end and thrown away: a client that still sends would not see the answer."""
BODY_WITHIN_S = 20
RETRY_AFTER_S = 5
AIMS, AIM_CHARS = 10_000, 512
"""So many links with their queries are remembered ready-made, if they are not longer: some 15 MB at most."""

Body = Callable[[int], Awaitable[bytes | None]]
"""Reads a request's body of at most so many bytes; None where it is longer. Raises BadInput where the client went away."""

_SEEN = ("GET", "HEAD", "OPTIONS")
"""Methods that a link or an impression takes; what is no GET is recorded as no person's."""

_STATUSES = {"unknown_tenant": 404} | dict.fromkeys(
    ("unknown_link", "unknown_programme", "unknown_seller", "unknown_line", "unknown_order"), 422
)
"""What is no 400: names that nothing bears."""

Overload = Literal["availability", "accountability"]


class Rules(msgspec.Struct, frozen=True):
    """The settings that the edge obeys."""

    overload: Overload = "availability"
    tolerance_ms: int = 10 * MINUTE
    portal: str = "http://127.0.0.1:8701"


class TooMany(Unavailable):
    """More in a minute than a sender may bring; nothing was recorded."""


class Edge:
    """Answers hits. ``mint(now)`` gives a new id; ``table()`` the newest catalogue that could be read."""

    def __init__(
        self,
        table: Callable[[], LinkTable],
        spool: Spool,
        recorder: Recorder,
        counters: Counters,
        clock: Clock,
        mint: Mint,
        agent_flag: AgentFlag,
        limits: Limits,
        rules: Rules,
        lag: Callable[[], dict[str, int | str]] = dict,
        sharing: Callable[[], dict[str, Any]] = dict,
        watching: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self._table = table
        self._spool = spool
        self._recorder = recorder
        self._counters = counters
        self._clock = clock
        self._mint = mint
        self._agent_flag = agent_flag
        self._lag = lag
        self._sharing = sharing
        self._watching = watching
        self._limits = limits
        self._rules = rules
        self._aims: dict[tuple[str, str], tuple[str, Aim]] = {}
        self._aimed_at = EMPTY
        self._routes: dict[str, tuple[tuple[str, ...], Callable[[Hit, Body], Awaitable[Answer]]]] = {
            "/v1/orders": (("POST",), lambda hit, body: self._typed(hit, body, read_order)),
            "/v1/refunds": (("POST",), lambda hit, body: self._typed(hit, body, read_refund)),
            "/v1/touches": (("POST",), self._touches),
            "/v1/leads": (("POST",), lambda hit, body: self._typed(hit, body, read_lead)),
            "/sale": (("GET", "POST"), lambda hit, body: self._postback(hit, body, read_sale)),
            "/lead": (("GET", "POST"), lambda hit, body: self._postback(hit, body, read_lead_parameters)),
            "/sale.gif": (("GET",), lambda hit, _: self._pixel(hit, read_sale)),
            "/lead.gif": (("GET",), lambda hit, _: self._pixel(hit, read_lead_parameters)),
            "/health": (("GET", "HEAD"), self._health),
            "/metrics": (("GET", "HEAD"), self._metrics),
        }

    async def answer(self, hit: Hit, body: Body) -> Answer:
        """Answer one request; never raises for what a request or a disk can do."""
        met = self.meet(hit)
        if met is not None:
            return await self.keep(*met)
        route = self._routes.get(hit.path)
        if route is None:
            return self._bad(404, "not_found", "there is nothing here") if hit.path.startswith("/v1/") else not_found()
        methods, handler = route
        if hit.method not in methods:
            return self._wrong_method(methods)
        return await handler(hit, body)

    # --- links ---

    def meet(self, hit: Hit) -> tuple[Answer, Touch | None] | None:
        """The hot path (``/c/…``, ``/i.gif`` …): an answer, and what is to be recorded before it is sent. None: not a touch."""
        kind = FOLLOWED.get(hit.path[:3])
        if kind is not None:
            return self._click(hit, kind)
        if hit.path == "/i.gif":
            return self._impression(hit)
        return self._landing(hit) if hit.path == "/l.gif" else None

    async def keep(self, answer: Answer, touch: Touch | None) -> Answer:
        """Record a touch, then let the answer go. The visitor reaches the shop even where the disk is full."""
        if touch is None:
            return answer
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        try:
            self.submit(touch, _Visitor(self, touch, answer, waiting))
        except Unavailable as fault:
            return self.lost(touch, answer, fault)
        return await waiting

    def submit(self, touch: Touch, waiter: Waiter) -> None:
        """:meth:`keep` for a server that waits in a way of its own, and then asks :meth:`recorded` or :meth:`lost`.

        Raises:
            Unavailable: at once; the waiter hears nothing.
        """
        self._spool.submit(self._received(touch), waiter)

    def recorded(self, answer: Answer) -> Answer:
        """What to send now that the touch is safe."""
        self._counters.totals.recorded += 1
        return answer

    def lost(self, touch: Touch, answer: Answer, fault: Unavailable) -> Answer:
        """What to send where the touch could not be recorded."""
        self._counters.lose(touch.tenant_id, touch.received_at)
        return unavailable(str(fault), fault.retry_after_s) if self._rules.overload == "accountability" else answer

    def _received(self, touch: Touch) -> bytes:
        totals = self._counters.totals
        totals.received += 1
        if not touch.tenant_id:
            totals.orphans += 1
        return encode_event(touch)

    def _click(self, hit: Hit, kind: TouchKind) -> tuple[Answer, Touch | None]:
        """The answer, and what is to be recorded before it may be sent."""
        table, now = self._table(), self._clock()
        if table is not self._aimed_at:
            self._aims, self._aimed_at = {}, table
        code, aim = self._aims.get((hit.path, hit.query)) or self._take_aim(hit)
        if hit.method not in _SEEN:
            return self._wrong_method(_SEEN), None
        if aim is None:
            return (not_found() if table is not EMPTY else self._no_catalogue(now)), None
        return answer_click(hit, code, aim, now, self._mint.two(now), self._agent_flag, self._limits.verdict, kind)

    def _take_aim(self, hit: Hit) -> tuple[str, Aim | None]:
        """The code of a hit, and what link and query mean together: remembered while the catalogue stays as it is."""
        code = hit.path[3:].removesuffix("/")
        if not code or "/" in code or self._aimed_at is EMPTY:
            return code, None
        aim = take_aim(self._aimed_at.links.get(code), hit.pairs)
        if len(hit.path) + len(hit.query) <= AIM_CHARS and not aim.extras:
            if len(self._aims) >= AIMS:
                self._aims.clear()
            self._aims[hit.path, hit.query] = code, aim
        return code, aim

    def _impression(self, hit: Hit) -> tuple[Answer, Touch | None]:
        table, now, code = self._table(), self._clock(), hit.first("l")
        if hit.method not in _SEEN:
            return self._wrong_method(_SEEN), None
        if table is EMPTY:
            return self._no_catalogue(now), None
        if not code:
            self._counters.bad_requests["missing_field"] += 1
            return pixel(400, more=[("x-fairshare-error", "missing_field")]), None
        return answer_impression(hit, code, table.links.get(code), now, self._mint.two(now), self._agent_flag)

    def _landing(self, hit: Hit) -> tuple[Answer, Touch | None]:
        table, now = self._table(), self._clock()
        if hit.method not in _SEEN:
            return self._wrong_method(_SEEN), None
        if table is EMPTY:
            return self._no_catalogue(now), None
        try:
            tenant = self._tenant(hit.first("tenant"))
        except BadInput as fault:
            return self._bad_pixel(fault), None
        return answer_landing(hit, tenant, now, self._mint.two(now), self._agent_flag)

    def count_bad(self, code: str) -> None:
        """Count what a server refused before it became a hit."""
        self._counters.bad_requests[code] += 1

    def _no_catalogue(self, now: Instant) -> Answer:
        """Books that were never readable: nobody knows where a link leads."""
        self._counters.totals.received += 1
        self._counters.lose("", now)
        return unavailable("the catalogue could not be read yet; try again in a moment", 1)

    # --- conversions ---

    async def _typed(self, hit: Hit, body: Body, read: Callable[[Any, Arrival], Conversion]) -> Answer:
        try:
            tenant = self._tenant_of_token(_bearer(hit) or hit.first("token"))
            content = await self._body(hit, body)
            conversion = await self._divided(read(_parse(content), self._arrival(tenant)))
            recorded = await self._record(conversion)
        except (Refused, Conflict, Unavailable, BadInput) as fault:
            return self._refuse(fault)
        return json_answer(200, confirm(recorded.events, self._rules.portal))

    async def _divided(self, whole: Conversion) -> Conversion:
        """A basket with its parts, once. A repeat is not divided again: who may sell there may have changed meanwhile."""
        event, table = whole.event, self._catalogue()
        if not isinstance(event, Order | Refund) or not (whole.sellers or (isinstance(event, Refund) and table.coalition_records)):
            return whole
        if await self._recorder.find(event.tenant_id, whole.kind, whole.external_id):
            return whole
        if isinstance(event, Order):
            return split_order(whole, table, self._mint)
        orders = await self._recorder.find(event.tenant_id, "order", event.order_id)
        # Who is a marketplace no more still takes back what it sold for others.
        was_divided = any(order.tenant_id != event.tenant_id for order in orders)
        if not (whole.sellers or was_divided or is_marketplace(table, event.tenant_id)):
            return whole
        return split_refund(whole, orders, table, self._mint)

    async def _touches(self, hit: Hit, body: Body) -> Answer:
        """One touch, answered as a conversion is, or a list of them, each with a result of its own."""
        try:
            tenant = self._tenant_of_token(_bearer(hit) or hit.first("token"))
            content = _parse(await self._body(hit, body))
            touches = read_touches(content, self._arrival(tenant), self._catalogue(), self._mint)
            self._require_room(f"{tenant.tenant_id} touches", touches[0].event.received_at)
            results = await self._recorder.record_all(touches)
        except (Refused, Unavailable, BadInput) as fault:
            return self._refuse(fault)
        for result in results:
            self._count(result)
        if isinstance(content, list):
            return json_answer(200, {"results": [self._result(result) for result in results]})
        return self._refuse(results[0]) if isinstance(results[0], Conflict) else json_answer(200, self._result(results[0]))

    def _result(self, result: Recorded | Conflict) -> dict[str, Any]:
        if isinstance(result, Conflict):
            return {"error": {"code": "conflict", "message": str(result), "field": "touch_id"}}
        return confirm(result.events, self._rules.portal)

    async def _postback(self, hit: Hit, body: Body, read: Callable[..., Conversion]) -> Answer:
        try:
            pairs = hit.pairs
            if hit.method == "POST":
                pairs = (*pairs, *_form(hit, await self._body(hit, body)))
            given = {name: value for name, value, _ in reversed(pairs)}
            tenant = self._tenant_of_token(_bearer(hit) or given.get("token", ""))
            self._require_same(tenant, given.get("tenant", ""))
            arrival = msgspec.structs.replace(self._arrival(tenant), source="postback")
            recorded = await self._record(read(pairs, tenant, arrival))
        except (Refused, Conflict, Unavailable, BadInput) as fault:
            return self._refuse(fault)
        return json_answer(200, confirm(recorded.events, self._rules.portal))

    async def _pixel(self, hit: Hit, read: Callable[..., Conversion]) -> Answer:
        """The picture in every case; what went wrong is in the status and a header, where a person with tools sees it.

        A pixel never conflicts: browsers reload pages, and whatever came first under the id stays.
        """
        try:
            tenant = self._tenant(hit.first("tenant"))
            visitor_id, consent, _ = read_visit(hit)
            seen = consent != "denied"
            arrival = msgspec.structs.replace(
                self._arrival(tenant),
                source="pixel",
                visitor_id=visitor_id,
                ip=hit.address if seen else "",
                user_agent=hit.user_agent if seen else "",
                consent=consent,
            )
            await self._record(read(hit.pairs, tenant, arrival))
        except Conflict:
            self._counters.totals.duplicates += 1
        except (Refused, Unavailable, BadInput) as fault:
            return self._bad_pixel(fault)
        return pixel()

    def _bad_pixel(self, fault: Exception) -> Answer:
        refused = self._refuse(fault)
        more = [("x-fairshare-error", _code_of(fault)), *((name, text) for name, text in refused.headers if name == "retry-after")]
        return pixel(refused.status, more=more)

    async def _record(self, conversion: Conversion) -> Recorded:
        event = conversion.event
        # Pixels need no key: strangers must not use up what the merchant's own server may send.
        sender = f"{event.tenant_id} pixel" if getattr(event, "source", "") == "pixel" else event.tenant_id
        self._require_room(sender, event.received_at)
        recorded = await self._recorder.record(conversion)
        self._count(recorded)
        return recorded

    def _require_room(self, sender: str, now: Instant) -> None:
        if wait_s := self._limits.allow_conversion(sender, now):
            raise TooMany(f"this tenant has sent all the conversions that a minute may bring; the next may come in {wait_s} s", wait_s)

    def _count(self, recorded: Recorded | Conflict) -> None:
        totals = self._counters.totals
        if isinstance(recorded, Conflict):
            return
        if recorded.is_repeat:
            totals.duplicates += 1
        else:
            totals.received += len(recorded.events)
            totals.recorded += len(recorded.events)

    def _arrival(self, tenant: TenantEntry) -> Arrival:
        now = self._clock()
        return Arrival(tenant.tenant_id, tenant.key, self._mint(now), now, self._rules.tolerance_ms, shares=tenant.shares)

    def _tenant_of_token(self, token: str) -> TenantEntry:
        table = self._catalogue()
        if not token:
            raise BadInput("bad_token", "this needs an API key: Authorization: Bearer KEY, or token=KEY", "token")
        tenant_id = table.keys.get(hashlib.sha256(token.encode()).hexdigest())
        if tenant_id is None:
            raise BadInput("bad_token", "this API key is not known; keys are made in the portal", "token")
        return table.tenants[tenant_id]

    def _tenant(self, tenant_id: str) -> TenantEntry:
        tenant = self._catalogue().tenants.get(tenant_id)
        if not tenant_id:
            raise BadInput("missing_field", "tenant is missing", "tenant")
        if tenant is None:
            raise BadInput("unknown_tenant", f"there is no tenant {tenant_id!r:.80}", "tenant")
        return tenant

    def _require_same(self, tenant: TenantEntry, named: str) -> None:
        if named and self._tenant(named) != tenant:
            raise BadInput("bad_token", f"this API key does not belong to tenant {named!r:.80}", "token")

    def _catalogue(self) -> LinkTable:
        table = self._table()
        if table is EMPTY:
            raise Unavailable("the catalogue could not be read yet; try again in a moment", 1)
        return table

    async def _body(self, hit: Hit, body: Body) -> bytes:
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                content = None if hit.content_length > DRAIN_FACTOR * BODY_BYTES else await body(BODY_BYTES)
        except TimeoutError:
            raise BadInput("malformed", f"the body did not arrive within {BODY_WITHIN_S} s") from None
        if content is None:
            raise BadInput("too_large", f"the body is longer than {BODY_BYTES // 1024} KB")
        if hit.content_length and len(content) != hit.content_length:
            # Half a form reads like a whole one, with another amount.
            raise BadInput("malformed", "the body ended before its announced length")
        return content

    # --- about itself ---

    async def _health(self, _hit: Hit, _body: Body) -> Answer:
        health = health_of(self._counters, self._spool, self._table(), self._lag(), self._sharing(), self._watching())
        return json_answer(200 if health["ok"] else 503, health)

    async def _metrics(self, _hit: Hit, _body: Body) -> Answer:
        return text_answer(200, *metrics_of(self._counters, self._spool, self._lag()))

    # --- refusals ---

    def _refuse(self, fault: Exception) -> Answer:
        code = _code_of(fault)
        self._counters.bad_requests[code] += 1
        if isinstance(fault, TooMany):
            return error(429, code, str(fault), more=[("retry-after", str(fault.retry_after_s))])
        if isinstance(fault, Unavailable):
            return unavailable(str(fault), fault.retry_after_s)
        if isinstance(fault, Conflict):
            return error(409, code, str(fault), "")
        if code == "bad_token":
            return error(401, code, str(fault), "token", [("www-authenticate", "Bearer")])
        faults = fault.faults if isinstance(fault, Refused) else [fault] if isinstance(fault, BadInput) else []
        whole_body = code == "too_large" and not faults[0].field
        return refusal(413 if whole_body else _STATUSES.get(code, 400), faults)

    def _bad(self, status: int, code: str, message: str) -> Answer:
        self._counters.bad_requests[code] += 1
        return error(status, code, message)

    def _wrong_method(self, methods: tuple[str, ...]) -> Answer:
        self._counters.bad_requests["method_not_allowed"] += 1
        allowed = ", ".join(methods)
        return error(405, "method_not_allowed", f"use {allowed}", more=[("allow", allowed)])


class _Visitor:
    """Waits for the record of a touch. It counts even where nobody waits for the answer any more."""

    __slots__ = ("_answer", "_edge", "_touch", "_waiting")

    def __init__(self, edge: Edge, touch: Touch, answer: Answer, waiting: "asyncio.Future[Answer]") -> None:
        self._edge = edge
        self._touch = touch
        self._answer = answer
        self._waiting = waiting

    def done(self) -> bool:
        return False

    def set_result(self, _: None, /) -> None:
        self._tell(self._edge.recorded(self._answer))

    def set_exception(self, fault: Exception, /) -> None:
        assert isinstance(fault, Unavailable), "the spool says what it could not do"
        self._tell(self._edge.lost(self._touch, self._answer, fault))

    def _tell(self, answer: Answer) -> None:
        if not self._waiting.done():
            self._waiting.set_result(answer)


def _code_of(fault: Exception) -> str:
    if isinstance(fault, Refused):
        return fault.faults[0].code
    if isinstance(fault, BadInput):
        return fault.code
    if isinstance(fault, Conflict):
        return "conflict"
    return "rate_limited" if isinstance(fault, TooMany) else "unavailable"


def _bearer(hit: Hit) -> str:
    scheme, _, token = hit.authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _parse(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        reason = str(fault) or "nested too deeply"
        raise BadInput("malformed", f"the body is not JSON: {reason:.200}") from None


def _form(hit: Hit, content: bytes) -> tuple[tuple[str, str, str], ...]:
    if content and not hit.content_type.startswith("application/x-www-form-urlencoded"):
        raise BadInput("malformed", "the body is not a form; JSON goes to /v1/orders or /v1/leads", "")
    if content and not hit.content_length:
        # A server may hand over the half of a chunked body as if it were whole. Half of a JSON never parses; half of a form does.
        raise BadInput("malformed", "a form needs a Content-Length header, so that half of it is not taken for all of it")
    return read_pairs(content.decode("utf-8", "replace"))
