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
from core.events import Touch, encode_event
from core.ids import event_id
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
from tracker.click import ENTROPY_BITS, AgentFlag, answer_click, answer_impression, read_visit
from tracker.commit import Spool
from tracker.confirmation import confirm
from tracker.conversion import Arrival, Conversion, Refused
from tracker.counters import Counters
from tracker.health import health_of, metrics_of
from tracker.hit import Hit, read_pairs
from tracker.links import EMPTY, LinkTable, TenantEntry
from tracker.orders import read_lead, read_order, read_refund
from tracker.postback import read_lead_parameters, read_sale
from tracker.recording import Recorded, Recorder

BODY_BYTES = 256 * 1024
DRAIN_FACTOR = 4
"""A body up to four times too long is read to its end and thrown away: a client that still sends would not see the answer."""
BODY_WITHIN_S = 20
RETRY_AFTER_S = 5

Body = Callable[[int], Awaitable[bytes | None]]
"""Reads a request's body of at most so many bytes; None where it is longer. Raises BadInput where the client went away."""

Overload = Literal["availability", "accountability"]


class Rules(msgspec.Struct, frozen=True):
    """The settings that the edge obeys."""

    overload: Overload = "availability"
    tolerance_ms: int = 10 * MINUTE
    portal: str = "http://127.0.0.1:8701"


