"""The events store: the same claims in process, over HTTP, and on a real server where one is named."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from core.errors import InUse, Unavailable
from core.settings import Settings
from store import events as module
from store.events import EventsStore, Query, connect_events, open_events
from store.installation import lock_data

LEADS = Query("leads", "SELECT lead_id, toUnixTimestamp64Milli(received_at) FROM leads ORDER BY lead_id")
LEADS_OF = Query(
    "leads_of", "SELECT lead_id FROM leads WHERE tenant_id = {tenant_id:String} AND lead_id IN {ids:Array(String)} ORDER BY lead_id"
)


def lead(lead_id: str, tenant_id: str = "north") -> bytes:
    return b'{"tenant_id":"%s","lead_id":"%s","received_at":1700000000.123}\n' % (tenant_id.encode(), lead_id.encode())


# --- what it stores --------------------------------------------------------------------------------------------------


def test_a_json_block_is_stored_to_the_millisecond(any_events: EventsStore) -> None:
    any_events.insert_json("leads", lead("a") + lead("b"), token="one")

    assert any_events.select(LEADS) == [("a", 1_700_000_000_123), ("b", 1_700_000_000_123)]


def test_a_block_of_columns_is_stored_whatever_it_holds(any_events: EventsStore) -> None:
    """Two newlines in a row end the rows of a statement, for chDB: a binary block must not stand in one."""
    texts = ["\n\n", "a\n\nb", "\x00;'\\", "日本"]
    columns = {
        "tenant_id": ["north"] * 4,
        "touch_id": texts,
        "occurred_at": pa.array([0x0A0A + number for number in range(4)], pa.timestamp("ms", "UTC")),
        "subs": [texts, [], ["x"], []],
    }
    for _ in range(2):
        any_events.insert_columns("touches", pa.table(columns), "one")

    stored = Query("stored", "SELECT touch_id, toUnixTimestamp64Milli(occurred_at), subs FROM touches ORDER BY occurred_at")
    assert any_events.select(stored) == list(zip(texts, range(0x0A0A, 0x0A0E), [texts, [], ["x"], []], strict=True))


def test_the_same_token_stores_once_and_another_token_stores_again(any_events: EventsStore) -> None:
    for token in ("one", "one", "two"):
        any_events.insert_json("leads", lead("a"), token)

    assert len(any_events.select(LEADS)) == 2


def test_nested_columns_are_stored_as_arrays(any_events: EventsStore) -> None:
    order = json.dumps(
        {"tenant_id": "north", "order_id": "o1", "coupons": ["SAVE"], "lines.line_id": ["1", "2"], "lines.net_minor": [10_00, 5_00]}
        | {f"lines.{name}": ["", ""] for name in ("sku", "name", "category")}
        | {"lines.quantity": [1, 1]}
    ).encode()
    for _ in range(2):
        any_events.insert_json("orders", order, token="one")

    rows = any_events.select_named(
        Query("q", "SELECT `lines.line_id` AS ids, `lines.net_minor` AS net, coupons FROM orders ORDER BY order_id")
    )
    assert rows == [{"ids": ["1", "2"], "net": [10_00, 5_00], "coupons": ["SAVE"]}]


def test_parameters_are_bound_whatever_they_hold(any_events: EventsStore) -> None:
    strange = 'it\'s\t"quoted"\\n; DROP TABLE leads --\r\n€'
    leads = [json.dumps({"tenant_id": tenant_id, "lead_id": strange}) for tenant_id in ("north", "south")]
    any_events.insert_json("leads", "\n".join(leads).encode(), token="one")

    assert any_events.select(LEADS_OF, tenant_id="north", ids=[strange]) == [(strange,)]


def test_five_thousand_ids_fit_into_one_question(any_events: EventsStore) -> None:
    any_events.insert_json("leads", lead("lead-00042"), token="one")

    assert any_events.select(LEADS_OF, tenant_id="north", ids=[f"lead-{n:05}" for n in range(5_000)]) == [("lead-00042",)]


# --- when it cannot --------------------------------------------------------------------------------------------------


def test_a_refused_question_names_itself_and_the_stores_words(any_events: EventsStore) -> None:
    with pytest.raises(Unavailable, match=r"the events store refuses wrong: Code: 47.*nope"):
        any_events.select(Query("wrong", "SELECT nope"))


def test_a_malformed_block_stores_nothing(any_events: EventsStore) -> None:
    with pytest.raises(Unavailable, match="refuses insert into leads"):
        any_events.insert_json("leads", lead("a") + b'{"tenant_id":"north","lead_id":', token="one")

    assert any_events.select(LEADS) == []


def test_a_server_that_is_down_is_unavailable_in_one_line() -> None:
    with pytest.raises(Unavailable) as caught:
        connect_events("clickhouse://user:hidden@127.0.0.1:9/default")

    assert str(caught.value) == "the events store at http://127.0.0.1:9 cannot be reached: Connection refused"


def test_a_closed_store_says_so(chdb_folder: Path, chdb_store: EventsStore) -> None:
    store = connect_events(f"chdb://{chdb_folder}")
    store.close()

    with pytest.raises(Unavailable, match="the events store was closed"):
        store.select(LEADS)


# --- many threads ----------------------------------------------------------------------------------------------------


def test_threads_ask_at_the_same_time(any_events: EventsStore) -> None:
    """As many questions as there are clients take hardly longer than one, if they only wait."""
    asleep = Query("asleep", "SELECT sleep(0.3)")
    began = time.monotonic()
    threads = [threading.Thread(target=any_events.select, args=(asleep,)) for _ in range(module.MAX_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert time.monotonic() - began < 0.3 * module.MAX_CLIENTS / 2


def test_more_threads_than_clients_take_turns(any_events: EventsStore) -> None:
    answers: list[int] = []

    def ask(number: int) -> None:
        answers.append(any_events.select(Query("echo", "SELECT {number:Int64}"), number=number)[0][0])

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == list(range(40))


# --- one data folder, several processes ------------------------------------------------------------------------------

OWNER = """
import sys, time
from pathlib import Path
from contextlib import closing
from core.settings import Settings
from store.engine_door import open_door
from store.events import open_events
from store.installation import lock_data, publish_door, remove_door
from store.migrate import migrate_events

