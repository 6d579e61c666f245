"""The demo world as a value: the same seed and anchor give the same bytes; another anchor shifts every time. Pure."""

from itertools import chain
from random import Random

import msgspec

from core.catalogue import Catalogue
from core.clock import DAY, HOUR, MINUTE, Instant, start_of_day
from core.events import Event, Order, Touch
from fairshare.demo import scenes
from fairshare.demo.cast import BAZAAR, DAYS, JONAS_SUSPENDED, LEO_JOINED, LINKS, NORTH, PAGES, DemoLink, demo_catalogue
from fairshare.demo.scenes import Scene
from fairshare.demo.story import Story
from fairshare.demo.visitors import Device, device, machine, moment

SEED = 20_261_121
CLICKS = 20_000
MACHINE_CLICKS = 2_600
IMPRESSIONS = 1_400
SIGN_UPS = 160
ORPHANS = 60
REFUNDED = 0.1
"""The share of orders of which something comes back."""

FIRST_BOOKING, SECOND_BOOKING = 66.25, 83.25
"""Days after the beginning on which the demo's finance people booked and paid; the third time is the end."""
_LATE = DAYS - 1.3
"""Nothing that is reported a day later may begin after this day."""

Cast = tuple[Scene, int, float, float]
"""A scene, how often it is played, and in which days (first inclusive, last exclusive)."""
PLAN: dict[tuple[str, tuple[str, ...]], tuple[Cast, ...]] = {
    (NORTH, ("main",)): (
        (scenes.by_click_id, 210, 1, DAYS), (scenes.in_the_app, 60, 1, DAYS), (scenes.by_visitor, 70, 1, DAYS),
        (scenes.across_devices, 60, 1, DAYS), (scenes.in_store, 68, 1, _LATE), (scenes.in_store_and_back, 2, 30, _LATE),
        (scenes.coupon_in_store, 40, 1, _LATE), (scenes.coupon_against_click, 30, 1, DAYS), (scenes.by_phone, 30, 1, DAYS),
        (scenes.by_email, 30, 1, DAYS), (scenes.seen_only, 10, 1, DAYS), (scenes.too_old, 20, 60, DAYS), (scenes.late_click, 6, 1, 45),
        (scenes.late_click, 4, FIRST_BOOKING - 0.6, FIRST_BOOKING), (scenes.late_click, 2, SECOND_BOOKING - 0.6, SECOND_BOOKING),
        (scenes.before_click, 4, 1, DAYS), (scenes.tie, 4, 1, DAYS), (scenes.unknown_click, 8, 1, DAYS), (scenes.test_order, 6, 1, DAYS),
        (scenes.nobody_known, 20, 1, DAYS), (scenes.nobody_sent, 16, 1, DAYS), (scenes.suspended, 8, DAYS - JONAS_SUSPENDED + 5, DAYS),
        (scenes.prefetched, 6, 5, DAYS), (scenes.expired_coupon, 6, 56, DAYS),
    ),
    (PAGES, ("books",)): (
        (scenes.by_click_id, 110, 1, DAYS), (scenes.by_visitor, 30, 1, DAYS), (scenes.across_devices, 20, 1, DAYS),
        (scenes.in_store, 20, 1, _LATE), (scenes.coupon_against_click, 14, 1, DAYS), (scenes.by_phone, 8, 1, DAYS),
        (scenes.by_email, 24, 1, DAYS), (scenes.too_old, 8, 60, DAYS), (scenes.late_click, 4, 1, _LATE - 1),
        (scenes.unknown_click, 3, 1, DAYS), (scenes.test_order, 3, 1, DAYS), (scenes.nobody_known, 6, 1, DAYS),
        (scenes.nobody_sent, 6, 1, DAYS), (scenes.expired_coupon, 4, 56, DAYS),
    ),
    (BAZAAR, ("linen", "kiln")): (
        (scenes.by_click_id, 120, 1, DAYS), (scenes.by_visitor, 30, 1, DAYS), (scenes.across_devices, 16, 1, DAYS),
        (scenes.coupon_against_click, 16, 1, DAYS), (scenes.other_seller, 12, 5, DAYS), (scenes.too_old, 8, 60, DAYS),
        (scenes.late_click, 4, 1, _LATE - 1), (scenes.unknown_click, 2, 1, DAYS), (scenes.test_order, 2, 1, DAYS),
        (scenes.nobody_known, 4, 1, DAYS), (scenes.nobody_sent, 4, 1, DAYS), (scenes.tie, 2, 1, DAYS),
    ),
}  # fmt: skip


