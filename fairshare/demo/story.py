"""Writes the demo's events: clicks, leads, orders and refunds as the tracker would have recorded them. Pure.

Times are instants between the story's ``origin`` (midnight, ninety days before the anchor) and its ``end``. Chance comes
from one generator, and never looks at the calendar, so that another anchor shifts every time and changes nothing else.
"""

from collections import Counter
from collections.abc import Sequence
from random import Random

from core.catalogue import Membership
from core.clock import DAY, HOUR, MINUTE, SECOND, Instant
from core.events import Channel, CustomerStatus, Event, Lead, Line, Order, Refund, RefundLine, Source, Touch, TouchKind
from core.identity import KeyKind
from core.ids import event_id
from fairshare.demo.cast import AFFILIATES, DAYS, LINKS, TENANTS, DemoLink, demo_catalogue
from fairshare.demo.goods import basket, shipping_and_tax
from fairshare.demo.people import Person, Register
from fairshare.demo.visitors import Device

QUIET = 2 * HOUR
"""Nothing happens in the last hours before the anchor: what is booked then was received before."""
_FIRST_ORDER = {"north": ("N", 100_001), "pages": ("P", 20_001), "bazaar": ("Z", 30_001)}
_CURRENCY = {tenant.tenant_id: tenant.currency for tenant in TENANTS}
_WEBSITE = {affiliate.affiliate_id: affiliate.website for affiliate in AFFILIATES}


