"""An events store that keeps time: how long each question and each insert took, and what was inserted."""

import time
from typing import Any, NamedTuple

from store.events import EventsStore, Query


class Inserted(NamedTuple):
    """A block as it was sent."""

    table: str
    lines: bytes
    token: str


class WatchedEvents(EventsStore):
    """Passes everything on to ``store``. ``seconds`` is by question (its name) and by table (``insert into …``)."""

    def __init__(self, store: EventsStore) -> None:
        self._store = store
        self.seconds: dict[str, float] = {}
        self.inserted: list[Inserted] = []

    def select(self, query: Query, **params: Any) -> list[tuple[Any, ...]]:
        began = time.perf_counter()
        try:
            return self._store.select(query, **params)
        finally:
            self._note(query.name, began)

    def select_bytes(self, query: Query, **params: Any) -> bytes:
        began = time.perf_counter()
        try:
            return self._store.select_bytes(query, **params)
        finally:
            self._note(query.name, began)

    def select_table(self, query: Query, **params: Any) -> Any:
        began = time.perf_counter()
        try:
            return self._store.select_table(query, **params)
        finally:
            self._note(query.name, began)

    def insert_native(self, table: str, block: bytes, token: str) -> None:
        began = time.perf_counter()
        self._store.insert_native(table, block, token)
        self._note(f"insert into {table}", began)

    def insert_json(self, table: str, lines: bytes, token: str) -> None:
        began = time.perf_counter()
        self._store.insert_json(table, lines, token)
        self._note(f"insert into {table}", began)
        self.inserted.append(Inserted(table, lines, token))

    def command(self, sql: str, **params: Any) -> Any:
        return self._store.command(sql, **params)

    def close(self) -> None:
        """The one who opened the store closes it."""

    def profile(self, total_seconds: float) -> dict[str, float]:
        """Seconds by question, longest first; ``everything else`` is what the caller did between them."""
        ranked = sorted(self.seconds.items(), key=lambda item: -item[1])
        named = {name: round(seconds, 4) for name, seconds in ranked}
        return named | {"everything else": round(total_seconds - sum(self.seconds.values()), 4)}

    def _note(self, name: str, began: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
