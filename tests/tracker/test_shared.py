"""Trackers that share a Redis: one cap, one link table; and a Redis that dies, is emptied or holds garbage costs nothing."""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from core.catalogue import Affiliate, ApiKey, Coalition, CoalitionMember, Link, Programme, Tenant
from core.clock import DAY
from core.settings import Settings
from store.books import Books, open_books
from store.catalogue import put
from tests.fakes import FakeClock
from tests.servers import RedisServer
from tracker import kept, shared
from tracker.exchange import Exchange, Neighbours, open_neighbours
from tracker.kept import KeptCounts, KeptLinks
from tracker.limits import CAPPED, Counts, Limits
from tracker.links import LinkEntry, LinkTable, build_table
from tracker.shared import Redis, SharedCounts, SharedLinks
from tracker.snapshot import Packed
from tracker.watch import Watch, read_table

SECRET = b"the secret of the installation.."
TENANT = Tenant("north", "North", "EUR", click_parameter="nc")
MAIN = Programme("north", "main", "Main", "https://north.example/", hosts=("north.example",), daily_click_cap=900)


def link(total: int) -> LinkEntry:
    row = ("spring", "north", "main", "anna", "https://north.example/spring", "web", False, None, total, "")
    return build_table(1, [TENANT], [Programme("north", "main", "Main", "https://north.example/")], [row], {}, SECRET).links["spring"]


class Tracker:
    """The shared half of a tracker: ``click`` is one person, ``step`` one exchange. Its thread is not started."""

    def __init__(self, tracker_id: str, folder: Path, url: str, clock: FakeClock) -> None:
        self.clock = clock
        (folder / tracker_id).mkdir(parents=True, exist_ok=True)
        self.limits = Limits(tracker_id, clicks_a_minute=0)
        self.redis = Redis(url, SECRET)
        self.counts = SharedCounts(self.redis)
        self.exchange = Exchange(self.limits, KeptCounts(folder / tracker_id), self.counts, clock)

    def click(self, of: LinkEntry, count: int = 1) -> int:
        """How many of so many clicks were let through."""
        return sum(self.limits.verdict(of, "192.0.2.1", self.clock()) == () for _ in range(count))

    def step(self) -> None:
        self.exchange.step()


Make = Callable[[str], Tracker]


