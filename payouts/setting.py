"""What an order is priced on besides its events: everything that could be edited later, as it was when the order first met it. Pure.

A setting is kept with its order (``accruals.setting``) and only ever grows: a partner, a touch, a version or a rate that is in it stays
as it is, whatever becomes of the catalogue; one that a later decision brings is added as it is then.
"""

import msgspec

from core.clock import Instant
from core.credit import TouchClass
from core.events import CustomerStatus
from payouts.exchange import Rate, exact


class Partner(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An affiliate as a member of a programme. ``approved_at`` 0: it never was.

    ``recruiters``: who recruited it, who recruited that one, and so on; an empty name is somebody who may not earn.
    """

    affiliate_id: str
    group: str = ""
    approved_at: Instant = 0
    recruiters: tuple[str, ...] = ()
    programme_id: str = ""


class Contact(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A credited touch. A coupon's has the order's time and no more than its class."""

    touch_id: str
    touch_class: TouchClass
    occurred_at: Instant
    country: str = ""
    device: str = ""
    channel: str = ""
    link_code: str = ""
    referrer: str = ""
    subs: tuple[str, ...] = ()


class Pricing(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Which version of a programme's rate card is in force for an order (``touch_id`` empty), or for one touch of it. 0: none."""

    programme_id: str
    touch_id: str
    version: int


class Setting(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Frozen facts. ``coupon_classes`` are those of the order's codes; ``country`` is the order's.

    ``order_number`` (1: the customer's first; 0: unknown) and ``first_ordered_at`` (0: unknown) are what the newest decision says:
    they follow it, and so do ``customer_status`` and ``segments``; only where it knows neither, those of the last one that did stay.
    ``rate`` leads from the order's currency to the tenant's, at the order's time, and
    ``settle_rates`` to others that rate cards settle in; None where it is the same currency, and where there is no rate.
    ``time_zone`` is the tenant's, in which the weekday and the customer's months are told; empty: as it is now.
    """

    partners: tuple[Partner, ...] = ()
    contacts: tuple[Contact, ...] = ()
    coupon_classes: tuple[str, ...] = ()
    store_segment: str = ""
    country: str = ""
    order_number: int = 0
    first_ordered_at: Instant = 0
    customer_status: CustomerStatus = ""
    segments: tuple[str, ...] = ()
    rate: Rate | None = None
    settle_rates: tuple[Rate, ...] = ()
    versions: tuple[Pricing, ...] = ()
    time_zone: str = ""

    def partner(self, programme_id: str, affiliate_id: str) -> Partner:
        """The affiliate in this programme; without group and recruiters where it is not known."""
        for one in self.partners:
            if one.affiliate_id == affiliate_id and one.programme_id == programme_id:
                return one
        return Partner(affiliate_id, programme_id=programme_id)

    def contact(self, touch_id: str) -> Contact | None:
        for one in self.contacts:
            if one.touch_id == touch_id:
                return one
        return None

    def rate_to(self, currency: str) -> Rate | None:
        """From the order's currency; None where none is known, and where it is the same currency."""
        known = self.settle_rates if self.rate is None else (self.rate, *self.settle_rates)
        return next((one for one in known if one.quote == currency), None)

    def version(self, programme_id: str, touch_id: str = "") -> int | None:
        """The version of the rate card that was in force, 0 for none; None where that was never asked."""
        for one in self.versions:
            if one.programme_id == programme_id and one.touch_id == touch_id:
                return one.version
        return None


def inverse(rate: Rate) -> Rate:
    """The same rate in the other direction, exactly."""
    value = exact(rate.value)
    return Rate(rate.quote, rate.base, f"{value.denominator}/{value.numerator}", rate.source, rate.on)
