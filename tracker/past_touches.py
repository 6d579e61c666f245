"""Rows of a foreign file as touches, column by column from the cells to the store: no touch is ever an object of its own. Pure.

A touch's id says when it happened and what it is: the same row gives the same id in every file and every run. So does a visitor.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from operator import itemgetter
from typing import Any, get_args

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.clock import Instant
from core.errors import BadInput
from core.events import CHANNELS, Consent, Touch, TouchKind
from core.identity import is_junk
from core.ids import ALPHABET, CHANCE_LETTERS, LENGTH
from tracker.affiliates import Affiliates
from tracker.cells import INSTANT, TEXTS, Cells, Column, Trouble, column_of, numbers_of, one_each, same, together
from tracker.click import CODE_CHARS, SUB_CHARS, site_of
from tracker.conversion import CLICK_ID_CHARS, EARLIEST
from tracker.customer import Customer, keys_of, read_customer
from tracker.destination import URL_CHARS
from tracker.enrich import CountryOf, TouchRow, touch_row
from tracker.fields import TEXT_CHARS, Fields
from tracker.hit import REFERRER_CHARS, USER_AGENT_CHARS
from tracker.links import Share
from tracker.mapping import CUSTOMER, SUBS, Map, Values
from tracker.readings import Bad, Clockwork, Reading, TimeColumn, flawed_text, word
from tracker.sheet import Chunk, RowFault, unreadable

KINDS: tuple[str, ...] = get_args(TouchKind)
NOBODYS: tuple[str, ...] = ("paid", "direct")
"""Touches that no affiliate brought."""

_TEXTS = {"touch_id": CLICK_ID_CHARS, "link": CODE_CHARS, "origin": TEXT_CHARS, "medium": TEXT_CHARS} | dict.fromkeys(SUBS, SUB_CHARS)
_CUT = {"user_agent": USER_AGENT_CHARS, "referrer": REFERRER_CHARS, "destination": URL_CHARS}
"""As the tracker cuts them."""

_SAID = (
    *("kind", "programme_id", "affiliate_id", "link_code", "visitor_id", "channel", "origin", "medium"),
    *("referrer", "destination", "ip", "user_agent", "consent"),
)
"""What a touch says beside its time, its sub ids and its customer's keys. Ids of touches without one of their own are made of these,
in this order: it never changes."""

_LOOKS = ("traffic_class", "class_reason", "list_version", "device", "os", "browser")
"""What :func:`_look` tells, in its order."""

_MAYBE_NOBODY = frozenset(("", *"0-. \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0NnUuAaGgTt"))
"""What a cell that names nobody begins with: three of four cells need no closer look."""

MOST_NAMED = 1_000_000
"""Of so many of a file's own ids it is known what was said under them; then the memory begins anew."""

_KEY_OF_FIELD = {"customer_id": "id"}
_LETTERS = np.frombuffer(ALPHABET.encode(), np.uint8)
_SHIFTS = np.arange(45, -1, -5)


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
    """What a chunk of rows became: ``table`` has the columns of the table of touches, without ``received_at``, ``stored_at`` and what an
    import never fills.

    ``links`` are touches that know their person. ``skipped`` rows have a status that leaves them out. ``ambiguous`` and ``missing``
    count times that a clock showed twice or never, ``early`` touches from before their affiliate was a member.
    """

    table: pa.Table | None
    faults: list[RowFault]
    links: list[Touch] = []
    skipped: int = 0
    ambiguous: int = 0
    missing: int = 0
    early: int = 0

    @property
    def touches(self) -> int:
        return 0 if self.table is None else len(self.table)


class Digests:
    """Names things by their content, under the merchant's key: 16 bytes of BLAKE2b (RFC 7693)."""

    def __init__(self, key: bytes, of: str) -> None:
        self._seed = hashlib.blake2b(key=key, person=of.encode(), digest_size=CHANCE_LETTERS)

    def of(self, content: str) -> bytes:
        return self.of_all([content])[0]

    def of_all(self, contents: Iterable[str]) -> list[bytes]:
        seed, found = self._seed, []
        for content in contents:
            one = seed.copy()
            one.update(content.encode("utf-8", "surrogateescape"))
            found.append(one.digest())
        return found