@pytest.fixture
def tracker(redis: RedisServer, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Trackers by id, each on a machine of its own: no folder in common."""
    monkeypatch.setattr(shared, "REST_AFTER_FAILURE_S", 0.0)
    made: list[Tracker] = []

    def make(tracker_id: str) -> Tracker:
        made.append(Tracker(tracker_id, tmp_path / tracker_id, redis.url, clock))
        return made[-1]

    yield make
    for one in made:
        one.redis.close()


def exchange(*trackers: Tracker) -> None:
    """Everybody says, then everybody hears."""
    for _ in "12":
        for one in trackers:
            one.step()


# --- caps ------------------------------------------------------------------------------------------------------------


def test_two_trackers_share_a_cap_but_for_what_comes_between_two_exchanges(tracker: Make):
    one, two, of, chance = tracker("t0"), tracker("t1"), link(total=200), random.Random(3)
    through = beyond_reach = 0
    while through < 200:
        turn = sum(chance.choice((one, two)).click(of, chance.randint(0, 9)) for _ in range(3))
        beyond_reach = max(0, through + turn - 200)
        through += turn
        exchange(one, two)

    assert through - 200 == beyond_reach <= 27, "what one turn brought, and no more"
    assert one.click(of) == two.click(of) == 0
    assert one.counts.garbage == two.counts.garbage == 0


def test_a_redis_that_dies_stops_no_click_and_counts_come_together_afterwards(tracker: Make, redis: RedisServer):
    one, two, of = tracker("t0"), tracker("t1"), link(total=100)
    assert (one.click(of, 10), two.click(of, 10)) == (10, 10)
    exchange(one, two)

    redis.kill()
    exchange(one, two)
    assert one.redis.failures > 0
    assert one.redis.last_failure == "ConnectionError"
    assert (one.click(of, 200), two.click(of, 20)) == (80, 20), "all that is left, as far as this one knows; never more"
    exchange(one, two)

    redis.start()
    exchange(one, two)
    assert two.click(of) == 0, "it hears of the 90 of the other"
    assert two.limits.counts(two.clock()).clicks["link spring"][1] == 30


def test_an_emptied_redis_is_full_again_after_one_exchange(tracker: Make, redis: RedisServer):
    one, two, of = tracker("t0"), tracker("t1"), link(total=30)
    one.click(of, 20)
    exchange(one, two)
    redis.client.flushall()
    exchange(one, two)  # nobody counted anything new meanwhile
    three = tracker("t2")
    exchange(one, two, three)

    assert three.click(of, 99) == 10


@pytest.mark.parametrize("garbage", [b"", b"garbage", b"\xff" * 5000, b"\x97\x01\x00"])
def test_garbage_in_a_field_leaves_what_was_known_and_is_counted(tracker: Make, redis: RedisServer, garbage: bytes):
    one, two, of = tracker("t0"), tracker("t1"), link(total=30)
    one.click(of, 20)
    exchange(one, two)
    redis.client.hset(f"{one.redis.prefix}counts", mapping={"t0": garbage, "t9": garbage})
    two.step()

    assert two.counts.garbage == 2
    assert two.click(of, 99) == 10
    exchange(one, two)
    assert two.counts.garbage == 2
    assert one.click(of) == 0


@pytest.mark.parametrize("command", [("SET", "text"), ("RPUSH", "list")])
def test_a_key_of_another_kind_gives_way(tracker: Make, redis: RedisServer, command: tuple[str, str]):
    one, two, of = tracker("t0"), tracker("t1"), link(total=30)
    redis.client.execute_command(command[0], f"{one.redis.prefix}counts", command[1])
    one.click(of, 20)
    exchange(one, two)
    exchange(one, two)
    assert two.click(of, 99) == 10


def test_a_flood_of_fields_is_not_read(tracker: Make, redis: RedisServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shared, "TRACKERS", 3)
    one, two, of = tracker("t0"), tracker("t1"), link(total=30)
    redis.client.hset(f"{one.redis.prefix}counts", mapping={f"x{number}": b"?" for number in range(9)})
    one.click(of, 20)
    exchange(one, two)
    exchange(one, two)
    assert two.click(of, 99) == 10


def test_another_installation_on_the_same_redis_is_not_heard(tracker: Make, redis: RedisServer, tmp_path: Path, clock: FakeClock):
    one, of = tracker("t0"), link(total=30)
    one.click(of, 20)
    exchange(one)
    other = Redis(redis.url, b"another secret of another one....")
    with closing(other):
        assert SharedCounts(other).exchange(None) == {}


# --- restarts --------------------------------------------------------------------------------------------------------


def test_a_total_cap_survives_a_restart_through_the_folder(tracker: Make, redis: RedisServer):
    redis.kill()
    one, of = tracker("t0"), link(total=30)
    one.exchange.start()
    one.click(of, 20)
    one.exchange.stop()
    again = tracker("t0")
    again.exchange.start()
    try:
        assert again.click(of, 99) == 10
    finally:
        again.exchange.stop()


def test_a_tracker_whose_disk_is_gone_finds_its_counts_in_redis(tracker: Make, tmp_path: Path, clock: FakeClock):
    one, of = tracker("t0"), link(total=30)
    one.click(of, 20)
    exchange(one)
    (tmp_path / "t0" / "t0" / kept.COUNTS).unlink(missing_ok=True)
    again = tracker("t0")
    exchange(again)

    assert again.click(of, 99) == 10
    exchange(again)
    assert again.limits.counts(clock()).clicks["link spring"][1] == 30
    assert again.limits.counts(clock() + DAY).clicks["link spring"] == (0, 30)


def test_redis_that_comes_late_gives_an_earlier_life_back(tracker: Make, redis: RedisServer, tmp_path: Path):
    one, of = tracker("t0"), link(total=30)
    one.click(of, 20)
    exchange(one)
    redis.client.save()
    redis.kill()
    (tmp_path / "t0" / "t0" / kept.COUNTS).unlink(missing_ok=True)
    again = tracker("t0")
    exchange(again)
    assert again.click(of, 4) == 4

    redis.start()
    exchange(again)
    assert again.click(of, 99) == 6, "20 before, 4 while Redis was away"


def test_trackers_of_one_machine_hear_each_other_through_their_folders(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tracker.exchange.KEEP_EVERY_S", 0.0)
    of, pair = link(total=30), []
    for name in ("t0", "t1"):
        (tmp_path / name).mkdir()
        limits = Limits(name, clicks_a_minute=0)
        pair.append((limits, Exchange(limits, KeptCounts(tmp_path / name), None, clock)))
    (one, exchange_one), (two, exchange_two) = pair
    assert [one.verdict(of, "192.0.2.1", clock()) for _ in range(20)] == [()] * 20
    exchange_one.step()
    exchange_two.step()

    assert [two.verdict(of, "192.0.2.1", clock()) for _ in range(12)] == [()] * 10 + [CAPPED] * 2
    (tmp_path / "t0" / kept.COUNTS).write_bytes(b"garbage")
    exchange_two.step()
    assert two.verdict(of, "192.0.2.1", clock()) == CAPPED


def test_a_full_disk_is_no_matter(tmp_path: Path):
    assert not KeptCounts(tmp_path / "nowhere").save(Counts("t0", 1, 0, {}))
    assert KeptCounts(tmp_path / "nowhere").load() == {}


def test_the_thread_exchanges_by_itself(redis: RedisServer, tmp_path: Path, clock: FakeClock):
    settings = Settings(data=tmp_path, queue_url=redis.url)
    for name in ("t0", "t1"):
        (settings.spool / name).mkdir(parents=True)
    one, two = (open_neighbours(settings, name, SECRET, clock) for name in ("t0", "t1"))
    for each in (one, two):
        each.exchange.start()
    of = link(total=30)
    try:
        assert sum(one.limits.verdict(of, f"192.0.2.{number}", clock()) == () for number in range(20)) == 20
        _wait_until(lambda: two.exchange.state()["trackers"] >= 1 and _room(two, of, clock) == 10)
    finally:
        one.close()
        two.close()
    assert two.exchange.state()["failures"] == 0


def test_a_first_exchange_that_fails_stops_no_tracker(tracker: Make, monkeypatch: pytest.MonkeyPatch):
    one = tracker("t0")

    def fail() -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(one.exchange, "step", fail)
    one.exchange.start()
    one.exchange.stop()
    assert one.exchange.state()["failures"] >= 1


def _room(neighbours: Neighbours, of: LinkEntry, clock: FakeClock) -> int:
    tally = neighbours.limits._tallies.get("link spring")
    return 30 - tally.in_all - tally.elsewhere_in_all if tally else 30


def _wait_until(condition: Callable[[], bool]) -> None:
    import time

    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


# --- the link table --------------------------------------------------------------------------------------------------


def table_of(count: int = 3_000, version: int = 7, **changed: str) -> LinkTable:
    rows = [
        (
            f"code-{number}",
            "north",
            "main",
            f"a{number % 7}",
            f"https://north.example/{number}",
            "web",
            number % 5 == 0,
            None,
            number or None,
            "",
        )
        for number in range(count)
    ]
    rows += [(code, "north", "main", "anna", url, "app", False, 1, 2, "https://north.example/no") for code, url in changed.items()]
    fair = Coalition("fair", "Fair", (CoalitionMember("north", 3, 9),), marketplace_id="mall")
    keys = {"ab" * 32: "north"}
    return build_table(version, [TENANT], [MAIN], rows, keys, SECRET, changed_at=5, what="added link code-1", coalitions=[fair])


def same(one: LinkTable | None, other: LinkTable) -> bool:
    return (
        one is not None
        and (one.version, one.changed_at, one.what, one.tenants, one.programmes, one.keys, one.coalition_records)
        == (other.version, other.changed_at, other.what, other.tenants, other.programmes, other.keys, other.coalition_records)
        and len(one.links) == len(other.links)
        and {code: one.links[code] for code in one.links} == {code: other.links[code] for code in other.links}
    )


@pytest.fixture
def depot(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], SharedLinks]]:
    """One tracker's way to the snapshot in Redis, each with a connection of its own."""
    monkeypatch.setattr(shared, "REST_AFTER_FAILURE_S", 0.0)
    made: list[Redis] = []

    def make() -> SharedLinks:
        made.append(Redis(redis.url, SECRET))
        return SharedLinks(made[-1], SECRET, Packed())

    yield make
    for one in made:
        one.close()


def test_a_table_goes_through_redis_and_back(depot: Callable[[], SharedLinks]):
    table = table_of()
    assert depot().load() is None
    assert depot().save(table)
    assert same(depot().load(), table)


def test_a_table_goes_through_the_folder_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kept, "LINKS_FROM", 100)
    table = table_of()
    assert KeptLinks(tmp_path, SECRET, Packed()).load() is None
    assert KeptLinks(tmp_path, SECRET, Packed()).save(table)
    assert same(KeptLinks(tmp_path, SECRET, Packed()).load(), table)
    assert KeptLinks(tmp_path, b"another secret, of 32 characters", Packed()).load() is None


