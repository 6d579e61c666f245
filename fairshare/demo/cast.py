"""The demo's catalogue: merchants, affiliates, links, rules and people. Pure; every time is an offset from the anchor.

The anchor is midnight UTC of "today". Names, websites and phone numbers are invented; hosts are the ones that the
Internet reserves for examples (RFC 2606), so that a click on a demo link leads to a page that exists. The IBANs are the
examples of the SWIFT registry: their check digits fit, and no money goes there.
"""

import hashlib
from itertools import chain

import msgspec

from core.catalogue import (
    Affiliate,
    ApiKey,
    Catalogue,
    Coupon,
    Link,
    Membership,
    Policy,
    Programme,
    Store,
    Tenant,
    TouchWindow,
    User,
)
from core.clock import DAY, HOUR, Instant
from core.events import Channel
from core.scope import Role
from fairshare.demo.cards import rate_cards

DAYS = 90
PASSWORD = "fairshare-demo"
"""Of everyone in the demo world, and only there."""
PASSWORD_HASH = "$argon2id$v=19$m=19456,t=2,p=1$ZmFpcnNoYXJlLWRlbW8tMQ$yclsYRROIiQDrfmFeiJb2XF5sI8ij/6U3Vr1ykdbbFg"

NORTH, PAGES, BAZAAR = "north", "pages", "bazaar"
TENANTS = (
    Tenant(NORTH, "North Outdoor", "EUR", "Europe/Berlin"),
    Tenant(PAGES, "Pages & Daughters", "GBP", "Europe/London"),
    Tenant(BAZAAR, "Bazaar Europe", "EUR", "Europe/Vienna"),
)
SITES = {NORTH: "www.example.com", PAGES: "www.example.org", BAZAAR: "www.example.net"}
STORES = (
    Store(NORTH, "web", "Web shop", "web", "online", SITES[NORTH]),
    Store(NORTH, "app", "App", "app", "online"),
    Store(NORTH, "berlin", "Berlin Mitte", "pos", "retail"),
    Store(NORTH, "hamburg", "Hamburg Altona", "pos", "retail"),
    Store(NORTH, "phone", "Advice line", "call", "service"),
    Store(PAGES, "web", "Web shop", "web", "online", SITES[PAGES]),
    Store(PAGES, "oxford", "Oxford, Broad Street", "pos", "retail"),
    Store(PAGES, "phone", "Order line", "call", "service"),
    Store(BAZAAR, "linen", "Linen & Loom", "marketplace", "seller", SITES[BAZAAR]),
    Store(BAZAAR, "kiln", "Kiln Studio", "marketplace", "seller", SITES[BAZAAR]),
)
PROGRAMMES = (
    Programme(NORTH, "main", "North Outdoor partners", "https://www.example.com/", ("example.com",)),
    Programme(PAGES, "books", "Pages recommends", "https://www.example.org/", ("example.org",)),
    Programme(BAZAAR, "linen", "Linen & Loom on Bazaar", "https://www.example.net/linen-and-loom", ("example.net",), ("linen",)),
    Programme(BAZAAR, "kiln", "Kiln Studio on Bazaar", "https://www.example.net/kiln-studio", ("example.net",), ("kiln",)),
)
AFFILIATES = (
    Affiliate("anna", "Anna's Trail Blog", "anna@trails.example", "https://trails.example/", "Anna Berg", "DE89370400440532013000"),
    Affiliate("ben", "Ben's Cashback Club", "ben@cashback.example", "https://cashback.example/", "Ben Cole", "GB29NWBK60161331926819"),
    Affiliate(
        "charlie",
        "Shelfie, the reading app",
        "charlie@shelfie.example",
        "https://shelfie.example/",
        "Shelfie Ltd",
        "IE29AIBK93115212345678",
    ),
    Affiliate("dora", "Dora's Digest", "dora@digest.example", "https://digest.example/", "Dora Visser", "NL91ABNA0417164300"),
    Affiliate("emil", "Emil's Coupon Corner", "emil@coupons.example", "https://coupons.example/", "Emil Gruber", "AT611904300234573201"),
    Affiliate(
        "flora", "Flora at Home", "flora@interiors.example", "https://interiors.example/", "Flora Moreau", "FR1420041010050500013M02606"
    ),
    Affiliate("gustav", "Gustav Tests Gear", "gustav@gear.example", "https://gear.example/", "Gustav Lind", "SE4550000000058398257466"),
    Affiliate("hana", "Hana Reads Aloud", "hana@podcast.example", "https://podcast.example/", "Hana Novak", "PL61109010140000071219812874"),
    Affiliate("ivo", "Ivo Compares Prices", "ivo@prices.example", "https://prices.example/", "Ivo Costa", "ES9121000418450200051332"),
    Affiliate("jonas", "Jonas Climbs", "jonas@climbs.example", "https://climbs.example/", "Jonas Frei", "CH9300762011623852957"),
    Affiliate("kira", "Kira's Style Loft", "kira@loft.example", "https://loft.example/"),
    Affiliate("leo", "Leo's Long Weekend", "leo@weekend.example", "https://weekend.example/", "Leo Bianchi", "IT60X0542811101000000123456"),
)