class Edge:
    """Answers hits. ``entropy(bits)`` gives that many random bits; ``table()`` the newest catalogue that could be read."""

    def __init__(
        self,
        table: Callable[[], LinkTable],
        spool: Spool,
        recorder: Recorder,
        counters: Counters,
        clock: Clock,
        entropy: Callable[[int], int],
        agent_flag: AgentFlag,
        rules: Rules,
    ) -> None:
        self._table = table
        self._spool = spool
        self._recorder = recorder
        self._counters = counters
        self._clock = clock
        self._entropy = entropy
        self._agent_flag = agent_flag
        self._rules = rules
        self._routes: dict[str, tuple[tuple[str, ...], Callable[[Hit, Body], Awaitable[Answer]]]] = {
            "/i.gif": (("GET", "HEAD", "OPTIONS"), self._impression),
            "/v1/orders": (("POST",), lambda hit, body: self._typed(hit, body, read_order)),
            "/v1/refunds": (("POST",), lambda hit, body: self._typed(hit, body, read_refund)),
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
        if hit.path.startswith("/c/"):
            return await self._click(hit)
        route = self._routes.get(hit.path)
        if route is None:
            return self._bad(404, "not_found", "there is nothing here") if hit.path.startswith("/v1/") else not_found()
        methods, handler = route
        if hit.method not in methods:
            return self._wrong_method(methods)
        return await handler(hit, body)

    # --- links ---

    async def _click(self, hit: Hit) -> Answer:
        code = hit.path[3:].removesuffix("/")
        if not code or "/" in code:
            return not_found()
        if hit.method not in ("GET", "HEAD", "OPTIONS"):
            return self._wrong_method(("GET", "HEAD", "OPTIONS"))
        table, now = self._table(), self._clock()
        if table is EMPTY:
            return self._no_catalogue(now)
        answer, touch = answer_click(hit, code, table.links.get(code), now, self._entropy(ENTROPY_BITS), self._agent_flag)
        return await self._keep(touch, answer)

    async def _impression(self, hit: Hit, _body: Body) -> Answer:
        table, now, code = self._table(), self._clock(), hit.first("l")
        if table is EMPTY:
            return self._no_catalogue(now)
        if not code:
            self._counters.bad_requests["missing_field"] += 1
            return pixel(400, more=[("x-fairshare-error", "missing_field")])
        answer, touch = answer_impression(hit, code, table.links.get(code), now, self._entropy(ENTROPY_BITS), self._agent_flag)
        return await self._keep(touch, answer)

    async def _keep(self, touch: Touch, answer: Answer) -> Answer:
        """Record a touch, then let the answer go. The visitor reaches the shop even where the disk is full."""
        totals = self._counters.totals
        totals.received += 1
        if not touch.tenant_id:
            totals.orphans += 1
        try:
            await self._spool.append(encode_event(touch))
        except Unavailable as fault:
            self._counters.lose(touch.tenant_id, touch.received_at)
            if self._rules.overload == "accountability":
                return unavailable(str(fault), fault.retry_after_s)
            return answer
        totals.recorded += 1
        return answer

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
            recorded = await self._record(read(_parse(content), self._arrival(tenant)))
        except (Refused, Conflict, Unavailable, BadInput) as fault:
            return self._refuse(fault)
        return json_answer(200, confirm(recorded.event, self._rules.portal))

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
        return json_answer(200, confirm(recorded.event, self._rules.portal))

    async def _pixel(self, hit: Hit, read: Callable[..., Conversion]) -> Answer:
        """The picture in every case; what went wrong is in the status and a header, where a person with tools sees it.

        A pixel never conflicts: browsers reload pages, and whatever came first under the id stays.
        """
        try:
            tenant = self._tenant(hit.first("tenant"))
            visit = read_visit(hit, self._clock(), 0, may_set=False)
            seen = visit.consent != "denied"
            arrival = msgspec.structs.replace(
                self._arrival(tenant),
                source="pixel",
                visitor_id=visit.visitor_id,
                ip=hit.address if seen else "",
                user_agent=hit.user_agent if seen else "",
            )
            await self._record(read(hit.pairs, tenant, arrival))
        except Conflict:
            self._counters.totals.duplicates += 1
        except (Refused, Unavailable, BadInput) as fault:
            refused = self._refuse(fault)
            code = _code_of(fault)
            more = [("x-fairshare-error", code), *((name, text) for name, text in refused.headers if name == "retry-after")]
            return pixel(refused.status, more=more)
        return pixel()

    async def _record(self, conversion: Conversion) -> Recorded:
        recorded = await self._recorder.record(conversion)
        totals = self._counters.totals
        if recorded.is_repeat:
            totals.duplicates += 1
        else:
            totals.received += 1
            totals.recorded += 1
        return recorded

    def _arrival(self, tenant: TenantEntry) -> Arrival:
        now = self._clock()
        return Arrival(tenant.tenant_id, tenant.key, event_id(now, self._entropy(80)), now, self._rules.tolerance_ms)

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
        health = health_of(self._counters, self._spool, self._table())
        return json_answer(200 if health["ok"] else 503, health)

    async def _metrics(self, _hit: Hit, _body: Body) -> Answer:
        return text_answer(200, *metrics_of(self._counters, self._spool))

    # --- refusals ---

    def _refuse(self, fault: Exception) -> Answer:
        code = _code_of(fault)
        self._counters.bad_requests[code] += 1
        if isinstance(fault, Unavailable):
            return unavailable(str(fault), fault.retry_after_s)
        if isinstance(fault, Conflict):
            return error(409, code, str(fault), "")
        if code == "bad_token":
            return error(401, code, str(fault), "token", [("www-authenticate", "Bearer")])
        faults = fault.faults if isinstance(fault, Refused) else [fault] if isinstance(fault, BadInput) else []
        whole_body = code == "too_large" and not faults[0].field
        return refusal(404 if code == "unknown_tenant" else 413 if whole_body else 400, faults)

    def _bad(self, status: int, code: str, message: str) -> Answer:
        self._counters.bad_requests[code] += 1
        return error(status, code, message)

    def _wrong_method(self, methods: tuple[str, ...]) -> Answer:
        self._counters.bad_requests["method_not_allowed"] += 1
        allowed = ", ".join(methods)
        return error(405, "method_not_allowed", f"use {allowed}", more=[("allow", allowed)])


def _code_of(fault: Exception) -> str:
    if isinstance(fault, Refused):
        return fault.faults[0].code
    if isinstance(fault, BadInput):
        return fault.code
    return "conflict" if isinstance(fault, Conflict) else "unavailable"


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