def test_a_small_table_is_not_written_down(tmp_path: Path):
    assert KeptLinks(tmp_path, SECRET, Packed()).save(table_of())
    assert not (tmp_path / kept.LINKS).exists()


@pytest.mark.parametrize("cut", [0, 1, 7, 40, 100, 5_000, -1])
def test_half_a_file_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int):
    monkeypatch.setattr(kept, "LINKS_FROM", 100)
    KeptLinks(tmp_path, SECRET, Packed()).save(table_of())
    path = tmp_path / kept.LINKS
    path.write_bytes(path.read_bytes()[:cut])
    assert KeptLinks(tmp_path, SECRET, Packed()).load() is None


def test_a_turned_bit_anywhere_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kept, "LINKS_FROM", 100)
    KeptLinks(tmp_path, SECRET, Packed()).save(table_of())
    path, chance = tmp_path / kept.LINKS, random.Random(5)
    whole = path.read_bytes()
    for _ in range(40):
        at = chance.randrange(8, len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
        loaded = KeptLinks(tmp_path, SECRET, Packed()).load()
        assert loaded is None or same(loaded, table_of()), "a turned bit of a chunk's length may show the same chunk"


def test_a_changed_link_writes_one_chunk_anew_and_the_old_one_goes_in_the_end(depot: Callable[[], SharedLinks], redis: RedisServer):
    writer, chunks = depot(), f"{Redis(redis.url, SECRET).prefix}links:chunks"
    writer.save(table_of())
    first = set(redis.client.hkeys(chunks))
    second_table = build_table(8, [TENANT], [MAIN], [("code-1", "north", "main", "b", "https://x/", "web", False)], {}, SECRET, table_of())
    writer.save(second_table)
    second = set(redis.client.hkeys(chunks))
    assert len(second - first) == 1
    assert first < second, "a reader of the first head may still be at it"

    writer.save(build_table(9, [TENANT], [MAIN], [("code-2", "north", "main", "b", "https://x/", "web", False)], {}, SECRET, second_table))
    third = set(redis.client.hkeys(chunks))
    assert (len(third - second), len(second - third)) == (1, 1)


def test_an_older_table_does_not_push_out_a_newer_one(depot: Callable[[], SharedLinks]):
    depot().save(table_of(version=9))
    assert depot().save(table_of(version=8))
    loaded = depot().load()
    assert loaded is not None
    assert loaded.version == 9


def test_a_newer_snapshot_of_books_that_were_put_back_gives_way(full: Books, depot: Callable[[], SharedLinks]):
    depot().save(table_of(version=9_999))
    watch = Watch(full, SECRET, depots=[depot()])
    watch.look()
    watch.save()
    assert same(depot().load(), read_table(full, SECRET))

    early = watch.table
    with full.writing() as connection:
        put(connection, Link("c7", "north", "main", "anna", "https://north.example/new", disabled=True), "test", 2)
    watch.look()
    watch.save()
    late = Watch(full, SECRET, depots=[depot()])
    late.look()
    late.table = early
    late.save()
    assert same(depot().load(), watch.table), "one that is newer and of these books stays"


def test_a_snapshot_with_the_same_number_and_another_change_gives_way(depot: Callable[[], SharedLinks]):
    depot().save(table_of())
    other = structs.replace(table_of(lost="https://north.example/lost"), what="added link lost")
    depot().save(other)
    assert same(depot().load(), other)


def test_a_kept_table_of_books_that_were_put_back_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kept, "LINKS_FROM", 100)
    folder = KeptLinks(tmp_path, SECRET, Packed())
    other = structs.replace(table_of(lost="https://north.example/lost"), what="added link lost")
    for table in (table_of(), other, table_of(version=3)):
        folder.save(table)
        assert same(KeptLinks(tmp_path, SECRET, Packed()).load(), table), "without a rest"
    folder.save(table_of(count=50, version=4))
    assert list(tmp_path.iterdir()) == [], "a small table is not kept, and no large one in its place"