class World(msgspec.Struct, frozen=True):
    """Everything that is loaded: the catalogue, and the events in the order of their arrival.

    ``machine_touches`` are the touches that no person made or that could earn nobody anything (disabled and unknown
    links); the drain has to find that out by itself.
    """

    seed: int
    anchor: Instant
    catalogue: Catalogue
    events: tuple[Event, ...]
    machine_touches: frozenset[str]


def build_world(anchor: Instant, secret: bytes, seed: int = SEED) -> World:
    """The demo world that ends at ``anchor`` (midnight UTC). ``secret`` keys the hashes of customers' identifiers."""
    assert anchor == start_of_day(anchor), "the anchor is a midnight"
    story = Story(Random(seed), anchor, secret)
    _known_customer(story)
    for at, scene, tenant_id, programme_id in _orders(story):
        scene(story, tenant_id, programme_id, at)
    _refund_some(story)
    _impressions(story)
    _noise(story)
    ordered = tuple(sorted(story.events, key=lambda event: (event.received_at, event.event_id)))
    assert all(story.origin <= event.occurred_at <= event.received_at < story.end for event in ordered), "the story keeps its time"
    return World(seed, anchor, demo_catalogue(anchor), ordered, frozenset(story.machines))


def _orders(story: Story) -> list[tuple[Instant, Scene, str, str]]:
    """Every order of the plan, oldest first, so that a regular is one who ordered before."""
    drawn = []
    for (tenant_id, programmes), casts in PLAN.items():
        for scene, count, first_day, last_day in casts:
            for number in range(count):
                at = story.origin + moment(story.rng, first_day, min(last_day, DAYS - 0.1))
                drawn.append((at, scene, tenant_id, programmes[number % len(programmes)]))
    return sorted(drawn, key=lambda one: one[0])


def _known_customer(story: Story) -> None:
    """North's first customer, who buys nothing in the story: the order that a newcomer posts will name their loyalty card.

    Anna sent them first and Ben last, so that the order's explanation has something to weigh.
    """
    person = story.register.add(NORTH, story.origin)
    links = {one.link.code: one for one in LINKS}
    click_id = story.touch(links["anna-shoes"], person.devices[0], story.end - 4 * DAY)
    story.lead(person, person.devices[0], story.end - 4 * DAY + HOUR, "loyalty_id", "email", click_id=click_id, name="loyalty")
    story.touch(links["ben-north"], person.devices[0], story.end - DAY)


def _refund_some(story: Story) -> None:
    """A tenth of the orders come back: by line, by amount or whole, within the hold or long after it."""
    orders = [event for event in story.events if isinstance(event, Order) and not event.test]
    for order in orders:
        if story.rng.random() >= REFUNDED:
            continue
        days = story.rng.uniform(2, 10) if story.rng.random() < 0.6 else story.rng.uniform(18, 44)
        at = order.received_at + round(days * DAY)
        if at < story.end - HOUR:
            _refund(story, order, at)


