"""A batch of orders with everything that decides them, as bytes that travel between processes, and its decisions. Pure.

What is decided does not depend on how orders are put together in batches, nor on which process decides them.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from attribution.candidates import Company, Found, Journey, candidates_of, evidence_of, sent
from attribution.decide import Customer, decide
from attribution.policy import Terms, lookback, ruling_for
from attribution.revisions import Block, InForce, Revision, blocks_of, is_locked, override_text, revision_of
from attribution.touches import OrderRow, VisitorRow, decode_orders, decode_touches, decode_visitors, order_of
from core.clock import Instant
from core.credit import Candidate, Decision, Override
from core.events import Order
from core.segments import place_of, segments_of, status_of


class Past(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The orders that a person had placed before one: how many, and when the first and the last of them."""

    orders: int
    first_at: Instant
    last_at: Instant


class Batch(msgspec.Struct, frozen=True):
    """``orders`` and ``touches`` are lines as the store gave them (:mod:`attribution.touches`).

    ``company`` is given for orders whose person is more than the order's own keys. ``past`` says what a person had ordered before, and
    leaves out orders of which that is nothing, or is not followed; ``crowds`` are an order's touches of visitors that have very many,
    already capped. ``foreign`` are touches of other tenants, ``links`` what the tokens of claims stand for. ``frozen`` orders keep the
    decision they have.
    """

    orders: bytes
    visitors: bytes = b""
    touches: bytes = b""
    company: dict[str, Company] = {}
    crowds: dict[str, tuple[VisitorRow, ...]] = {}
    foreign: dict[str, tuple[Candidate, ...]] = {}
    links: dict[str, tuple[str, str]] = {}
    past: dict[str, Past] = {}
    in_force: dict[str, InForce] = {}
    frozen: tuple[str, ...] = ()
    overrides: dict[str, Override] = {}


class Case(NamedTuple):
    """One order of a batch, decided; ``journey`` says what was left out."""

    order: Order
    decision: Decision
    journey: Journey


class Bonds:
    """What earlier orders have bound a person to, where a policy ranks that: asked before each decision and told after it."""

    def bond_of(self, order: Order) -> Candidate | None:
        """The bond that holds when the order is placed, whatever its window says."""
        raise NotImplementedError

    def note(self, order: Order, decision: Decision) -> None:
        """An order was decided."""
        raise NotImplementedError


def decide_batch(batch: Batch, terms: Terms, at: Instant | None = None, bonds: Bonds | None = None, traces: bool = True) -> Iterator[Case]:
    """Decide every order, in the order of the batch.

    Args:
        at: where given, orders whose decision in force is locked by then are left out, unless a person has decided since.
        bonds: where given, each order is decided after those before it.
    """
    found = Found(decode_visitors(batch.visitors), decode_touches(batch.touches), batch.crowds)
    for row in decode_orders(batch.orders):
        before = batch.in_force.get(row.order_id)
        override = batch.overrides.get(row.order_id)
        if at is not None and before is not None and _is_kept(batch, terms, row, before, at) and not _is_news(override, before):
            continue
        yield _decided(batch, terms, row, found, override, bonds, traces)


def _decided(batch: Batch, terms: Terms, row: OrderRow, found: Found, override: Override | None, bonds: Bonds | None, traces: bool) -> Case:
    order = order_of(terms.tenant_id, row)
    company = batch.company.get(row.order_id)
    customer = customer_of(order, row.country, batch.past.get(row.order_id), terms, company is None or not company.cut)
    ruling = ruling_for(terms, order, customer.segments)
    earliest = order.occurred_at - (ruling.lookback if ruling else lookback(None))
    journey = candidates_of(order, found, company, earliest)
    candidates = journey.candidates
    if row.order_id in batch.foreign:
        candidates += batch.foreign[row.order_id]
    if order.coupons or order.claims or order.affiliate_id:
        candidates += sent(order, terms, ruling, found, batch.links)
    if bonds is not None and (bond := bonds.bond_of(order)) is not None:
        candidates.append(bond)
    if order.customer_keys and terms.own_keys:
        candidates = evidence_of(order, candidates, terms)
    decision = decide(order, candidates, ruling, customer, override, traces)
    if bonds is not None:
        bonds.note(order, decision)
    return Case(order, decision, journey)


def customer_of(order: Order, country: str, past: Past | None, terms: Terms, is_followed: bool = True) -> Customer:
    """What the decision takes the customer for. ``is_followed``: the person is not past the limit."""
    status = status_of(order, past.last_at if past else None, terms.lapsed_after_days)
    number, first_at = place_of(order, past.orders if past else 0, past.first_at if past else 0) if is_followed else (0, 0)
    segments = segments_of(order, country, status, terms.segments, terms.stores) if terms.segments else ()
    return Customer(status, segments, number, first_at)


def _is_kept(batch: Batch, terms: Terms, row: OrderRow, before: InForce, at: Instant) -> bool:
    return is_locked(terms, before, row.occurred_at, at) or row.order_id in batch.frozen


def _is_news(override: Override | None, before: InForce) -> bool:
    """Has a person decided since? That was allowed when it was done, and is not undone by the lock."""
    return override is not None and override_text(override) != before.override


# --- what comes out --------------------------------------------------------------------------------------------------


class Capped(msgspec.Struct, frozen=True):
    """An order of which candidates were left out."""

    order_id: str
    left_out: int
    cut: bool


class Decided(msgspec.Struct, frozen=True):
    """A batch's decisions as they are to be stored. ``by_result`` counts those that were decided, changed or not."""

    orders: int
    blocks: tuple[Block, ...]
    by_result: dict[str, int]
    capped: tuple[Capped, ...]

    @property
    def looked_at(self) -> int:
        return sum(self.by_result.values())

    @property
    def changed(self) -> int:
        return sum(block.rows for block in self.blocks)


def decided(batch: Batch, terms: Terms, at: Instant, traces: bool = True, bonds: Bonds | None = None) -> Decided:
    """What is to be stored of a batch, decided at ``at``; without ``traces`` the credits alone."""
    revisions: list[Revision] = []
    by_result: dict[str, int] = {}
    capped: list[Capped] = []
    for order, decision, journey in decide_batch(batch, terms, at, bonds, traces):
        by_result[decision.result] = by_result.get(decision.result, 0) + 1
        if journey.left_out or journey.cut:
            capped.append(Capped(order.order_id, journey.left_out, journey.cut))
        revision = revision_of(decision, order.occurred_at, batch.in_force.get(order.order_id))
        if revision is not None:
            revisions.append(revision)
    return Decided(batch.orders.count(b"\n"), tuple(blocks_of(revisions, at)), by_result, tuple(capped))


def decisions_of(batch: Batch, terms: Terms, traces: bool, bonds: Bonds | None = None) -> list[Decision]:
    """A batch's decisions, whatever is in force and whatever is locked."""
    return [case.decision for case in decide_batch(batch, terms, bonds=bonds, traces=traces)]