def test_a_chunk_that_is_missing_or_damaged_is_written_again(depot: Callable[[], SharedLinks], redis: RedisServer):
    one, two = depot(), depot()
    one.save(table_of())
    chunks = f"{Redis(redis.url, SECRET).prefix}links:chunks"
    names = redis.client.hkeys(chunks)
    redis.client.hset(chunks, names[3], b"garbage")
    assert (two.load(), two.garbage) == (None, 1)
    assert two.save(table_of())
    assert same(two.load(), table_of())

    redis.client.hdel(chunks, names[5])
    assert one.load() is None
    one.save(table_of())
    assert same(two.load(), table_of())


@pytest.mark.parametrize("garbage", [b"", b"garbage" * 20, os.urandom(200)])
def test_a_head_of_strangers_is_not_believed(depot: Callable[[], SharedLinks], redis: RedisServer, garbage: bytes):
    prefix = Redis(redis.url, SECRET).prefix
    redis.client.set(f"{prefix}links", garbage)
    assert depot().load() is None
    redis.client.delete(f"{prefix}links")
    redis.client.rpush(f"{prefix}links", garbage)
    redis.client.set(f"{prefix}links:chunks", garbage)
    assert depot().load() is None
    one = depot()
    assert one.save(table_of()), "and it gives way"
    assert same(one.load(), table_of())


