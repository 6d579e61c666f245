"""Rows of a foreign file as touches, column by column from the cells to the store: no touch is ever an object of its own. Pure.

A touch's id says when it happened and what it is: the same row gives the same id in every file and every run. So does a visitor.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from itertools import compress
from operator import itemgetter
from typing import Any, get_args

import msgspec

from core.clock import Instant
from core.errors import BadInput
from core.events import CHANNELS, Consent, Touch, TouchKind
from core.identity import is_junk
from core.ids import derive
from tracker.affiliates import Affiliates
from tracker.click import CODE_CHARS, SUB_CHARS, site_of
from tracker.conversion import CLICK_ID_CHARS, EARLIEST
from tracker.customer import Customer, keys_of, read_customer
from tracker.destination import URL_CHARS
from tracker.enrich import CountryOf, touch_row
from tracker.fields import TEXT_CHARS, Fields
from tracker.hit import REFERRER_CHARS, USER_AGENT_CHARS
from tracker.links import Share
from tracker.mapping import CUSTOMER, SUBS, Map, Values
from tracker.readings import CONTROL, REMEMBERED, Bad, Clockwork, Reading, TimeColumn, are_clean, flawed_text, word
from tracker.sheet import RowFault, unreadable

KINDS: tuple[str, ...] = get_args(TouchKind)
NOBODYS: tuple[str, ...] = ("paid", "direct")
"""Touches that no affiliate brought."""

_TEXTS = {"touch_id": CLICK_ID_CHARS, "link": CODE_CHARS, "origin": TEXT_CHARS, "medium": TEXT_CHARS} | dict.fromkeys(SUBS, SUB_CHARS)
_CUT = {"user_agent": USER_AGENT_CHARS, "referrer": REFERRER_CHARS, "destination": URL_CHARS}
"""As the tracker cuts them."""

_MAYBE_NOBODY = frozenset(("", *"0-. \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0NnUuAaGgTt"))
"""What a cell that names nobody begins with: three of four cells need no closer look."""

MOST_NAMED = 1_000_000
"""Of so many of a file's own ids it is known what was said under them; then the memory begins anew."""

_KEY_OF_FIELD = {"customer_id": "id"}


class Ground(msgspec.Struct, frozen=True):
    """What reading needs to know beside the map: the merchant's key and coalitions, its programmes and members, and the time it is."""

    key: bytes
    shares: tuple[Share, ...]
    programmes: frozenset[str]
    affiliates: Affiliates
    now: Instant
    tolerance_ms: int
    country_of: CountryOf


class Found(msgspec.Struct):
    """What a chunk of rows became: ``columns`` of the table of touches, all but ``received_at`` and ``stored_at``, times in milliseconds.

    ``links`` are touches that know their person. ``skipped`` rows have a status that leaves them out. ``ambiguous`` and ``missing``
    count times that a clock showed twice or never, ``early`` touches from before their affiliate was a member.
    """

    columns: dict[str, list[Any]]
    faults: list[RowFault]
    links: list[Touch] = []
    skipped: int = 0
    ambiguous: int = 0
    missing: int = 0
    early: int = 0

    @property
    def touches(self) -> int:
        return len(self.columns.get("touch_id", ()))


class Digests:
    """Names things by their content, under the merchant's key: 16 bytes of BLAKE2b (RFC 7693)."""

    def __init__(self, key: bytes, of: str) -> None:
        self._seed = hashlib.blake2b(key=key, person=of.encode(), digest_size=16)

    def of(self, content: str) -> bytes:
        one = self._seed.copy()
        one.update(content.encode("utf-8", "surrogateescape"))
        return one.digest()


class Visitors:
    """The cells that name a visitor → a visitor id. It begins with ten zeros, as no cookie's does: it was minted in 1970.

    Cells that name nobody (``null``, ``0``) count as empty; a visitor of empty cells alone is none.
    """

    def __init__(self, key: bytes) -> None:
        self._digest = Digests(key, "visitor").of
        self._known: dict[str, str] = {}

    def column(self, columns: Sequence[Sequence[str]]) -> list[str]:
        """The visitors of rows, of the columns that name them together."""
        named = [_without_nobodies(column) for column in columns]
        joined = named[0] if len(named) == 1 else list(map("\x1f".join, zip(*named, strict=True)))
        new = set(joined) - self._known.keys()
        if len(self._known) + len(new) > REMEMBERED:
            self._known, new = {}, set(joined)
        known = self._known
        for name in new:
            known[name] = derive(0, self._digest(name)) if name.strip("\x1f") else ""
        return [known[name] for name in joined]