def _refund(story: Story, order: Order, at: Instant) -> None:
    way, net = story.rng.random(), sum(line.net_minor for line in order.lines)
    priced = [line for line in order.lines if line.net_minor > 0]
    if way < 0.35 or not priced:
        story.refund(order, at)
    elif way < 0.8:
        story.refund(order, at, lines=[story.rng.choice(priced)], part=1 if story.rng.random() < 0.7 else 2)
    else:
        story.refund(order, at, net_minor=max(1, net * story.rng.randrange(10, 60) // 100), reason="goodwill")
    later = at + 4 * DAY
    if 0.35 <= way < 0.43 and later < story.end - HOUR:
        story.refund(order, later, reason="the rest")


def _impressions(story: Story) -> None:
    for _ in range(IMPRESSIONS):
        at = story.origin + moment(story.rng, 0, DAYS - 0.1)
        chosen = _any_link(story, at)
        story.touch(chosen, device(story.rng, chosen.link.tenant_id, at), at, "impression")


def _noise(story: Story) -> None:
    """Machines, mistyped links, and people who look and do not buy: up to exactly ``CLICKS`` clicks."""
    clicks = sum(isinstance(event, Touch) and event.kind == "click" for event in story.events)
    for number in range(MACHINE_CLICKS):
        _machine_click(story, number)
    for _ in range(ORPHANS):
        at = story.origin + moment(story.rng, 0, DAYS - 0.1)
        story.orphan(device(story.rng, NORTH, at), at)
    lookers: list[tuple[str, Device, Instant]] = []
    left = CLICKS - clicks - MACHINE_CLICKS - ORPHANS
    assert left > 0, "the orders' own clicks leave room for others"
    while left:
        left -= _visit(story, left, lookers)
    for tenant_id, browser, came_at in story.rng.sample(lookers, SIGN_UPS):
        _sign_up(story, tenant_id, browser, came_at)


def _machine_click(story: Story, number: int) -> None:
    """Of twenty: twelve by declared programs, five fetched ahead, three asked with HEAD."""
    at = story.origin + moment(story.rng, 0, DAYS - 0.1)
    chosen = _any_link(story, at)
    kind = number % 20
    if kind < 12:
        story.touch(chosen, machine(story.rng), at, is_machine=True)
    else:
        flags = ("prefetch",) if kind < 17 else ("head",)
        story.touch(chosen, device(story.rng, chosen.link.tenant_id, at), at, flags=flags, is_machine=True)


def _visit(story: Story, most: int, lookers: list[tuple[str, Device, Instant]]) -> int:
    """One to four clicks of one browser, within two days; returns how many."""
    at = story.origin + moment(story.rng, 0, DAYS - 0.1)
    chosen = _any_link(story, at)
    browser = device(story.rng, chosen.link.tenant_id, at)
    count = min(most, story.rng.choices((1, 2, 3, 4), (66, 22, 8, 4))[0])
    for number in range(count):
        clicked_at = min(at + number * story.rng.randrange(MINUTE, 16 * HOUR), story.end - 1)
        story.touch(chosen if story.rng.random() < 0.7 else _any_link(story, clicked_at), browser, clicked_at)
    lookers.append((chosen.link.tenant_id, browser, at))
    return count


def _sign_up(story: Story, tenant_id: str, browser: Device, came_at: Instant) -> None:
    """Somebody who came by a link leaves an address, and has not bought anything yet."""
    at = min(came_at + story.rng.randrange(MINUTE, HOUR), story.end - 1)
    story.lead(story.register.add(tenant_id, at), browser, at, "email", name="newsletter")


def _any_link(story: Story, at: Instant) -> DemoLink:
    """Any link that existed at ``at``, disabled and suspended ones too, popular ones more often."""
    links = LINKS if at >= story.origin + (DAYS - LEO_JOINED) * DAY else _BEFORE_LEO
    return story.rng.choices(links, [one.weight for one in links])[0]


_BEFORE_LEO = tuple(one for one in LINKS if one.link.affiliate_id != "leo")


assert sum(count for casts in PLAN.values() for _, count, _, _ in casts) == 1_200, "the plan plays 1,200 orders"
assert len(set(chain.from_iterable(programmes for _, programmes in PLAN))) == 4, "every programme has orders"
