"""How one order of the demo comes about: one small function for each way that a touch and an order can meet, or miss.

Every scene gets the story, the tenant, its programme and the order's instant, and tells what led to it. Pure.
"""

from collections.abc import Callable

from core.clock import DAY, HOUR, MINUTE, Instant
from core.events import Channel
from core.ids import event_id
from fairshare.demo.cast import BAZAAR, COUPONS_OF, EXPIRED, LINKS, PAGES
from fairshare.demo.people import Person
from fairshare.demo.story import Story
from fairshare.demo.visitors import Device, device

Scene = Callable[[Story, str, str, Instant], object]

REGULARS = 0.3
"""The share of orders that somebody places who ordered before."""
_TILLS = {"north": ("berlin", "hamburg"), PAGES: ("oxford",)}


def customer(story: Story, tenant_id: str, at: Instant) -> Person:
    """Somebody new, or a regular whose last order is long enough ago that even a till has reported it."""
    regular = story.register.regular(tenant_id, at - 2 * DAY) if story.rng.random() < REGULARS else None
    return regular or story.register.add(tenant_id, at - 20 * DAY)


def stranger(story: Story, tenant_id: str, at: Instant) -> Person:
    """Somebody new, of whom nothing is on record."""
    return story.register.add(tenant_id, at - 20 * DAY)


def shop(tenant_id: str, programme_id: str) -> str:
    """The store that takes a programme's orders on the web."""
    return programme_id if tenant_id == BAZAAR else "web"


def channel_of(tenant_id: str) -> Channel:
    """Where its web orders are placed: a marketplace says so."""
    return "marketplace" if tenant_id == BAZAAR else "web"


def lag(story: Story, longest_days: float = 6) -> int:
    """From a click to its order, in milliseconds: minutes most often, days now and then."""
    return min(round(story.rng.expovariate(1 / (1.3 * DAY))) + MINUTE, round(longest_days * DAY))


def last_click(story: Story, tenant_id: str, programme_id: str, buyer: Device, at: Instant) -> str:
    """A way of some touches, and the click that ends it before ``at``; returns its id."""
    clicked_at = max(at - lag(story), story.origin)
    story.wander(buyer, tenant_id, programme_id, clicked_at)
    return story.touch(story.pick(tenant_id, programme_id, clicked_at), buyer, clicked_at)


# --- scenes that end in credit ---------------------------------------------------------------------------------------


def by_click_id(story: Story, tenant_id: str, programme_id: str, at: Instant, test: bool = False) -> None:
    person = customer(story, tenant_id, at)
    click_id = last_click(story, tenant_id, programme_id, person.devices[0], at)
    story.order(
        tenant_id,
        programme_id,
        at,
        shop(tenant_id, programme_id),
        channel_of(tenant_id),
        person,
        ("customer_id", "email") if story.rng.random() < 0.8 else (),
        device=person.devices[0] if story.rng.random() < 0.5 else None,
        click_id=click_id,
        test=test,
    )