LEO_JOINED = 60
JONAS_SUSPENDED = 38
"""Days before the anchor."""
_JOINED: tuple[tuple[str, str, str, int], ...] = (
    (NORTH, "main", "anna", 300), (NORTH, "main", "ben", 240), (NORTH, "main", "dora", 150), (NORTH, "main", "emil", 200),
    (NORTH, "main", "gustav", 180), (NORTH, "main", "ivo", 170), (NORTH, "main", "leo", LEO_JOINED),
    (PAGES, "books", "ben", 140), (PAGES, "books", "charlie", 220), (PAGES, "books", "dora", 190), (PAGES, "books", "hana", 160),
    (BAZAAR, "linen", "ben", 130), (BAZAAR, "linen", "emil", 125), (BAZAAR, "linen", "flora", 145), (BAZAAR, "linen", "ivo", 120),
    (BAZAAR, "linen", "leo", LEO_JOINED), (BAZAAR, "kiln", "ben", 130), (BAZAAR, "kiln", "emil", 125), (BAZAAR, "kiln", "flora", 145),
    (BAZAAR, "kiln", "ivo", 120), (BAZAAR, "kiln", "leo", LEO_JOINED),
)  # fmt: skip
"""Tenant, programme, affiliate, and how many days before the anchor it was approved."""
_GROUPS = {
    NORTH: {"gustav": "testers", "jonas": "testers", "ben": "cashback", "emil": "deals", "anna": "content", "ivo": "comparison"},
    PAGES: {"charlie": "readers", "hana": "readers", "ben": "cashback"},
    BAZAAR: {"flora": "interiors", "ben": "cashback", "emil": "deals", "ivo": "comparison"},
}
"""What conditions of the rate cards ask for; who is not named is in no group."""
_RECRUITED = {
    NORTH: {"leo": "dora", "dora": "anna", "emil": "ben", "gustav": "jonas", "jonas": "anna"},
    PAGES: {"hana": "charlie", "charlie": "dora"},
    BAZAAR: {"leo": "flora", "emil": "ben"},
}
"""Who brought whom into a programme. Jonas was suspended before recruiters were paid for: his place stays empty."""


class DemoLink(msgspec.Struct, frozen=True):
    """A link, and how often it is clicked beside the others of its programme."""

    link: Link
    weight: int


def _links(tenant_id: str, programme_id: str, *rows: tuple[str, str, str, str, Channel, int]) -> list[DemoLink]:
    """Rows are affiliate, code after the affiliate's id, path, name, channel, weight; weight 0 makes a disabled link."""
    return [
        DemoLink(
            Link(f"{who}-{code}", tenant_id, programme_id, who, f"https://{SITES[tenant_id]}{path}", name, channel, disabled=weight == 0),
            weight or 2,
        )
        for who, code, path, name, channel, weight in rows
    ]