def _without_nobodies(column: Sequence[str]) -> Sequence[str]:
    nobodies = {cell for cell in set(column) if cell[:1] in _MAYBE_NOBODY and is_junk(cell)}
    return ["" if cell in nobodies else cell for cell in column] if nobodies else column


def touch_digest(key: bytes) -> Callable[[str], bytes]:
    """The 16 letters of chance of a touch that brought an id of its own, as bytes: with its time they are the touch's id."""
    return Digests(key, "touch-id").of


class Cells:
    """A chunk's rows by field: trimmed cells of the column, or the map's constant for each row."""

    def __init__(self, map_: Map, places: dict[str, int], rows: Sequence[Sequence[str]]) -> None:
        self._map = map_
        self._places = places
        self._columns = list(zip(*rows, strict=True))
        self._trimmed: dict[str, list[str]] = {}
        self.rows = len(rows)

    def of_column(self, name: str) -> list[str]:
        if name not in self._trimmed:
            self._trimmed[name] = list(map(str.strip, self._columns[self._places[name]]))
        return self._trimmed[name]

    def of(self, field: str) -> list[str] | None:
        """None where the map fills the field with nothing."""
        if field in self._map.columns:
            return self.of_column(self._map.columns[field][0])
        constant = self._map.constants.get(field)
        return None if constant is None else [constant] * self.rows


