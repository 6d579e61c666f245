"""A marketplace's basket: one order of lines of several merchants becomes one order for each, and so does what is taken back of it.

Pure. A marketplace is the member of a coalition that may pass on orders for the others (:class:`core.catalogue.Coalition`). Every
merchant gets its own lines alone, under the order id ``MARKETPLACE/ORDER``; its customer's identifiers are hashed under its own key.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from core.clock import Instant
from core.errors import BadInput
from core.events import Order, Refund, RefundLine
from core.money import allocate
from tracker.conversion import EXTERNAL_ID_CHARS, Conversion, Refused, ReportedEvent, seal
from tracker.customer import keys_of
from tracker.links import LinkTable, TenantEntry

Mint = Callable[[Instant], str]


def is_marketplace(table: LinkTable, tenant_id: str) -> bool:
    """True where a tenant may pass on orders for others, at whatever time."""
    return any(coalition.marketplace_id == tenant_id for coalition in table.coalition_records)


def part_id(marketplace_id: str, order_id: str) -> str:
    """The order id of each part of a basket, in its merchant's tenant."""
    return f"{marketplace_id}/{order_id}"


def split_order(whole: Conversion, table: LinkTable, mint: Mint) -> Conversion:
    """The order with its ``parts``: the marketplace's own first, if there is one, then each seller's, by its first line.

    Shipping and tax are allocated to the lines by their nets before the lines are divided (:func:`core.money.allocate`), as the
    order's discount was: the parts' totals sum to the basket's, to the minor unit.

    Raises:
        Refused: naming each line whose seller was no member at the order's time.
    """
    order, sellers = whole.event, whole.sellers
    assert isinstance(order, Order), "an order is divided here"
    assert len(sellers) == len(order.lines), "every line is somebody's"
    faults = [*_id_faults(order), *_seller_faults(sellers, _sellers_at(table, order.tenant_id, order.occurred_at), order.tenant_id)]
    if faults:
        raise Refused(faults)
    shipping, tax = (_by_net(amount, order) for amount in (order.shipping_minor, order.tax_minor))
    parts = []
    for seller in sorted(set(sellers), key=lambda seller: (seller != "", sellers.index(seller))):
        mine = [index for index, of in enumerate(sellers) if of == seller]
        part = msgspec.structs.replace(
            order,
            lines=tuple(order.lines[index] for index in mine),
            shipping_minor=sum(shipping[index] for index in mine),
            tax_minor=sum(tax[index] for index in mine),
            total_minor=sum(order.lines[index].net_minor + shipping[index] + tax[index] for index in mine),
            basket_id=order.order_id,
        )
        parts.append(_sealed(_sold_by(part, table.tenants[seller], whole, mint) if seller else part))
    return msgspec.structs.replace(whole, parts=tuple(parts))


def split_refund(whole: Conversion, orders: Sequence[ReportedEvent], table: LinkTable, mint: Mint) -> Conversion:
    """The refund with its ``parts``, or as it is where it is the marketplace's own alone.

    Args:
        orders: what was recorded of the order it is of; empty where that is not known.

    Raises:
        Refused: naming lines that are not the order's, or sellers that it was not divided among; or, of an order that is not
            known here, that the lines must name theirs.
    """
    refund = whole.event
    assert isinstance(refund, Refund), "a refund is divided here"
    known = [order for order in orders if isinstance(order, Order)]
    if not known:
        owners = _owners_as_said(refund, whole.sellers, table)
        return _parted(whole, _refunds_by_line(refund, owners, mint)) if any(owners) else whole
    if not any(order.marketplace_id for order in known):
        _refuse_foreign(whole.sellers, {refund.tenant_id})
        return whole
    if refund.lines:
        return _parted(whole, _refunds_by_line(refund, _owners_of_lines(refund, whole.sellers, known), mint))
    return _parted(whole, _refunds_over(refund, known, mint))


# --- orders ----------------------------------------------------------------------------------------------------------


def _sold_by(part: Order, seller: TenantEntry, whole: Conversion, mint: Mint) -> Order:
    marketplace_id = part.tenant_id
    return msgspec.structs.replace(
        part,
        event_id=mint(part.received_at),
        tenant_id=seller.tenant_id,
        order_id=part_id(marketplace_id, part.order_id),
        channel="marketplace",
        store_id=marketplace_id,
        customer_keys=keys_of(whole.identifiers, seller.key, seller.shares, part.occurred_at, part.consent),
        marketplace_id=marketplace_id,
    )


def _by_net(amount: int, order: Order) -> list[int]:
    nets = [line.net_minor for line in order.lines]
    return allocate(amount, nets if any(nets) else [1] * len(nets))


def _sellers_at(table: LinkTable, marketplace_id: str, at: Instant | None) -> set[str]:
    """Whom a marketplace may pass on orders for at ``at``; None: at whatever time."""
    return {
        member.tenant_id
        for coalition in table.coalition_records
        if coalition.marketplace_id == marketplace_id
        for member in coalition.members
        if member.tenant_id in table.tenants
        and (
            at is None or (member.active_at(at) and any(one.tenant_id == marketplace_id and one.active_at(at) for one in coalition.members))
        )
    }