LINKS: tuple[DemoLink, ...] = tuple(
    chain(
        _links(
            NORTH, "main",
            ("anna", "shoes", "/shoes/trail", "Trail shoes", "web", 9),
            ("anna", "jackets", "/jackets", "Rain jackets", "web", 7),
            ("anna", "huts", "/guides/hut-to-hut", "Hut to hut", "web", 6),
            ("anna", "packing", "/guides/packing", "Packing list", "web", 4),
            ("anna", "winter", "/winter-sale", "Winter sale", "web", 0),
            ("ben", "north", "/", "North Outdoor", "web", 12),
            ("ben", "north-app", "/app", "North in the app", "app", 6),
            ("emil", "north", "/offers", "North codes", "web", 10),
            ("emil", "north-sale", "/offers/last-sizes", "Last sizes", "web", 5),
            ("gustav", "tents", "/tents", "Ten tents in the rain", "web", 7),
            ("gustav", "packs", "/packs", "Packs compared", "web", 5),
            ("gustav", "stoves", "/stoves?ref={sub1}", "Stoves", "web", 3),
            ("ivo", "north", "/compare?from=ivo", "All prices", "web", 9),
            ("ivo", "north-shoes", "/shoes", "Shoe prices", "web", 6),
            ("jonas", "climb", "/climbing", "Climbing", "web", 7),
            ("jonas", "bio", "/", "Link in bio", "app", 5),
            ("dora", "outdoor", "/new", "Outdoor issue", "email", 6),
            ("dora", "gifts", "/gifts", "Gift issue", "email", 3),
            ("leo", "north", "/weekend", "Weekend ideas", "email", 5),
            ("leo", "north-hikes", "/guides/day-hikes", "Day hikes", "email", 4),
        ),
        _links(
            PAGES, "books",
            ("ben", "pages", "/", "Pages & Daughters", "web", 8),
            ("charlie", "shelf", "/lists/shelf", "From your shelf", "app", 9),
            ("charlie", "next", "/lists/next", "Read next", "app", 6),
            ("dora", "books", "/digest", "Books of the week", "email", 8),
            ("dora", "crime", "/crime", "Crime special", "email", 4),
            ("hana", "aloud", "/podcast", "Heard on the podcast", "web", 9),
            ("hana", "kids", "/children", "For children", "web", 5),
            ("hana", "classics", "/classics", "Classics", "web", 4),
        ),
        _links(
            BAZAAR, "linen",
            ("flora", "linen", "/linen-and-loom", "Linen for every room", "web", 9),
            ("flora", "bedroom", "/linen-and-loom/bedding", "Bedroom", "web", 7),
            ("ben", "linen", "/linen-and-loom", "Linen & Loom", "web", 6),
            ("emil", "linen", "/linen-and-loom/offers", "Linen codes", "web", 5),
            ("ivo", "linen", "/linen-and-loom?sort=price", "Linen prices", "web", 5),
            ("leo", "linen", "/linen-and-loom/new", "Slow Sunday", "email", 4),
        ),
        _links(
            BAZAAR, "kiln",
            ("flora", "kiln", "/kiln-studio", "Kiln Studio", "web", 8),
            ("flora", "table", "/kiln-studio/tableware", "At the table", "web", 6),
            ("ben", "kiln", "/kiln-studio", "Kiln on Bazaar", "web", 6),
            ("emil", "kiln", "/kiln-studio/offers", "Kiln codes", "web", 4),
            ("ivo", "kiln", "/kiln-studio?sort=price", "Ceramics prices", "web", 4),
            ("leo", "kiln", "/kiln-studio/new", "New from the kiln", "email", 4),
        ),
    )
)  # fmt: skip

POLICY_CHANGED = 45
"""Days before the anchor when version 2 of north's policy begins."""

EXAMPLE_COUPON = "ANNA10"
EXAMPLE_LINK = "anna-shoes"
COUPONS_OF = {NORTH: ("ANNA10", "BEN5", "LEO20"), PAGES: ("DORAREADS",), BAZAAR: ("FLORA12", "EMILHOME")}
"""Codes that are valid all the time that orders use them."""
EXPIRED = {NORTH: "EMIL15", PAGES: "HANA5"}
EXPIRED_DAYS_AGO = 35

TOKENS = {NORTH: "demo-north-shop-key", PAGES: "demo-pages-shop-key", BAZAAR: "demo-bazaar-feed-key"}
"""API keys in plain text: the demo's own, documented, and worth nothing elsewhere."""

_STAFF: tuple[tuple[str, str, Role, str], ...] = (
    ("martha@north.example", "Martha Krug", "merchant", NORTH), ("frank@north.example", "Frank Adler", "finance", NORTH),
    ("fiona@north.example", "Fiona Winter", "finance", NORTH), ("ada@north.example", "Ada Stein", "analyst", NORTH),
    ("paula@pages.example", "Paula Reed", "merchant", PAGES), ("felix@pages.example", "Felix Hart", "finance", PAGES),
    ("faye@pages.example", "Faye Lowe", "finance", PAGES), ("alma@pages.example", "Alma Gray", "analyst", PAGES),
    ("boris@bazaar.example", "Boris Lang", "merchant", BAZAAR), ("fritz@bazaar.example", "Fritz Huber", "finance", BAZAAR),
    ("freya@bazaar.example", "Freya Dahl", "finance", BAZAAR), ("arno@bazaar.example", "Arno Weiss", "analyst", BAZAAR),
)  # fmt: skip
PREPARER, APPROVER = "frank@north.example", "fiona@north.example"
SIGN_INS: dict[str, tuple[str, str]] = {
    "affiliate": ("anna@trails.example", PASSWORD),
    "merchant": ("martha@north.example", PASSWORD),
    "finance": (APPROVER, PASSWORD),
    "finance 2": (PREPARER, PASSWORD),
    "analyst": ("ada@north.example", PASSWORD),
}
"""One of north for each role. Two for finance, because nobody approves alone: a batch of Frank's waits for Fiona."""