class TouchReader:
    """Reads the rows of one file; it remembers what it has read before."""

    def __init__(self, map_: Map, places: dict[str, int], ground: Ground) -> None:
        self._map = map_
        self._places = places
        self._ground = ground
        self._clockwork = Clockwork(map_.times, EARLIEST, ground.now, ground.tolerance_ms)
        self._kinds = self._words("kind", KINDS)
        self._channels = self._words("channel", CHANNELS)
        self._consents = self._words("consent", get_args(Consent))
        self._statuses = self._words("status", ("take", "skip"))
        self._programmes = self._words("programme", sorted(ground.programmes))
        self._addresses: Reading[str] = Reading(_read_address)
        self._countries: Reading[str] = Reading(lambda address: ground.country_of(address) if address else "")
        self._looks: Reading[tuple[str, Consent]] = Reading(_look)
        self._customers: Reading[tuple[tuple[str, str], ...]] = Reading(read_identifiers)
        self._visitors = Visitors(ground.key)
        self._said: dict[int, int] = {}
        self._named = touch_digest(ground.key)
        self._unnamed = Digests(ground.key, "touch").of

    def read(self, lines: Sequence[int], rows: Sequence[Sequence[str]]) -> Found:
        """The touches of rows, in their order, and the faults of the others by line."""
        before = len(rows)
        lines, rows = self._without_skipped(lines, rows)
        found, skipped, faults = Found({}, []), before - len(rows), list[RowFault]()
        while rows:  # and once more without those that are wrong: what a row may not repeat is known when the others are good
            found = self._read(lines, rows)
            if not found.faults:
                break
            faults += found.faults
            wrong = {fault.line for fault in found.faults}
            good = [line not in wrong for line in lines]
            lines, rows, found = list(compress(lines, good)), list(compress(rows, good)), Found({}, [])
        found.faults, found.skipped = sorted(faults, key=lambda fault: fault.line), skipped
        return found

    def scout(self, rows: Sequence[Sequence[str]]) -> None:
        """Note members that the catalogue does not know, with the time of their first touch. Rows that cannot be read are left out."""
        cells = Cells(self._map, self._places, rows)
        names, times = cells.of("affiliate"), self._times(cells).instants
        if names is None:
            return
        kinds = self._kinds.column(cells.of("kind") or ["click"] * cells.rows)
        titles = cells.of("affiliate_name") or [""] * cells.rows
        note = self._ground.affiliates.note
        for programme, name, at, kind, title in zip(
            self._programmes.column(cells.of("programme") or []), names, times, kinds, titles, strict=True
        ):
            if name and kind not in NOBODYS and Bad not in (type(at), type(programme), type(kind)) and not self._is_flawed(name + title):
                try:
                    note(programme, name, at, title)
                except BadInput:
                    continue  # told with its row

    def _is_flawed(self, name: str) -> bool:
        return bool(flawed_text(name, TEXT_CHARS) or unreadable(name, self._map.encoding))

    # --- one chunk

    def _read(self, lines: Sequence[int], rows: Sequence[Sequence[str]]) -> Found:
        cells, trouble = Cells(self._map, self._places, rows), Trouble(lines, rows)
        count = cells.rows
        clocked = self._times(cells)
        for field, names in self._map.columns.items():
            for name in names:
                trouble.in_texts(field, cells.of_column(name), self._map.encoding)
        times = clocked.instants
        trouble.where_bad(times, "occurred_at")
        programmes = trouble.in_column("programme", self._programmes, cells.of("programme") or [])
        trouble.where_empty(programmes, "programme")
        kinds = trouble.in_column("kind", self._kinds, cells.of("kind"), "click", count)
        affiliates = self._affiliates(cells, trouble, programmes, kinds)
        channels = trouble.in_column("channel", self._channels, cells.of("channel"), "web", count)
        consents = trouble.in_column("consent", self._consents, cells.of("consent"), "unknown", count)
        addresses = trouble.in_column("ip", self._addresses, cells.of("ip"), "", count)
        texts = {field: self._text(cells, trouble, field, chars) for field, chars in _TEXTS.items()}
        cut = {field: self._text(cells, trouble, field, 1 << 20, chars) for field, chars in _CUT.items()}
        named = [cells.of_column(name) for name in self._map.columns.get("visitor", ())]
        visitors = self._visitors.column(named) if named else [""] * count
        customers = self._customer_keys(cells, trouble, times, consents)
        if trouble.faults:
            return Found({}, trouble.faults)
        if "denied" in consents:
            visitors = [visitor if consent != "denied" else "" for visitor, consent in zip(visitors, consents, strict=True)]
            addresses = [address if consent != "denied" else "" for address, consent in zip(addresses, consents, strict=True)]
            cut["user_agent"] = [agent if consent != "denied" else "" for agent, consent in zip(cut["user_agent"], consents, strict=True)]
            came_from = zip(cut["referrer"], consents, strict=True)
            cut["referrer"] = [referrer if consent != "denied" else site_of(referrer) for referrer, consent in came_from]
        subs = _subs([texts[field] for field in SUBS])
        contents = [
            *(kinds, programmes, affiliates, texts["link"], visitors, channels, texts["origin"], texts["medium"]),
            *(cut["referrer"], cut["destination"], addresses, cut["user_agent"], consents),
        ]
        ids = self._ids(times, texts["touch_id"], contents, subs, customers)
        if "touch_id" in self._map.columns:
            self._refuse_repeats(trouble, ids, texts["touch_id"], zip(*contents, subs, customers, strict=True))
            if trouble.faults:
                return Found({}, trouble.faults)
        looks = self._looks.column(list(zip(cut["user_agent"], consents, strict=True)))
        traffic_class, reason, lists, device, system, browser = map(list, zip(*looks, strict=True))
        columns: dict[str, list[Any]] = {
            "tenant_id": [self._map.tenant_id] * count,
            "touch_id": ids,
            "kind": kinds,
            "programme_id": programmes,
            "affiliate_id": affiliates,
            "link_code": texts["link"],
            "visitor_id": visitors,
            "channel": channels,
            "occurred_at": times,
            "traffic_class": traffic_class,
            "class_reason": reason,
            "list_version": lists,
            "country": self._countries.column(addresses),
            "device": device,
            "os": system,
            "browser": browser,
            "destination": cut["destination"],
            "subs": subs,
            "ip": addresses,
            "user_agent": cut["user_agent"],
            "referrer": cut["referrer"],
            "consent": consents,
            "flags": [()] * count,
            "origin": texts["origin"],
            "medium": texts["medium"],
            "customer_keys": customers,
            "source": ["import"] * count,
        }
        early = self._early(programmes, affiliates, times)
        return Found(columns, [], _with_keys(columns), 0, clocked.ambiguous, clocked.missing, early)

    def _without_skipped(self, lines: Sequence[int], rows: Sequence[Sequence[str]]) -> tuple[Sequence[int], Sequence[Sequence[str]]]:
        if not self._map.has("status") or not rows:
            return lines, rows
        statuses = self._statuses.column(Cells(self._map, self._places, rows).of("status") or [])
        taken = [status != "skip" for status in statuses]
        return list(compress(lines, taken)), list(compress(rows, taken))

    def _times(self, cells: Cells) -> TimeColumn:
        zone = self._map.times.zone_column
        return self._clockwork.column(cells.of("occurred_at") or [], cells.of_column(zone) if zone else None)

    def _words(self, field: str, choices: Sequence[str]) -> Reading[str]:
        return Reading(word(field, self._map.values.get(field, Values()), choices))

    def _affiliates(self, cells: Cells, trouble: "Trouble", programmes: list[Any], kinds: list[Any]) -> list[Any]:
        """By name in its programme; nobody of kinds that nobody brings."""
        names = cells.of("affiliate") or [""] * cells.rows
        if not set(kinds).isdisjoint(NOBODYS):
            names = ["" if kind in NOBODYS else name for kind, name in zip(kinds, names, strict=True)]
        if "" in names:
            trouble.where(
                [not name and kind not in NOBODYS for name, kind in zip(names, kinds, strict=True)], "affiliate", "the cell is empty"
            )
        return trouble.in_column("affiliate", self._ground.affiliates.by_name, list(zip(programmes, names, strict=True)))

    def _text(self, cells: Cells, trouble: "Trouble", field: str, chars: int, cut_at: int = 0) -> list[str]:
        column = cells.of(field)
        if column is None:
            return [""] * cells.rows
        if field in self._map.values:
            known = self._map.values[field].known
            column = [known.get(cell, cell) for cell in column]
        if cut_at:
            column = [cell[:cut_at] for cell in column]
        trouble.where_longer(column, chars, field)
        return column

    def _customer_keys(self, cells: Cells, trouble: "Trouble", times: list[Any], consents: list[Any]) -> list[tuple[str, ...]]:
        fields = [field for field in CUSTOMER if field in self._map.columns]
        if not fields:
            return [()] * cells.rows
        columns = [[(_KEY_OF_FIELD.get(field, field), cell) for cell in cells.of(field) or ()] for field in fields]
        customers: list[Any] = trouble.in_column("customer", self._customers, list(zip(*columns, strict=True)))
        if trouble.faults:
            return [()] * cells.rows
        ground = self._ground
        return [
            keys_of(customer.identifiers, ground.key, ground.shares, at, consent) if customer.identifiers and consent != "denied" else ()
            for customer, at, consent in zip(customers, times, consents, strict=True)
        ]

    def _ids(
        self,
        times: list[Instant],
        named: list[str],
        contents: list[list[str]],
        subs: list[tuple[str, ...]],
        customers: list[tuple[str, ...]],
    ) -> list[str]:
        """By the file's own ids where it has them, else by everything that the touches say."""
        if "touch_id" in self._map.columns:
            return [
                derive(at, self._named(name) if name else self._unnamed("\x1f".join((*content, *own, "", *keys))))
                for at, name, content, own, keys in zip(times, named, zip(*contents, strict=True), subs, customers, strict=True)
            ]
        return [
            derive(at, self._unnamed("\x1f".join((*content, *own, "", *keys))))
            for at, content, own, keys in zip(times, zip(*contents, strict=True), subs, customers, strict=True)
        ]

    def _refuse_repeats(self, trouble: "Trouble", ids: list[str], named: list[str], contents: Iterable[tuple[Any, ...]]) -> None:
        """An id that comes again at the same time with another content is not taken: which of them happened?"""
        if len(self._said) > MOST_NAMED:
            self._said.clear()
        said = self._said
        for index, (touch_id, content) in enumerate(zip(map(hash, ids), map(hash, contents), strict=True)):
            if said.setdefault(touch_id, content) != content:
                what = f"{named[index]!r:.140} came before in this file, at the same time and with another content"
                trouble.add(index, "touch_id", f"{what}; a touch of its own needs an id of its own")

    def _early(self, programmes: list[str], affiliates: list[str], times: list[Instant]) -> int:
        """How many touches earn nothing because their affiliate was no member yet, or no more."""
        members, new = self._ground.affiliates.members, self._ground.affiliates.new
        places = list(zip(programmes, affiliates, strict=True))
        known = {place: members[place] for place in set(places) if place in members and place not in new}
        first, last = min(times), max(times)
        if all(member.active_at(first) and member.active_at(last) for member in known.values()):
            return 0
        return sum(place in known and not known[place].active_at(at) for place, at in zip(places, times, strict=True))