settings = Settings(data=Path(sys.argv[1]))
with lock_data(settings) as lock, closing(open_events(settings, lock)) as store:
    migrate_events(store, settings)
    if sys.argv[2] == "door":
        door = open_door(settings.events)
        publish_door(settings, door.url, started_at=1)
    store.insert_json("leads", b'{"tenant_id":"north","lead_id":"from the engine"}', "one")
    print("ready", flush=True)
    sys.stdin.read()
"""
COMMAND = """
import sys
from pathlib import Path
from contextlib import closing
from core.errors import Unavailable
from core.settings import Settings
from store.events import Query, open_events

settings = Settings(data=Path(sys.argv[1]))
try:
    with closing(open_events(settings, patience_s=float(sys.argv[2]))) as store:
        print(store.select(Query("leads", "SELECT lead_id FROM leads ORDER BY lead_id"))[0][0])
        print("chdb" in sys.modules)
except Unavailable as error:
    print(type(error).__name__, error)
"""


@contextmanager
def owner(folder: Path, *, door: bool):
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), "door" if door else "closed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(30)


def run_command(folder: Path, patience_s: float = 5.0) -> list[str]:
    command = [sys.executable, "-c", COMMAND, str(folder), str(patience_s)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()


def test_a_command_asks_through_the_running_engines_door(tmp_path: Path) -> None:
    with owner(tmp_path, door=True):
        assert (tmp_path / "engine.json").stat().st_mode & 0o777 == 0o600
        assert run_command(tmp_path) == ["from the engine", "False"]


def test_a_killed_engines_door_is_forgotten_and_its_rows_are_not(tmp_path: Path) -> None:
    with owner(tmp_path, door=True) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert (tmp_path / "engine.json").exists()

    assert run_command(tmp_path) == ["from the engine", "True"]


def test_a_folder_in_use_without_a_door_is_one_clear_line(tmp_path: Path) -> None:
    with owner(tmp_path, door=False) as process:
        (line,) = run_command(tmp_path, patience_s=0.1)

    assert line == f"InUse the data folder {tmp_path} is in use by another Fairshare (process {process.pid})"


def test_a_command_waits_its_turn_for_the_folder(tmp_path: Path) -> None:
    with owner(tmp_path, door=False) as process:
        command = subprocess.Popen([sys.executable, "-c", COMMAND, str(tmp_path), "20"], stdout=subprocess.PIPE, text=True)
        time.sleep(1)
        assert command.poll() is None
        process.kill()
        assert command.communicate(timeout=30)[0].splitlines()[0] == "from the engine"


def test_an_engine_that_is_in_this_process_holds_the_folder_against_itself_too(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)

    with lock_data(settings), pytest.raises(InUse, match=f"process {os.getpid()}"):
        open_events(settings, patience_s=0.0)