def demo_catalogue(anchor: Instant) -> Catalogue:
    """The whole catalogue, each tuple sorted by its ids."""
    return Catalogue(
        tenants=tuple(sorted(TENANTS, key=lambda tenant: tenant.tenant_id)),
        stores=tuple(sorted(STORES, key=lambda store: (store.tenant_id, store.store_id))),
        programmes=tuple(sorted(PROGRAMMES, key=lambda programme: (programme.tenant_id, programme.programme_id))),
        affiliates=AFFILIATES,
        memberships=tuple(sorted(_memberships(anchor), key=lambda one: (one.tenant_id, one.programme_id, one.affiliate_id))),
        links=tuple(sorted((demo.link for demo in LINKS), key=lambda link: link.code)),
        coupons=tuple(sorted(_coupons(anchor), key=lambda coupon: (coupon.tenant_id, coupon.code))),
        policies=tuple(sorted(_policies(anchor), key=lambda policy: (policy.tenant_id, policy.programme_id, policy.version))),
        rate_cards=tuple(sorted(rate_cards(anchor), key=lambda card: (card.tenant_id, card.programme_id, card.version))),
        users=tuple(sorted(_users(), key=lambda user: user.email)),
        api_keys=tuple(
            sorted(
                (ApiKey(f"{tenant_id}-shop", tenant_id, "Demo key", _hash(token)) for tenant_id, token in TOKENS.items()),
                key=lambda key: key.key_id,
            )
        ),
    )


def _memberships(anchor: Instant) -> list[Membership]:
    approved = [
        Membership(tenant_id, programme_id, who, "approved", anchor - days * DAY - 30 * HOUR, anchor - days * DAY)
        for tenant_id, programme_id, who, days in _JOINED
    ]
    jonas = Membership(NORTH, "main", "jonas", "suspended", anchor - 160 * DAY, anchor - 158 * DAY, anchor - JONAS_SUSPENDED * DAY)
    kira = Membership(NORTH, "main", "kira", "applied", anchor - 2 * DAY)
    return [_placed(member) for member in (*approved, jonas, kira)]


def _placed(member: Membership) -> Membership:
    """With its group and whoever recruited it."""
    group, recruiter = (by_tenant[member.tenant_id].get(member.affiliate_id, "") for by_tenant in (_GROUPS, _RECRUITED))
    return msgspec.structs.replace(member, group=group, recruited_by=recruiter)


def _coupons(anchor: Instant) -> list[Coupon]:
    since, ended = anchor - 120 * DAY, anchor - EXPIRED_DAYS_AGO * DAY
    return [
        Coupon(NORTH, "ANNA10", "main", "anna", since, coupon_class="editorial"),
        Coupon(NORTH, "BEN5", "main", "ben", since, anchor + 60 * DAY, coupon_class="deal"),
        Coupon(NORTH, "LEO20", "main", "leo", anchor - LEO_JOINED * DAY, anchor + 30 * DAY, coupon_class="newsletter"),
        Coupon(NORTH, "EMIL15", "main", "emil", since, ended, coupon_class="deal"),
        Coupon(NORTH, "EMILMAY", "main", "emil", anchor - 200 * DAY, anchor - 150 * DAY, coupon_class="deal"),
        Coupon(PAGES, "DORAREADS", "books", "dora", since, coupon_class="newsletter"),
        Coupon(PAGES, "HANA5", "books", "hana", since, ended),
        Coupon(BAZAAR, "FLORA12", "kiln", "flora", since, coupon_class="editorial"),
        Coupon(BAZAAR, "EMILHOME", "linen", "emil", since, anchor + 15 * DAY, coupon_class="deal"),
    ]


def _policies(anchor: Instant) -> list[Policy]:
    since, changed = anchor - 120 * DAY, anchor - POLICY_CHANGED * DAY
    coupon, view = TouchWindow("coupon", 0), TouchWindow("impression", 24)
    return [
        Policy(NORTH, "main", 1, since, "last", (TouchWindow("click", 30 * 24), coupon, view)),
        Policy(NORTH, "main", 2, changed, "last", (coupon, TouchWindow("click", 14 * 24), view)),
        Policy(PAGES, "books", 1, since, "last", (coupon, TouchWindow("click", 45 * 24))),
        Policy(BAZAAR, "linen", 1, since, "last", (coupon, TouchWindow("click", 7 * 24))),
        Policy(BAZAAR, "kiln", 1, since, "last", (coupon, TouchWindow("click", 30 * 24), view)),
    ]


def _users() -> list[User]:
    staff = [User(email, name, role, PASSWORD_HASH, tenant_id=tenant_id) for email, name, role, tenant_id in _STAFF]
    anna = User("anna@trails.example", "Anna Berg", "affiliate", PASSWORD_HASH, affiliate_id="anna")
    ben = User("ben@cashback.example", "Ben Cole", "affiliate", PASSWORD_HASH, affiliate_id="ben")
    return [*staff, anna, ben]


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
