"""An order's candidates, from the touches that were found and from what the order itself says: coupons, claims, an affiliate. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from attribution.policy import COUPON, Ruling, Terms
from attribution.touches import TouchRow, VisitorRow, facet_of, known_facets
from core.clock import Instant
from core.credit import Candidate, Match
from core.events import Claim, Order
from core.ids import is_event_id

AGENT = "agent:"
"""A claim's candidate has this before its token, its affiliate, or its provider and publisher, as ``touch_id``."""
CLICKLESS = "clickless:"
"""And that of an affiliate that the order's sender names has this before the affiliate."""
EXPIRED = "expired"
"""The ``origin`` of a claim that had expired when the order was placed."""
OWN_PROVIDERS = ("", "fairshare")
"""Beside the tenant's id: who gave out a claim whose publisher is an affiliate here."""
CANDIDATES_EACH = 250
"""Of each class of an order's touches, by people and by others, so many of the latest are kept."""

EVIDENCE: dict[str, str] = {"em:": "same_email"}
BY_VISITOR: tuple[Match, ...] = ("visitor",)
BY_CUSTOMER: tuple[Match, ...] = ("customer",)
NAMED: tuple[Match, ...] = ("click_id",)
NAMED_BY_VISITOR: tuple[Match, ...] = ("click_id", "visitor")
NAMED_BY_CUSTOMER: tuple[Match, ...] = ("click_id", "customer")

Spans = tuple[tuple[Instant, Instant], ...]