def _seller_faults(sellers: Iterable[str], known: set[str], marketplace_id: str) -> Iterator[BadInput]:
    for index, seller in enumerate(sellers):
        if seller and seller not in known:
            field = f"lines[{index}].seller"
            why = f"is no merchant that {marketplace_id} may pass on orders for at that time"
            yield BadInput("unknown_seller", f"{field} {seller!r:.70} {why}", field)


def _id_faults(order: Order) -> Iterator[BadInput]:
    if len(part_id(order.tenant_id, order.order_id)) > EXTERNAL_ID_CHARS:
        most = EXTERNAL_ID_CHARS - len(order.tenant_id) - 1
        yield BadInput("too_large", f"order_id of an order that is divided may have {most} characters", "order_id")


def _sealed(part: Order | Refund) -> Conversion:
    consent = part.consent if isinstance(part, Order) else "unknown"
    return seal(part, part.occurred_at, consent)


# --- refunds ---------------------------------------------------------------------------------------------------------


def _owners_as_said(refund: Refund, sellers: tuple[str, ...], table: LinkTable) -> list[str]:
    """The seller of each line of a refund whose order is not known, empty for the marketplace's own."""
    if not refund.lines or not all(sellers) or not sellers:
        raise Refused([_unknown_order(refund)])
    faults = list(_seller_faults(sellers, {refund.tenant_id, *_sellers_at(table, refund.tenant_id, None)}, refund.tenant_id))
    if faults:
        raise Refused(faults)
    return ["" if seller == refund.tenant_id else seller for seller in sellers]


def _owners_of_lines(refund: Refund, sellers: tuple[str, ...], orders: Sequence[Order]) -> list[str]:
    """The seller of each line of a refund, as its order was divided, empty for the marketplace's own."""
    owners = {line.line_id: order.tenant_id for order in orders for line in order.lines}
    faults = []
    for index, line in enumerate(refund.lines):
        field, owner, said = f"lines[{index}]", owners.get(line.line_id), sellers[index] if sellers else ""
        if owner is None:
            faults.append(
                BadInput(
                    "unknown_line", f"{field}.line_id {line.line_id!r:.70} is no line of order {refund.order_id!r:.70}", f"{field}.line_id"
                )
            )
        elif said not in ("", owner):
            faults.append(BadInput("unknown_seller", f"{field}.seller {said!r:.70} is not who sold that line", f"{field}.seller"))
    if faults:
        raise Refused(faults)
    return ["" if (owner := owners[line.line_id]) == refund.tenant_id else owner for line in refund.lines]


def _refuse_foreign(sellers: tuple[str, ...], known: set[str]) -> None:
    faults = [
        BadInput("unknown_seller", f"lines[{index}].seller {seller!r:.70} sold nothing of this order", f"lines[{index}].seller")
        for index, seller in enumerate(sellers)
        if seller and seller not in known
    ]
    if faults:
        raise Refused(faults)


def _refunds_by_line(refund: Refund, owners: list[str], mint: Mint) -> Iterator[Refund]:
    for owner in dict.fromkeys(owners):
        lines = tuple(line for line, of in zip(refund.lines, owners, strict=True) if of == owner)
        yield _refund_of(refund, owner, mint, lines=lines)


def _refunds_over(refund: Refund, orders: Sequence[Order], mint: Mint) -> Iterator[Refund]:
    """A refund over the whole order: of everything that is left, or of an amount, allocated to the parts by their nets."""
    shares: Sequence[int | None] = [None] * len(orders)
    if refund.net_minor is not None:
        nets = [sum(line.net_minor for line in order.lines) for order in orders]
        shares = allocate(refund.net_minor, nets if any(nets) else [1] * len(nets))
    for order, share in zip(orders, shares, strict=True):
        if share != 0:
            yield _refund_of(refund, "" if order.tenant_id == refund.tenant_id else order.tenant_id, mint, net_minor=share)


def _refund_of(refund: Refund, seller: str, mint: Mint, lines: tuple[RefundLine, ...] = (), net_minor: int | None = None) -> Refund:
    part = msgspec.structs.replace(refund, lines=lines, net_minor=net_minor)
    if not seller:
        return part
    order_id = part_id(refund.tenant_id, refund.order_id)
    return msgspec.structs.replace(part, event_id=mint(refund.received_at), tenant_id=seller, order_id=order_id)


def _parted(whole: Conversion, refunds: Iterable[Refund]) -> Conversion:
    return msgspec.structs.replace(whole, parts=tuple(_sealed(refund) for refund in refunds))


def _unknown_order(refund: Refund) -> BadInput:
    what = f"order {refund.order_id!r:.70} was not received yet, so nobody knows whose its lines are"
    return BadInput(
        "unknown_order", f"{what}: name the seller of each line ({refund.tenant_id} for your own), or send it after the order", "order_id"
    )