class Trouble:
    """What is wrong with a chunk's rows, cell by cell."""

    def __init__(self, lines: Sequence[int], rows: Sequence[Sequence[str]]) -> None:
        self._lines = lines
        self._rows = rows
        self.faults: list[RowFault] = []

    def in_column(self, field: str, reading: Reading[Any], cells: Sequence[Any] | None, default: str = "", count: int = 0) -> list[Any]:
        """Read a column; empty cells mean the default, and so does a column that is not there."""
        if cells is None:
            return [default] * count
        values = reading.column(cells)
        if reading.faulty:
            self.where_bad(values, field)
        if default and "" in values:
            return [value or default for value in values]
        return values

    def in_texts(self, field: str, column: list[str], encoding: str) -> None:
        """Refuse cells that hold control characters, or did not come out of their encoding."""
        if are_clean(column):
            return
        for index, cell in enumerate(column):
            if CONTROL.search(cell):
                self.add(index, field, "the cell holds a control character")
            elif flaw := unreadable(cell, encoding):
                self.add(index, field, f"the cell {flaw}")

    def where_bad(self, values: list[Any], field: str) -> None:
        for index, value in enumerate(values):
            if type(value) is Bad:
                self.add(index, field, value.why)

    def where_longer(self, column: list[str], chars: int, field: str) -> None:
        if max(map(len, column), default=0) > chars:
            for index, cell in enumerate(column):
                if len(cell) > chars:
                    self.add(index, field, f"the cell has {len(cell)} characters; at most {chars} are taken")

    def where_empty(self, column: list[Any], field: str) -> None:
        if "" in column:
            self.where([cell == "" for cell in column], field, "the cell is empty")

    def where(self, wrong: list[bool], field: str, why: str) -> None:
        for index, is_wrong in enumerate(wrong):
            if is_wrong:
                self.add(index, field, why)

    def add(self, index: int, field: str, why: str) -> None:
        self.faults.append(RowFault(self._lines[index], field, why, tuple(self._rows[index])))