class Company(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The keys of a person beyond an order's own: visitors with the times in which each is the person's (none: always), and clicks.

    ``cut``: the person has more keys than are followed.
    """

    visitors: tuple[tuple[str, Match, Spans], ...]
    clicks: tuple[tuple[str, Match], ...]
    cut: bool = False


class Journey(msgspec.Struct, frozen=True, gc=False):
    """What may have led to one order. ``left_out`` touches were beyond the cap; ``cut`` persons had too many keys."""

    candidates: list[Candidate]
    left_out: int = 0
    cut: bool = False


class Found:
    """The touches that were fetched for a batch of orders. Of several contents under one id the smallest by time and facet is the touch:
    which of them arrived first must not decide an order."""

    def __init__(
        self, visitors: Iterable[VisitorRow], touches: Iterable[TouchRow], crowds: Mapping[str, tuple[VisitorRow, ...]] | None = None
    ) -> None:
        self.visitors = {row.visitor_id: _each_once(row) for row in visitors}
        self.crowds = crowds or {}
        self.touches: dict[str, TouchRow] = {}
        for row in touches:
            kept = self.touches.setdefault(row.touch_id, row)
            if kept is not row and (row.occurred_at, row.facet) < (kept.occurred_at, kept.facet):
                self.touches[row.touch_id] = row

    def of(self, order_id: str, visitor_id: str) -> VisitorRow | None:
        """A visitor's touches, as far as they may matter to the order."""
        row = self.visitors.get(visitor_id)
        if row is None or row.touch_ids:
            return row
        return next((crowd for crowd in self.crowds.get(order_id, ()) if crowd.visitor_id == visitor_id), None)


def _each_once(row: VisitorRow) -> VisitorRow:
    if len(set(row.touch_ids)) == len(row.touch_ids):
        return row
    contents: dict[str, tuple[Instant, str]] = {}
    for touch_id, at, facet in zip(row.touch_ids, row.times, row.facets, strict=True):
        contents[touch_id] = min(contents.get(touch_id, (at, facet)), (at, facet))
    times, facets = [at for at, _ in contents.values()], [facet for _, facet in contents.values()]
    return VisitorRow(row.visitor_id, list(contents), times, facets, row.found - len(row.touch_ids) + len(contents))


def candidates_of(order: Order, found: Found, company: Company | None, earliest: Instant) -> Journey:
    """The touches of an order's person from ``earliest`` on, and those that the order names, of any age.

    Args:
        company: None where the person has no key but the order's own.
    """
    if company is None and not order.click_id:
        kept, missing = _of_visitor(order, found, earliest)
    else:
        journey: dict[str, Candidate] = {}
        missing = 0
        if company is not None:
            missing = _of_company(order, found, company, earliest, journey)
        else:
            own, missing = _of_visitor(order, found, earliest)
            journey = {one.touch_id: one for one in own}
        if order.click_id:
            _add_named(order, found, journey)
        kept = list(journey.values())
    if len(kept) > CANDIDATES_EACH:
        distinct = {one.touch_id: one for one in kept}
        kept = latest(list(distinct.values()), order.click_id)
        missing += len(distinct) - len(kept)
    return Journey(kept, missing, company.cut if company else False)


def _of_visitor(order: Order, found: Found, earliest: Instant) -> tuple[list[Candidate], int]:
    """The touches of the order's own visitor, and how many were beyond the cap."""
    row = found.of(order.order_id, order.visitor_id) if order.visitor_id else None
    if row is None:
        return [], 0
    return _touches(row, BY_VISITOR, earliest, order.occurred_at), row.found - len(row.touch_ids)


def _of_company(order: Order, found: Found, company: Company, earliest: Instant, journey: dict[str, Candidate]) -> int:
    """Add the touches of a person with several keys; returns how many were beyond the cap."""
    missing = 0
    for visitor_id, match, spans in company.visitors:
        row = found.of(order.order_id, visitor_id)
        if row is None:
            continue
        missing += row.found - len(row.touch_ids)
        for one in _touches(row, (match,), earliest, order.occurred_at):
            if not spans or any(start <= one.occurred_at < end for start, end in spans):
                journey[one.touch_id] = one
    for click_id, match in company.clicks:
        touch = found.touches.get(click_id)
        if touch is not None and click_id not in journey and earliest <= touch.occurred_at <= order.occurred_at:
            journey[click_id] = _candidate(touch, (match,))
    return missing


def _add_named(order: Order, found: Found, journey: dict[str, Candidate]) -> None:
    """The click that the order names counts at any age."""
    named = journey.get(order.click_id)
    if named is not None:
        matches = NAMED_BY_CUSTOMER if named.matches == BY_CUSTOMER else NAMED_BY_VISITOR
        journey[order.click_id] = msgspec.structs.replace(named, matches=matches)
    elif (touch := found.touches.get(order.click_id)) is not None:
        journey[order.click_id] = _candidate(touch, NAMED)


def _touches(row: VisitorRow, matches: tuple[Match, ...], earliest: Instant, latest: Instant) -> list[Candidate]:
    """A visitor's touches in ``[earliest, latest]``, oldest first."""
    found: list[Candidate] = []
    for at, touch_id, text in sorted(zip(row.times, row.touch_ids, row.facets, strict=True)):
        if earliest <= at <= latest:
            facet = known_facets.get(text) or facet_of(text)
            found.append(
                Candidate(
                    touch_id,
                    facet.touch_class,
                    facet.programme_id,
                    facet.affiliate_id,
                    at,
                    matches,
                    facet.link_code,
                    facet.channel,
                    facet.traffic_class,
                    facet.consent,
                    "",
                    facet.origin,
                )
            )
    return found


def _candidate(touch: TouchRow, matches: tuple[Match, ...], tenant_id: str = "") -> Candidate:
    facet = facet_of(touch.facet)
    return Candidate(
        touch.touch_id,
        facet.touch_class,
        facet.programme_id,
        facet.affiliate_id,
        touch.occurred_at,
        matches,
        facet.link_code,
        facet.channel,
        facet.traffic_class,
        facet.consent,
        tenant_id,
        facet.origin,
    )


def foreign_candidate(touch: TouchRow, tenant_id: str) -> Candidate:
    """A touch of another tenant of a coalition."""
    return _candidate(touch, ("coalition",), tenant_id)


def latest(candidates: Sequence[Candidate], named: str) -> list[Candidate]:
    """The click that the order names, and the latest ``CANDIDATES_EACH`` of each class, by people and by others."""
    room: dict[tuple[str, bool], int] = {}
    kept: list[Candidate] = []
    for one in sorted(candidates, key=lambda one: (one.occurred_at, one.touch_id), reverse=True):
        group = (one.touch_class, one.human)
        room[group] = room.get(group, CANDIDATES_EACH) - 1
        if room[group] >= 0 or one.touch_id == named:
            kept.append(one)
    return kept


# --- what the order says ---------------------------------------------------------------------------------------------


def sent(order: Order, terms: Terms, ruling: Ruling | None, found: Found, links: Mapping[str, tuple[str, str]]) -> Iterator[Candidate]:
    """Candidates that the order's sender names: coupons that the catalogue knows, an assistant's claims, an affiliate.

    Args:
        links: the programme and the affiliate of each claim's token that is a link's code of the tenant.
    """
    programme_id = ruling.programme_id if ruling else ""
    for code in sorted({code.strip().upper() for code in order.coupons}):
        if coupon := terms.coupons.get(code):
            yield Candidate(
                touch_id=COUPON + code,
                touch_class="coupon",
                programme_id=coupon.programme_id,
                affiliate_id=coupon.affiliate_id,
                occurred_at=order.occurred_at,
                matches=("coupon",),
                channel=order.channel,
            )
    for claim in order.claims:
        yield _claimed(order, claim, found, links, programme_id)
    if order.affiliate_id:
        yield Candidate(
            touch_id=CLICKLESS + order.affiliate_id,
            touch_class="clickless",
            programme_id=programme_id,
            affiliate_id=order.affiliate_id,
            occurred_at=order.occurred_at,
            matches=("clickless",),
            channel=order.channel,
        )


def _claimed(order: Order, claim: Claim, found: Found, links: Mapping[str, tuple[str, str]], programme_id: str) -> Candidate:
    """What a claim stands for: the click or the link that its token names, else the affiliate that it names itself.

    An id that another provider gave its publisher may be an affiliate's here by accident, so it names nobody.
    """
    touch = found.touches.get(claim.token) if is_event_id(claim.token) else None
    facet = facet_of(touch.facet) if touch else None
    publisher_id = claim.affiliate_id if claim.provider.lower() in (*OWN_PROVIDERS, order.tenant_id) else ""
    named, affiliate_id = (facet.programme_id, facet.affiliate_id) if facet else links.get(claim.token, (programme_id, publisher_id))
    expired = claim.expires_at and claim.expires_at < order.occurred_at
    return Candidate(
        touch_id=AGENT + (claim.token or publisher_id or f"{claim.provider}:{claim.affiliate_id}"),
        touch_class="agent",
        programme_id=named,
        affiliate_id=affiliate_id,
        occurred_at=min(claim.issued_at, order.occurred_at) if claim.issued_at else order.occurred_at,
        matches=("agent",),
        link_code=facet.link_code if facet else claim.token if claim.token in links else "",
        channel=order.channel,
        traffic_class=facet.traffic_class if facet else "human",
        origin=EXPIRED if expired else claim.provider,
    )


def evidence_of(order: Order, candidates: list[Candidate], terms: Terms) -> list[Candidate]:
    """The same, with what speaks for an affiliate's buying from itself."""
    owners = terms.owners_of_keys
    if owners.keys().isdisjoint(order.customer_keys):
        return candidates
    evidence: dict[str, tuple[str, ...]] = {}
    for key in order.customer_keys:
        for affiliate_id in owners.get(key, ()):
            kind = EVIDENCE.get(key[:3], "same_customer")
            evidence[affiliate_id] = tuple(sorted({*evidence.get(affiliate_id, ()), kind}))
    return [
        msgspec.structs.replace(one, evidence=evidence[one.affiliate_id]) if one.affiliate_id in evidence else one for one in candidates
    ]