def test_a_head_that_somebody_else_signed_leads_nobody_elsewhere(depot: Callable[[], SharedLinks], redis: RedisServer):
    forger = Redis(redis.url, b"what somebody else takes for a key")
    forger.prefix = Redis(redis.url, SECRET).prefix
    with closing(forger):
        assert SharedLinks(forger, b"what somebody else takes for a key", Packed()).save(table_of(code="https://evil.example/"))
    assert depot().load() is None


def test_only_one_writes_at_a_time(depot: Callable[[], SharedLinks], redis: RedisServer):
    redis.client.set(f"{Redis(redis.url, SECRET).prefix}links:writer", b"")
    assert not depot().save(table_of())
    assert depot().load() is None


def test_what_lies_in_redis_holds_no_secret(depot: Callable[[], SharedLinks], redis: RedisServer):
    table = table_of()
    depot().save(table)
    everything = b"".join(redis.client.dump(key) or b"" for key in redis.client.keys("*"))
    prefix = Redis(redis.url, SECRET).prefix
    everything += redis.client.get(f"{prefix}links") + b"".join(redis.client.hvals(f"{prefix}links:chunks"))
    assert b"north.example/17" in everything
    for secret in (SECRET, *(tenant.key for tenant in table.tenants.values())):
        assert secret not in everything
        assert secret.hex().encode() not in everything


# --- the watch -------------------------------------------------------------------------------------------------------