def test_order(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    by_click_id(story, tenant_id, programme_id, at, test=True)


def by_visitor(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    person = customer(story, tenant_id, at)
    last_click(story, tenant_id, programme_id, person.devices[0], at)
    story.order(tenant_id, programme_id, at, shop(tenant_id, programme_id), channel_of(tenant_id), person, ("email",), person.devices[0])


def in_the_app(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    person = customer(story, tenant_id, at)
    clicked_at = max(at - lag(story), story.origin)
    click_id = story.touch(story.pick(tenant_id, programme_id, clicked_at, channel="app"), person.devices[0], clicked_at)
    story.order(tenant_id, programme_id, at, "app", "app", person, ("customer_id",), click_id=click_id)


def across_devices(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    """A click on the phone, a sign-up there, and the order at home with the same e-mail address."""
    person = customer(story, tenant_id, at)
    last_click(story, tenant_id, programme_id, person.devices[0], at - 2 * HOUR)
    if "email" not in person.known_by:
        story.lead(person, person.devices[0], story.between(at - 2 * HOUR, at - HOUR), "email")
    desktop = device(story.rng, tenant_id, at)
    person.devices.append(desktop)
    story.order(tenant_id, programme_id, at, shop(tenant_id, programme_id), channel_of(tenant_id), person, ("email",), desktop)


def in_store(story: Story, tenant_id: str, programme_id: str, at: Instant, returned_at_once: bool = False) -> None:
    """Bought at a till with the loyalty card; the till reports at night."""
    person = customer(story, tenant_id, at)
    click_id = last_click(story, tenant_id, programme_id, person.devices[0], at - HOUR)
    if "loyalty_id" not in person.known_by:
        story.lead(person, person.devices[0], story.between(at - HOUR, at), "loyalty_id", "email", click_id=click_id, name="loyalty")
    night = (at - story.origin) // DAY * DAY + story.origin + 25 * HOUR + story.rng.randrange(HOUR)
    till = story.rng.choice(_TILLS[tenant_id])
    order = story.order(tenant_id, programme_id, at, till, "pos", person, ("loyalty_id",), received_at=night)
    if returned_at_once:
        story.refund(order, at + 20 * MINUTE, reason="returned before the till reported the sale")


def in_store_and_back(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    in_store(story, tenant_id, programme_id, at, returned_at_once=True)


def coupon_in_store(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    """Nobody is known; the code alone says who sent the customer."""
    code = story.rng.choice(_coupons(story, tenant_id, programme_id, at))
    night = (at - story.origin) // DAY * DAY + story.origin + 25 * HOUR + story.rng.randrange(HOUR)
    story.order(tenant_id, programme_id, at, story.rng.choice(_TILLS[tenant_id]), "pos", coupons=(code,), received_at=night)


def coupon_against_click(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    """One affiliate's click, another one's code."""
    person = customer(story, tenant_id, at)
    click_id = last_click(story, tenant_id, programme_id, person.devices[0], at)
    code = story.rng.choice(_coupons(story, tenant_id, programme_id, at))
    store = shop(tenant_id, programme_id)
    story.order(tenant_id, programme_id, at, store, channel_of(tenant_id), person, ("email",), click_id=click_id, coupons=(code,))


def by_phone(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    """A call-back was asked for on the web; the order was taken on the line."""
    person = customer(story, tenant_id, at)
    click_id = last_click(story, tenant_id, programme_id, person.devices[0], at - HOUR)
    if "phone" not in person.known_by:
        story.lead(person, person.devices[0], story.between(at - HOUR, at), "phone", click_id=click_id, name="call-back")
    story.order(tenant_id, programme_id, at, "phone", "call", person, ("phone",))


def by_email(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    """From a newsletter, straight to the order."""
    person = customer(story, tenant_id, at)
    clicked_at = max(at - lag(story, 2), story.origin)
    click_id = story.touch(story.pick(tenant_id, programme_id, clicked_at, channel="email"), person.devices[0], clicked_at)
    story.order(tenant_id, programme_id, at, "web", "email", person, ("email",), click_id=click_id)


def seen_only(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    """An advertisement was seen, and not clicked."""
    person = stranger(story, tenant_id, at)
    seen_at = story.between(at - 20 * HOUR, at - 10 * MINUTE)
    story.touch(story.pick(tenant_id, programme_id, seen_at), person.devices[0], seen_at, "impression")
    story.order(tenant_id, programme_id, at, shop(tenant_id, programme_id), "web", person, ("email",), person.devices[0])


def tie(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    """Two affiliates' links opened in the same millisecond; the higher touch id decides."""
    person = stranger(story, tenant_id, at)
    clicked_at = max(at - lag(story, 3), story.origin)
    first = story.pick(tenant_id, programme_id, clicked_at)
    second = story.pick(tenant_id, programme_id, clicked_at, not_of=first.link.affiliate_id)
    for chosen in (first, second):
        story.touch(chosen, person.devices[0], clicked_at)
    story.order(tenant_id, programme_id, at, shop(tenant_id, programme_id), channel_of(tenant_id), person, ("email",), person.devices[0])


def late_click(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    """A tracker was cut off: the click arrives long after the order that it led to."""
    person = stranger(story, tenant_id, at)
    clicked_at = max(at - lag(story, 4), story.origin)
    received_at = at + story.rng.randrange(16 * HOUR, 30 * HOUR)
    click_id = story.touch(story.pick(tenant_id, programme_id, clicked_at), person.devices[0], clicked_at, received_at=received_at)
    store = shop(tenant_id, programme_id)
    story.order(tenant_id, programme_id, at, store, channel_of(tenant_id), person, ("email",), click_id=click_id)


# --- scenes that end in nothing, or in somebody else's credit --------------------------------------------------------


def too_old(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    """The only click is older than any window."""
    person = stranger(story, tenant_id, at)
    clicked_at = story.between(at - 58 * DAY, at - 47 * DAY)
    click_id = story.touch(story.pick(tenant_id, programme_id, clicked_at), person.devices[0], clicked_at)
    store = shop(tenant_id, programme_id)
    story.order(tenant_id, programme_id, at, store, channel_of(tenant_id), person, ("email",), person.devices[0], click_id)


def before_click(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    """A cashback click after the purchase; the order's time gives it away."""
    person = stranger(story, tenant_id, at)
    clicked_at = at + story.rng.randrange(MINUTE, 9 * MINUTE)
    ben = next(one for one in LINKS if one.link.code == "ben-north")
    click_id = story.touch(ben, person.devices[0], clicked_at)
    story.order(tenant_id, programme_id, at, "web", person=person, kinds=("email",), click_id=click_id, received_at=clicked_at + MINUTE)


def unknown_click(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    """A click id that no tracker ever gave out: of another system, or cut off in a spreadsheet."""
    person = stranger(story, tenant_id, at)
    minted = event_id(at - 3 * DAY, story.rng.getrandbits(80))
    click_id = minted if story.rng.random() < 0.5 else f"cj_{story.rng.getrandbits(40):010x}"
    story.order(tenant_id, programme_id, at, shop(tenant_id, programme_id), channel_of(tenant_id), person, ("email",), click_id=click_id)


def nobody_known(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    story.order(tenant_id, programme_id, at, shop(tenant_id, programme_id), channel_of(tenant_id))


def nobody_sent(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    """A customer who came alone."""
    person = stranger(story, tenant_id, at)
    store = shop(tenant_id, programme_id)
    story.order(tenant_id, programme_id, at, store, channel_of(tenant_id), person, ("customer_id", "email"), person.devices[0])


def suspended(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    """Jonas's links still work, but earn nothing any more; in half of the orders somebody else had sent the customer before."""
    person = stranger(story, tenant_id, at)
    clicked_at = at - lag(story, 2)
    if story.rng.random() < 0.5:
        earlier = clicked_at - story.rng.randrange(HOUR, 3 * DAY)
        story.touch(story.pick(tenant_id, programme_id, earlier), person.devices[0], earlier)
    jonas = next(one for one in LINKS if one.link.code == "jonas-climb")
    story.touch(jonas, person.devices[0], clicked_at)
    story.order(tenant_id, programme_id, at, "web", person=person, kinds=("email",), device=person.devices[0])


def prefetched(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    """The browser fetched the link ahead of time, and nobody followed it."""
    person = stranger(story, tenant_id, at)
    fetched_at = at - lag(story, 3)
    story.touch(story.pick(tenant_id, programme_id, fetched_at), person.devices[0], fetched_at, flags=("prefetch",), is_machine=True)
    story.order(tenant_id, programme_id, at, "web", person=person, kinds=("email",), device=person.devices[0])


def expired_coupon(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    """A code that still goes round after its end; in half of the orders a click earns instead."""
    person = stranger(story, tenant_id, at)
    click_id = last_click(story, tenant_id, programme_id, person.devices[0], at) if story.rng.random() < 0.5 else ""
    code = EXPIRED[tenant_id]
    story.order(tenant_id, programme_id, at, "web", person=person, kinds=("email",), click_id=click_id, coupons=(code,))


def other_seller(story: Story, tenant_id: str, programme_id: str, at: Instant) -> None:
    """A click to one seller of the marketplace, and an order from the other."""
    person = stranger(story, tenant_id, at)
    clicked_at = at - lag(story, 3)
    other = "kiln" if programme_id == "linen" else "linen"
    story.touch(story.pick(tenant_id, other, clicked_at), person.devices[0], clicked_at)
    store = shop(tenant_id, programme_id)
    story.order(tenant_id, programme_id, at, store, "marketplace", person, ("email",), person.devices[0])


def _coupons(story: Story, tenant_id: str, programme_id: str, at: Instant) -> list[str]:
    """Codes of this programme that are valid at ``at``."""
    return [code for code in COUPONS_OF[tenant_id] if story.coupon_valid(tenant_id, programme_id, code, at)]