class Story:
    """What has happened so far. ``machines`` are the touches that no person made."""

    def __init__(self, rng: Random, anchor: Instant, secret: bytes) -> None:
        self.rng = rng
        self.origin = anchor - DAYS * DAY
        self.end = anchor - QUIET
        self.register = Register(rng, secret)
        self.events: list[Event] = []
        self.machines: set[str] = set()
        self._refunds: Counter[str] = Counter()
        self._order_numbers = {tenant_id: number for tenant_id, (_, number) in _FIRST_ORDER.items()}
        catalogue = demo_catalogue(anchor)
        self._members: dict[tuple[str, str, str], Membership] = {
            (member.tenant_id, member.programme_id, member.affiliate_id): member for member in catalogue.memberships
        }
        self._coupons = {(coupon.tenant_id, coupon.programme_id, coupon.code): coupon for coupon in catalogue.coupons}

    # --- touches -----------------------------------------------------------------------------------------------------

    def pick(self, tenant_id: str, programme_id: str, at: Instant, channel: Channel | None = None, not_of: str = "") -> DemoLink:
        """A link that earns at ``at``, popular ones more often."""
        links = [
            one
            for one in LINKS
            if (one.link.tenant_id, one.link.programme_id) == (tenant_id, programme_id)
            and not one.link.disabled
            and channel in (None, one.link.channel)
            and one.link.affiliate_id != not_of
            and self._members[tenant_id, programme_id, one.link.affiliate_id].active_at(at)
        ]
        return self.rng.choices(links, [one.weight for one in links])[0]

    def touch(
        self,
        chosen: DemoLink,
        device: Device,
        at: Instant,
        kind: TouchKind = "click",
        received_at: Instant | None = None,
        flags: tuple[str, ...] = (),
        is_machine: bool = False,
    ) -> str:
        """Somebody follows (or sees) a link; returns the touch id."""
        link, touch_id = chosen.link, event_id(at, self.rng.getrandbits(80))
        subs = self._subs(link.affiliate_id, at)
        self.events.append(
            Touch(
                event_id=touch_id,
                kind=kind,
                tenant_id=link.tenant_id,
                programme_id=link.programme_id,
                affiliate_id=link.affiliate_id,
                link_code=link.code,
                occurred_at=at,
                received_at=received_at or at,
                visitor_id=device.visitor_id,
                destination=link.destination.replace("{sub1}", subs[0] if subs else "") if kind == "click" else "",
                subs=subs,
                ip=device.ip,
                user_agent=device.user_agent,
                referrer="" if is_machine else self._referrer(chosen),
                consent="granted" if self.rng.random() < 0.7 else "unknown",
                channel=link.channel,
                flags=(*flags, "link_disabled") if link.disabled else flags,
            )
        )
        if is_machine or link.disabled:
            self.machines.add(touch_id)
        return touch_id

    def orphan(self, device: Device, at: Instant) -> None:
        """A click on a code that no link has, mistyped or long gone."""
        touch_id = event_id(at, self.rng.getrandbits(80))
        code = self.rng.choice(("ana-shoes", "summer-sale", "north", "old-promo"))
        self.events.append(
            Touch(touch_id, "click", "", "", "", code, at, at, device.visitor_id, ip=device.ip, user_agent=device.user_agent)
        )
        self.machines.add(touch_id)

    def wander(self, device: Device, tenant_id: str, programme_id: str, before: Instant, days: float = 12) -> None:
        """None to three earlier touches on the way, most of them clicks."""
        for _ in range(self.rng.choices((0, 1, 2, 3), (45, 30, 17, 8))[0]):
            at = self.between(before - round(days * DAY), before - MINUTE)
            kind: TouchKind = "impression" if self.rng.random() < 0.2 else "click"
            self.touch(self.pick(tenant_id, programme_id, at), device, at, kind)

    def coupon_valid(self, tenant_id: str, programme_id: str, code: str, at: Instant) -> bool:
        """True where the code belongs to the programme and is valid at ``at``."""
        coupon = self._coupons.get((tenant_id, programme_id, code))
        return coupon is not None and coupon.valid_at(at)

    def between(self, first: Instant, last: Instant) -> Instant:
        """Any instant in ``[first, last)``, and not before the story begins."""
        first = max(first, self.origin)
        return first + self.rng.randrange(max(1, last - first))

    # --- conversions -------------------------------------------------------------------------------------------------

    def lead(self, person: Person, device: Device, at: Instant, *kinds: KeyKind, click_id: str = "", name: str = "account") -> None:
        """A sign-up joins the device to the customer's identifiers."""
        person.known_by.update(kinds)
        self.events.append(
            Lead(
                event_id=event_id(at, self.rng.getrandbits(80)),
                tenant_id=person.tenant_id,
                lead_id=f"{name}-{self.rng.getrandbits(40):010x}",
                name=name,
                occurred_at=at,
                received_at=at,
                click_id=click_id,
                visitor_id=device.visitor_id,
                customer_keys=self.register.keys(person, *kinds),
            )
        )

    def order(
        self,
        tenant_id: str,
        programme_id: str,
        at: Instant,
        store_id: str,
        channel: Channel = "web",
        person: Person | None = None,
        kinds: tuple[KeyKind, ...] = (),
        device: Device | None = None,
        click_id: str = "",
        coupons: tuple[str, ...] = (),
        received_at: Instant | None = None,
        test: bool = False,
    ) -> Order:
        """Somebody buys. ``kinds`` of the person's identifiers, and the device's visitor id, travel with the order."""
        received_at = received_at or at + self.rng.randrange(200, 4 * SECOND)
        lines = basket(self.rng, tenant_id, programme_id, discount_bps=1000 if coupons else 0)
        net = sum(line.net_minor for line in lines)
        shipping, tax = shipping_and_tax(tenant_id, net, delivered=channel != "pos")
        source = self._source(channel)
        by_browser = device is not None and source == "pixel"
        order = Order(
            event_id=event_id(received_at, self.rng.getrandbits(80)),
            tenant_id=tenant_id,
            order_id=self._next_order_id(tenant_id),
            currency=_CURRENCY[tenant_id],
            occurred_at=at,
            received_at=received_at,
            lines=lines,
            channel=channel,
            store_id=store_id,
            click_id=click_id,
            visitor_id=device.visitor_id if device else "",
            customer_keys=self.register.keys(person, *kinds) if person else (),
            customer_status=self._status(person),
            coupons=coupons,
            shipping_minor=shipping,
            tax_minor=tax,
            total_minor=net + shipping + tax,
            test=test,
            source=source,
            ip=device.ip if device and by_browser else "",
            user_agent=device.user_agent if device and by_browser else "",
        )
        self.events.append(order)
        if person:
            person.orders, person.last_order = person.orders + 1, at
        return order

    def refund(
        self, order: Order, at: Instant, lines: Sequence[Line] = (), net_minor: int | None = None, part: int = 1, reason: str = "return"
    ) -> None:
        """Take back whole or half lines (``part`` 1 or 2), or an amount, or everything."""
        self._refunds[order.order_id] += 1
        received_at = at + self.rng.randrange(200, 4 * SECOND)
        taken = tuple(RefundLine(line.line_id, max(1, line.net_minor // part)) for line in lines)
        self.events.append(
            Refund(
                event_id=event_id(received_at, self.rng.getrandbits(80)),
                tenant_id=order.tenant_id,
                order_id=order.order_id,
                refund_id=f"R-{order.order_id}-{self._refunds[order.order_id]}",
                currency=order.currency,
                occurred_at=at,
                received_at=received_at,
                lines=taken,
                net_minor=net_minor,
                reason=reason,
            )
        )

    # --- small things ------------------------------------------------------------------------------------------------

    def _next_order_id(self, tenant_id: str) -> str:
        number = self._order_numbers[tenant_id]
        self._order_numbers[tenant_id] = number + 1
        return f"{_FIRST_ORDER[tenant_id][0]}-{number}"

    def _status(self, person: Person | None) -> CustomerStatus:
        """What the shop says: the truth, in three of four orders; nothing where it does not know the customer."""
        if person is None or self.rng.random() < 0.25:
            return ""
        return "returning" if person.orders else "new"

    def _source(self, channel: Channel) -> Source:
        if channel not in ("web", "email"):
            return "api"
        return self.rng.choices(("api", "pixel", "postback"), (85, 10, 5))[0]

    def _subs(self, affiliate_id: str, at: Instant) -> tuple[str, ...]:
        week = (at - self.origin) // (7 * DAY) + 1
        match affiliate_id:
            case "ben":
                return (f"m{self.rng.randrange(1, 4000):04d}",)
            case "dora" | "leo":
                return (f"issue-{week:02d}", self.rng.choice(("top", "middle", "end")))
            case "gustav":
                return (f"video-{self.rng.randrange(1, 25):02d}",)
            case "charlie":
                return (f"list-{self.rng.randrange(1, 9)}", self.rng.choice(("android", "ios")))
        return ()

    def _referrer(self, chosen: DemoLink) -> str:
        link = chosen.link
        if link.channel == "app":
            return ""
        if link.channel == "email":
            return "https://mail.google.com/" if self.rng.random() < 0.35 else ""
        if link.affiliate_id == "jonas":
            return "https://l.instagram.com/"
        return f"{_WEBSITE[link.affiliate_id]}{link.code.partition('-')[2]}"