class Visitors:
    """The cells that name a visitor → a visitor id. It begins with ten zeros, as no cookie's does: it was minted in 1970.

    Cells that name nobody (``null``, ``0``) count as empty; a visitor of empty cells alone is none.
    """

    def __init__(self, key: bytes) -> None:
        self._digests = Digests(key, "visitor").of_all

    def of(self, named: Sequence[Sequence[str]]) -> list[str]:
        """The visitor of each, by the cells that name it."""
        names = list(map("\x1f".join, named))
        ids: list[str] = ids_at([0] * len(names), self._digests(names)).to_pylist()
        return [id_ if name.strip("\x1f") else "" for name, id_ in zip(names, ids, strict=True)]


def without_nobodies(cell: str) -> str:
    """The cell, or nothing where it names nobody."""
    return "" if cell[:1] in _MAYBE_NOBODY and is_junk(cell) else cell


def touch_digest(key: bytes) -> Callable[[str], bytes]:
    """The 16 letters of chance of a touch that brought an id of its own, as bytes: with its time they are the touch's id."""
    return Digests(key, "touch-id").of


def ids_at(times: Sequence[Instant], digests: Sequence[bytes]) -> pa.Array:
    """What :func:`core.ids.derive` gives for each time and digest, many at once."""
    bits = np.empty((len(times), LENGTH), np.uint8)
    bits[:, :-CHANCE_LETTERS] = np.array(times, np.int64)[:, None] >> _SHIFTS & 31
    bits[:, -CHANCE_LETTERS:] = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, CHANCE_LETTERS) & 31
    ends = np.arange(0, bits.size + 1, LENGTH, dtype=np.int32)
    return pa.StringArray.from_buffers(len(times), pa.py_buffer(ends), pa.py_buffer(_LETTERS[bits]))


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
        self._named = Digests(ground.key, "touch-id")
        self._unnamed = Digests(ground.key, "touch")

    def read(self, chunk: Chunk) -> Found:
        """The touches of a chunk's rows, in their order, and the faults of the others by line."""
        taken = self._without_skipped(chunk)
        found, skipped, faults = Found(None, []), len(chunk.lines) - len(taken.lines), list[RowFault]()
        while taken.lines:  # and once more without those that are wrong: what a row may not repeat is known when the others are good
            found = self._read(taken)
            if not found.faults:
                break
            faults += found.faults
            wrong = {fault.line for fault in found.faults}
            taken, found = taken.only([line not in wrong for line in taken.lines]), Found(None, [])
        found.faults, found.skipped = sorted(faults, key=lambda fault: fault.line), skipped
        return found

    def scout(self, chunk: Chunk) -> None:
        """Note members that the catalogue does not know, with the time of their first touch. Rows that cannot be read are left out."""
        cells = Cells(self._map, self._places, chunk)
        names, programmes = cells.of("affiliate"), cells.of("programme")
        if names is None or programmes is None:
            return
        kinds, titles = cells.of("kind") or same("", cells.rows), cells.of("affiliate_name") or same("", cells.rows)
        shown = together(programmes.each(self._programmes.__getitem__), names, kinds.each(self._kinds.__getitem__), titles)
        first: dict[int, Instant] = {}
        for code, at in zip(shown.codes.tolist(), self._times(cells).instants, strict=True):
            if type(at) is not Bad and (code not in first or at < first[code]):
                first[code] = at
        for code, at in first.items():
            programme, name, kind, title = shown.values[code]
            if name and kind not in NOBODYS and Bad not in (type(programme), type(kind)) and not self._is_flawed(name + title):
                try:
                    self._ground.affiliates.note(programme, name, at, title)
                except BadInput:
                    continue  # told with its row

    def _is_flawed(self, name: str) -> bool:
        return bool(flawed_text(name, TEXT_CHARS) or unreadable(name, self._map.encoding))

    # --- one chunk

    def _read(self, chunk: Chunk) -> Found:
        cells, trouble = Cells(self._map, self._places, chunk), Trouble(chunk)
        clocked = self._times(cells)
        said = self._columns(cells, trouble, clocked.instants)
        if trouble.faults:
            return Found(None, trouble.faults)
        if "denied" in said["consent"].values:
            said |= {name: _unless_denied(said[name], said["consent"], then) for name, then in _DENIED.items()}
        columns = {name: said[name].arrow() for name in _SAID}
        own = [said["subs"], said["customer_keys"]]
        if "touch_id" in self._map.columns:
            self._refuse_repeats(trouble, said["touch_id"], clocked.instants, [*(said[name] for name in _SAID), *own])
            if trouble.faults:
                return Found(None, trouble.faults)
        ids = self._ids(clocked.instants, said["touch_id"], columns.values(), together(*own))
        looks = together(said["user_agent"], said["consent"]).each(self._looks.__getitem__)
        columns |= {name: looks.each(itemgetter(place)).arrow() for place, name in enumerate(_LOOKS)} | {
            "tenant_id": same(self._map.tenant_id, cells.rows).arrow(),
            "touch_id": ids,
            "occurred_at": pa.array(clocked.instants, INSTANT),
            "country": said["ip"].each(self._countries.__getitem__).arrow(),
            "subs": said["subs"].arrow(TEXTS),
            "customer_keys": said["customer_keys"].arrow(TEXTS),
            "source": same("import", cells.rows).arrow(),
        }
        table = pa.table({name: columns[name] for name in TouchRow.__struct_fields__ if name in columns})
        early = self._early(together(said["programme_id"], said["affiliate_id"]), clocked.instants)
        return Found(table, [], _with_keys(table, said["customer_keys"]), 0, clocked.ambiguous, clocked.missing, early)

    def _columns(self, cells: Cells, trouble: Trouble, times: list[Any]) -> dict[str, Column]:
        """What the rows say, by the store's columns; ``touch_id`` is the file's own."""
        for field, names in self._map.columns.items():
            for name in names:
                trouble.in_texts(field, cells.of_column(name), self._map.encoding)
        trouble.where_bad("occurred_at", one_each(times))
        programmes = trouble.read("programme", cells.of("programme"), self._programmes)
        trouble.where("programme", programmes, lambda programme: "" if programme else "the cell is empty")
        kinds = trouble.read("kind", cells.of("kind"), self._kinds, "click")
        said = {"programme_id": programmes, "kind": kinds, "affiliate_id": self._affiliates(cells, trouble, programmes, kinds)}
        said["channel"] = trouble.read("channel", cells.of("channel"), self._channels, "web")
        said["consent"] = trouble.read("consent", cells.of("consent"), self._consents, "unknown")
        said["ip"] = trouble.read("ip", cells.of("ip"), self._addresses)
        said |= {field: self._text(cells, trouble, field, chars) for field, chars in _TEXTS.items()}
        said |= {field: self._text(cells, trouble, field, 1 << 20, chars) for field, chars in _CUT.items()}
        said["link_code"] = said["link"]
        said["subs"] = together(*[said[field] for field in SUBS]).each(_without_tail)
        named = [cells.of_column(name).each(without_nobodies) for name in self._map.columns.get("visitor", ())]
        said["visitor_id"] = together(*named).all(self._visitors.of) if named else same("", cells.rows)
        said["customer_keys"] = self._customer_keys(cells, trouble, times, said["consent"])
        return said

    def _without_skipped(self, chunk: Chunk) -> Chunk:
        statuses = Cells(self._map, self._places, chunk).of("status") if chunk.lines else None
        if statuses is None:
            return chunk
        return chunk.only(statuses.each(lambda status: self._statuses[status] != "skip").by_row())

    def _times(self, cells: Cells) -> TimeColumn:
        texts, zone = cells.of("occurred_at"), self._map.times.zone_column
        assert texts is not None, "a map of touches fills their times"
        return self._clockwork.column(texts.by_row(), cells.of_column(zone).by_row() if zone else None)

    def _words(self, field: str, choices: Sequence[str]) -> Reading[str]:
        return Reading(word(field, self._map.values.get(field, Values()), choices))

    def _affiliates(self, cells: Cells, trouble: Trouble, programmes: Column, kinds: Column) -> Column:
        """By name in its programme; nobody of kinds that nobody brings."""
        names = cells.of("affiliate") or same("", cells.rows)
        brought = together(names, kinds)
        trouble.where("affiliate", brought, lambda both: "the cell is empty" if not both[0] and both[1] not in NOBODYS else "")
        names = brought.each(lambda both: "" if both[1] in NOBODYS else both[0])
        return trouble.read("affiliate", together(programmes, names), self._ground.affiliates.by_name)

    def _text(self, cells: Cells, trouble: Trouble, field: str, chars: int, cut_at: int = 0) -> Column:
        column = cells.of(field)
        if column is None:
            return same("", cells.rows)
        known = self._map.values.get(field, Values()).known
        if known:
            column = column.each(lambda cell: known.get(cell, cell))
        if cut_at:
            column = column.each(itemgetter(slice(cut_at)))
        trouble.where_longer(field, column, chars)
        return column

    def _customer_keys(self, cells: Cells, trouble: Trouble, times: list[Any], consents: Column) -> Column:
        fields = {field: cells.of_column(self._map.columns[field][0]) for field in CUSTOMER if field in self._map.columns}
        if not fields:
            return same((), cells.rows)
        names = [_KEY_OF_FIELD.get(field, field) for field in fields]
        named = together(*fields.values()).each(lambda own: tuple(zip(names, own, strict=True)))
        customers = trouble.read("customer", named, self._customers)
        if trouble.faults:
            return same((), cells.rows)
        ground = self._ground
        when = column_of(times) if ground.shares else same(0, cells.rows)  # coalitions alone ask for it

        def keys(said: tuple[Customer, Instant, Consent]) -> tuple[str, ...]:
            customer, at, consent = said
            return keys_of(customer.identifiers, ground.key, ground.shares, at, consent) if consent != "denied" else ()

        return together(customers, when, consents).each(keys)

    def _ids(self, times: list[Instant], named: Column, columns: Iterable[pa.Array], own: Column) -> pa.Array:
        """By the file's own ids where it has them, else by everything that the touches say."""
        names = named.by_row()
        if all(names):
            return ids_at(times, self._named.of_all(names))
        contents = self._unnamed.of_all(_joined(columns, own))
        return ids_at(times, [self._named.of(name) if name else content for name, content in zip(names, contents, strict=True)])

    def _refuse_repeats(self, trouble: Trouble, named: Column, times: list[Instant], contents: list[Column]) -> None:
        """An id that comes again at the same time with another content is not taken: which of them happened?"""
        if len(self._said) > MOST_NAMED:
            self._said.clear()
        said, ids, content = self._said, numbers_of([named, one_each(times)]).tolist(), numbers_of(contents).tolist()
        for row in named.rows_where(named.values):
            if said.setdefault(ids[row], content[row]) != content[row]:
                what = f"{named.values[named.codes[row]]!r:.140} came before in this file, at the same time and with another content"
                trouble.add(row, "touch_id", f"{what}; a touch of its own needs an id of its own")

    def _early(self, places: Column, times: list[Instant]) -> int:
        """How many touches earn nothing because their affiliate was no member yet, or no more."""
        members, new = self._ground.affiliates.members, self._ground.affiliates.new
        known = [members.get(place) if place not in new else None for place in places.values]
        first, last = min(times), max(times)
        if all(member is None or (member.active_at(first) and member.active_at(last)) for member in known):
            return 0
        return sum(
            member is not None and not member.active_at(at) for member, at in zip(Column(known, places.codes).by_row(), times, strict=True)
        )


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


