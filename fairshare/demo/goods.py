"""What the demo's merchants sell, and baskets of it. Pure."""

from random import Random

import msgspec

from core.events import Line
from core.money import share_of
from fairshare.demo.cast import BAZAAR, NORTH, PAGES


class Good(msgspec.Struct, frozen=True):
    """One article: its price without tax for one unit, in minor units, and how often it sells beside the others."""

    sku: str
    name: str
    category: str
    price_minor: int
    weight: int = 4


GOODS: dict[tuple[str, str], tuple[Good, ...]] = {
    (NORTH, "main"): (
        Good("N-SHOE-TR", "Trail shoes", "shoes", 109_16, 9), Good("N-SHOE-HI", "Hiking boots", "shoes", 159_58, 6),
        Good("N-SHOE-CL", "Climbing shoes", "shoes", 92_40, 4), Good("N-JACK-RN", "Rain jacket", "jackets", 134_41, 7),
        Good("N-JACK-DN", "Down jacket", "jackets", 210_04, 4), Good("N-TENT-2P", "Tent for two", "tents", 251_22, 3),
        Good("N-TENT-4P", "Tent for four", "tents", 419_29, 2), Good("N-PACK-30", "Rucksack 30 l", "packs", 83_99, 6),
        Good("N-PACK-55", "Rucksack 55 l", "packs", 142_82, 4), Good("N-STOV-GS", "Gas stove", "kitchen", 41_97, 5),
        Good("N-POTS-TI", "Titanium pots", "kitchen", 58_78, 3), Good("N-SOCK-WL", "Wool socks", "clothing", 15_92, 12),
        Good("N-SHRT-WL", "Wool shirt", "clothing", 50_38, 7), Good("N-LAMP-HD", "Head torch", "light", 33_57, 6),
        Good("N-GIFT-50", "Gift card", "gift cards", 50_00, 3), Good("N-STCK-00", "Sticker", "extras", 0, 2),
    ),
    (PAGES, "books"): (
        Good("P-NOV-01", "The Lighthouse Ledger", "fiction", 9_99, 9), Good("P-NOV-02", "A Field in Winter", "fiction", 8_99, 8),
        Good("P-CRI-01", "Death of a Bookkeeper", "crime", 7_99, 8), Good("P-CRI-02", "The Oxford Remainder", "crime", 9_49, 6),
        Good("P-KID-01", "Otter Counts to Ten", "children > picture books", 6_99, 8),
        Good("P-KID-02", "The Paper Boat", "children > stories", 7_49, 6),
        Good("P-NON-01", "A History of Tea", "non-fiction", 18_99, 5), Good("P-NON-02", "Walking Home", "non-fiction", 12_99, 5),
        Good("P-ART-01", "Drawing from Memory", "art", 34_95, 3), Good("P-STA-01", "Notebook, dotted", "stationery", 5_41, 6),
    ),
    (BAZAAR, "linen"): (
        Good("L-BED-01", "Linen bedding", "bedding", 124_17, 6), Good("L-BED-02", "Pillow case", "bedding", 24_58, 8),
        Good("L-CUR-01", "Curtain", "curtains", 74_92, 4), Good("L-TOW-01", "Tea towel", "kitchen > sale", 11_58, 9),
        Good("L-TAB-01", "Tablecloth", "kitchen", 57_42, 5),
    ),
    (BAZAAR, "kiln"): (
        Good("K-MUG-01", "Mug", "tableware", 15_75, 9), Good("K-PLA-01", "Dinner plate", "tableware", 20_75, 8),
        Good("K-BOW-01", "Salad bowl", "tableware", 40_75, 5), Good("K-VAS-01", "Vase, tall", "vases", 62_42, 4),
        Good("K-VAS-02", "Vase, small", "vases", 29_08, 5),
    ),
}  # fmt: skip

FREE_SHIPPING_FROM = {NORTH: 60_00, PAGES: 20_00, BAZAAR: 80_00}
SHIPPING = {NORTH: 4_95, PAGES: 2_80, BAZAAR: 6_90}
TAX_BPS = {NORTH: 1900, PAGES: 0, BAZAAR: 2000}


def basket(rng: Random, tenant_id: str, programme_id: str, discount_bps: int = 0) -> tuple[Line, ...]:
    """One to four different articles. ``discount_bps`` off each line, as a coupon gives it, rounded towards zero."""
    goods = GOODS[tenant_id, programme_id]
    count = rng.choices((1, 2, 3, 4), (52, 28, 14, 6))[0]
    chosen = {good.sku: good for good in rng.choices(goods, [good.weight for good in goods], k=count)}
    lines = []
    for number, good in enumerate(chosen.values(), 1):
        quantity = rng.choices((1, 2, 3), (80, 15, 5))[0]
        price = good.price_minor * quantity
        lines.append(Line(str(number), price - share_of(price, discount_bps), good.sku, good.name, good.category, quantity))
    return tuple(lines)


def shipping_and_tax(tenant_id: str, net_minor: int, delivered: bool) -> tuple[int, int]:
    """What comes on top of an order's net: shipping where it is sent, and tax on both."""
    shipping = SHIPPING[tenant_id] if delivered and net_minor < FREE_SHIPPING_FROM[tenant_id] else 0
    return shipping, share_of(net_minor + shipping, TAX_BPS[tenant_id])
