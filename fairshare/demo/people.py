"""The demo's customers: who they are to a merchant, and the keys that join their devices. Pure."""

from random import Random

from core.clock import Instant
from core.identity import KeyKind, customer_key, tenant_key
from fairshare.demo.cast import NORTH, PAGES
from fairshare.demo.visitors import Device, device

_FIRST = "Ada Ben Clara David Elif Finn Greta Hugo Ines Jan Klara Luca Mia Noah Olga Paul Rosa Sam Tess Uwe Vera Will Yara Zoe".split()
_LAST = "Adler Brandt Costa Dahl Evans Frank Gruber Hart Ivers Jensen Klein Lang Moore Nagel Olsen Price Quist Reed Stein Tran".split()
_DIALLING = {NORTH: "+49 151", PAGES: "+44 7700"}


class Person:
    """A customer of one tenant. ``orders`` counts what was ordered so far, ``last_order`` says when, as an offset."""

    def __init__(self, tenant_id: str, number: int, name: str, phone: str, first_device: Device) -> None:
        self.tenant_id = tenant_id
        self.number = number
        self.identifiers: dict[KeyKind, str] = {
            "customer_id": f"C-{number}",
            "email": f"{name.lower().replace(' ', '.')}.{number}@mail.example",
            "phone": phone,
            "loyalty_id": f"L-{number}",
        }
        self.devices = [first_device]
        self.orders = 0
        self.last_order: Instant = 0
        self.known_by: set[KeyKind] = set()
        """Identifiers that a lead has joined to the first device."""


class Register:
    """All customers, by tenant, and their keyed hashes under one installation's secret."""

    def __init__(self, rng: Random, secret: bytes) -> None:
        self._rng = rng
        self._keys: dict[str, bytes] = {}
        self._secret = secret
        self._people: dict[str, list[Person]] = {}

    def add(self, tenant_id: str, first_seen: Instant) -> Person:
        """A new customer with one device, first seen at ``first_seen``."""
        people = self._people.setdefault(tenant_id, [])
        name = f"{self._rng.choice(_FIRST)} {self._rng.choice(_LAST)}"
        number = 100_001 + len(people)
        phone = f"{_DIALLING.get(tenant_id, '+43 664')} {number * 7919 % 10**7:07d}"
        person = Person(tenant_id, number, name, phone, device(self._rng, tenant_id, first_seen))
        people.append(person)
        return person

    def regular(self, tenant_id: str, before: Instant) -> Person | None:
        """Somebody who ordered before ``before`` and may come again; None while nobody did."""
        candidates = [person for person in self._people.get(tenant_id, ())[-400:] if person.orders and person.last_order < before]
        return self._rng.choice(candidates) if candidates else None

    def keys(self, person: Person, *kinds: KeyKind) -> tuple[str, ...]:
        """The person's identifiers of these kinds, as events carry them."""
        key = self._keys.setdefault(person.tenant_id, tenant_key(self._secret, person.tenant_id))
        hashed = (customer_key(kind, person.identifiers[kind], key) for kind in kinds)
        return tuple(one for one in hashed if one is not None)