def _with_keys(table: pa.Table, customers: Column) -> list[Touch]:
    """The touches that know their person, as far as that is what they are asked for."""
    rows = customers.rows_where(customers.values)
    if not rows:
        return []
    own = table.take(pa.array(rows))
    ids, tenants, visitors, keys = (own[name].to_pylist() for name in ("touch_id", "tenant_id", "visitor_id", "customer_keys"))
    times = own["occurred_at"].cast(pa.int64()).to_pylist()
    return [
        Touch(touch_id, "click", tenant_id, "", "", "", at, 0, visitor_id, customer_keys=tuple(known), source="import")
        for touch_id, tenant_id, at, visitor_id, known in zip(ids, tenants, times, visitors, keys, strict=True)
    ]


def _joined(columns: Iterable[pa.Array], more: Column) -> list[str]:
    """Everything that each row says as one text; ``more`` are its sub ids and its customer's keys."""
    ends = more.each(lambda both: "".join([f"\x1f{one}" for one in (*both[0], "", *both[1])])).arrow()
    joined: list[str] = pc.binary_join_element_wise(pc.binary_join_element_wise(*columns, "\x1f"), ends, "").to_pylist()
    return joined


def _unless_denied(column: Column, consents: Column, then: Callable[[str], str]) -> Column:
    """The column; of rows whose consent was denied, only what ``then`` leaves of it."""
    return together(column, consents).each(lambda both: then(both[0]) if both[1] == "denied" else both[0])


def _nothing(_value: str) -> str:
    return ""


_DENIED = {"visitor_id": _nothing, "ip": _nothing, "user_agent": _nothing, "referrer": site_of}
"""What is left of these where consent was denied."""


def _read_address(text: str) -> str:
    try:
        return str(ip_address(text)) if text else ""
    except ValueError:
        raise BadInput("malformed", f"{text!r:.60} is not an IP address", "ip") from None


def _without_tail(subs: tuple[str, ...]) -> tuple[str, ...]:
    """Sub ids, empty ones at the end left out."""
    while subs and not subs[-1]:
        subs = subs[:-1]
    return subs