def read_identifiers(named: tuple[tuple[str, str], ...]) -> Customer:
    """Identifiers as an interface would read them; those that name nobody are left out.

    Raises:
        BadInput: one of them is none of its kind.
    """
    if any(unreadable(cell, "utf-8") for _, cell in named):
        raise BadInput("malformed", "it is not text of the file's encoding", "customer")
    faults: list[BadInput] = []
    customer = read_customer(Fields(dict(named), faults, "customer"))
    if faults:
        raise faults[0]
    return customer


def _look(of: tuple[str, Consent]) -> tuple[str, str, str, str, str, str]:
    """Class, reason, list version, device, os and browser of a touch with this user agent and consent, as the drain says them."""
    agent, consent = of
    touch = Touch("", "click", "any", "", "", "", 0, 0, user_agent=agent, consent=consent, source="import")
    row = touch_row(touch, 0, lambda _address: "")
    return row.traffic_class, row.class_reason, row.list_version, row.device, row.os, row.browser


def _with_keys(columns: dict[str, list[Any]]) -> list[Touch]:
    """The touches that know their person, as far as that is what they are asked for."""
    if not any(columns["customer_keys"]):
        return []
    named = zip(*(columns[name] for name in ("touch_id", "tenant_id", "occurred_at", "visitor_id", "customer_keys")), strict=True)
    return [
        Touch(touch_id, "click", tenant_id, "", "", "", at, 0, visitor_id, customer_keys=keys, source="import")
        for touch_id, tenant_id, at, visitor_id, keys in named
        if keys
    ]


def _read_address(text: str) -> str:
    try:
        return str(ip_address(text)) if text else ""
    except ValueError:
        raise BadInput("malformed", f"{text!r:.60} is not an IP address", "ip") from None


def _subs(columns: list[list[str]]) -> list[tuple[str, ...]]:
    """sub1 to sub5, empty ones at the end left out."""
    if not any(map(any, columns)):
        return [()] * len(columns[0])
    last = max(index for index, column in enumerate(columns) if any(column)) + 1
    used = list(zip(*columns[:last], strict=True))
    if all(map(itemgetter(-1), used)):
        return used
    return [_without_tail(subs) for subs in used]


def _without_tail(subs: tuple[str, ...]) -> tuple[str, ...]:
    while subs and not subs[-1]:
        subs = subs[:-1]
    return subs