class Counting:
    """Books that count how many links were read from them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from store import links

        self.rows = 0

        def counted(*arguments: object) -> Iterator[object]:
            for row in links.stream_links(*arguments):  # type: ignore[arg-type]
                self.rows += 1
                yield row

        monkeypatch.setattr("tracker.watch.stream_links", counted)


@pytest.fixture
def full(sqlite_url: str) -> Iterator[Books]:
    with closing(open_books(sqlite_url)) as books:
        with books.writing() as connection:
            for record in (TENANT, MAIN, Affiliate("anna", "Anna", "a@b.example"), ApiKey("k1", "north", "shop", "ab" * 32)):
                put(connection, record, "test", 1)
            for number in range(50):
                put(connection, Link(f"c{number}", "north", "main", "anna", f"https://north.example/{number}"), "test", 1)
        yield books


def test_a_second_tracker_reads_only_what_changed_since_the_snapshot(
    full: Books, depot: Callable[[], SharedLinks], monkeypatch: pytest.MonkeyPatch
):
    counting = Counting(monkeypatch)
    first = Watch(full, SECRET, depots=[depot()])
    first.look()
    first.save()
    assert counting.rows == 50

    with full.writing() as connection:
        put(connection, Link("c7", "north", "main", "anna", "https://north.example/new", disabled=True), "test", 2)
    counting.rows = 0
    second = Watch(full, SECRET, depots=[depot()])
    second.look()
    assert counting.rows == 1
    assert same(second.table, read_table(full, SECRET))
    assert second.table.links["c7"].disabled
    first.look()
    assert counting.rows == 1 + 50 + 1, "so does the first one: one, the whole for comparison, one"
    assert same(first.table, second.table)


def test_without_books_the_snapshot_serves_and_without_both_nothing(
    full: Books, depot: Callable[[], SharedLinks], redis: RedisServer, tmp_path: Path
):
    first = Watch(full, SECRET, depots=[depot()])
    first.look()
    first.save()
    gone = open_books(f"sqlite:///{tmp_path}/missing/books.sqlite")
    late = Watch(gone, SECRET, depots=[depot()])
    late.look()
    assert (late.is_loaded, late.is_current, late.failures) == (True, False, 1)
    assert late.table.links["c7"].destination == "https://north.example/7"
    assert late.table.keys == {"ab" * 32: "north"}

    redis.kill()
    late.look()
    assert late.table.links["c7"], "the table at hand stays"
    nothing = Watch(gone, SECRET, depots=[depot()])
    nothing.look()
    assert not nothing.is_loaded
    back = Watch(full, SECRET, depots=[depot()])
    back.look()
    assert same(back.table, first.table), "and without Redis the books are read"
    back.save()
    gone.close()


def test_a_stop_leaves_the_newest_table_that_was_read_even_while_the_books_are_down(
    full: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kept, "LINKS_FROM", 10)
    folder = KeptLinks(tmp_path, SECRET, Packed())
    watch = Watch(full, SECRET, depots=[folder])
    watch.look()
    watch.save()
    with full.writing() as connection:
        put(connection, Link("c7", "north", "main", "anna", "https://north.example/7", disabled=True), "test", 2)
    watch.look()
    watch.save()
    assert not KeptLinks(tmp_path, SECRET, Packed()).load().links["c7"].disabled, "the file rests"  # type: ignore[union-attr]

    with closing(open_books(f"sqlite:///{tmp_path}/missing/books.sqlite")) as gone:
        watch._books = gone
        watch.look()
        watch.stop()
        late = Watch(gone, SECRET, depots=[KeptLinks(tmp_path, SECRET, Packed())])
        late.look()
    assert (watch.is_current, late.is_current) == (False, False)
    assert late.table.links["c7"].disabled


def test_a_snapshot_of_other_books_is_not_built_upon(full: Books, depot: Callable[[], SharedLinks], monkeypatch: pytest.MonkeyPatch):
    depot().save(table_of(version=3))
    counting = Counting(monkeypatch)
    watch = Watch(full, SECRET, depots=[depot()])
    watch.look()
    assert counting.rows == 50
    assert set(watch.table.links) == {f"c{number}" for number in range(50)}


def test_books_put_back_from_a_copy_are_read_anew(full: Books, sqlite_url: str, tmp_path: Path):
    path, copy = Path(sqlite_url.removeprefix("sqlite:///")), tmp_path / "copy.sqlite"
    with full.writing() as connection:
        connection.exec_driver_sql("PRAGMA user_version=1")
    full.close()
    copy.write_bytes(path.read_bytes())
    watch = Watch(full, SECRET)
    with full.writing() as connection:
        put(connection, Link("lost", "north", "main", "anna", "https://north.example/lost"), "test", 2)
    watch.look()
    assert "lost" in watch.table.links
    full.close()
    for name in path.parent.glob(f"{path.name}*"):
        name.unlink()
    path.write_bytes(copy.read_bytes())
    with full.writing() as connection:
        put(connection, Link("found", "north", "main", "anna", "https://north.example/found"), "test", 3)
        put(connection, Link("more", "north", "main", "anna", "https://north.example/more"), "test", 3)
    watch.look()

    assert "lost" not in watch.table.links
    assert {"found", "more", "c1"} <= set(watch.table.links)
