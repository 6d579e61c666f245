"""The door to chDB: what clickhouse-connect needs of ClickHouse's HTTP interface, and nobody without the password."""

import http.client
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from core.errors import Unavailable
from store.engine_door import MAX_BODY_BYTES, EngineDoor, Refusal, open_door, read_statement
from store.events import EventsStore, Query, connect_events

ONE = Query("one", "SELECT 1")


@pytest.fixture
def door(events: EventsStore, chdb_folder: Path) -> Iterator[EngineDoor]:
    with closing(open_door(f"chdb://{chdb_folder}")) as opened:
        yield opened


def send(door: EngineDoor, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str, bytes]:
    """One plain request with the right password; returns status, exception code and body."""
    url = urlsplit(door.url)
    connection = http.client.HTTPConnection(str(url.hostname), int(url.port or 0), timeout=10)
    right = "Basic " + b64encode(f"{url.username}:{url.password}".encode()).decode()
    try:
        connection.request(
            method, path, body, {"Authorization": right} | {name.replace("_", "-"): value for name, value in headers.items()}
        )
        response = connection.getresponse()
        return response.status, response.headers.get("X-ClickHouse-Exception-Code", ""), response.read()
    finally:
        connection.close()


# --- who may enter ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user_info", ["fairshare:wrong", "fairshare:", "someone:else", ""])
def test_nobody_enters_without_the_password(door: EngineDoor, user_info: str) -> None:
    address = door.url.rpartition("@")[2]

    with pytest.raises(Unavailable, match=r"AUTHENTICATION_FAILED|516"):
        connect_events(f"clickhouse://{user_info}@{address}")


def test_a_wrong_password_is_answered_as_clickhouse_does(door: EngineDoor) -> None:
    assert send(door, "POST", "/", b"SELECT 1", Authorization="Basic bm9ib2R5")[:2] == (403, "516")


def test_the_door_listens_on_loopback_only_and_each_has_its_own_password(door: EngineDoor, chdb_folder: Path) -> None:
    with closing(open_door(f"chdb://{chdb_folder}")) as other:
        urls = [urlsplit(opened.url) for opened in (door, other)]

    assert [url.hostname for url in urls] == ["127.0.0.1", "127.0.0.1"]
    assert urls[0].password != urls[1].password
    assert all(len(str(url.password)) >= 32 for url in urls)


# --- what it answers -------------------------------------------------------------------------------------------------


def test_anyone_may_ping(door: EngineDoor) -> None:
    assert send(door, "GET", "/ping", Authorization="") == (200, "", b"Ok.\n")


def test_a_statement_may_come_in_the_address_or_the_body_or_both(door: EngineDoor) -> None:
    assert send(door, "POST", "/", b"SELECT 1, 'a\tb'") == (200, "", b"1\ta\\tb\n")
    assert send(door, "POST", "/?query=SELECT%202") == (200, "", b"2\n")
    assert send(door, "POST", "/?query=" + quote("INSERT INTO leads (lead_id) FORMAT JSONEachRow"), b'{"lead_id":"x"}')[0] == 200
    assert send(door, "POST", "/", b"SELECT lead_id FROM leads") == (200, "", b"x\n")


def test_parameters_settings_database_and_format_are_taken(door: EngineDoor) -> None:
    path = f"/?param_name={quote('it' + chr(39) + 's')}&max_threads=1&database=system&default_format=JSONEachRow"
    sql = b"SELECT {name:String} AS name, currentDatabase() AS db, getSetting('max_threads') AS threads"

    assert send(door, "POST", path, sql) == (200, "", b'{"name":"it\'s","db":"system","threads":1}\n')


def test_a_statements_settings_end_with_it(door: EngineDoor, events: EventsStore) -> None:
    send(door, "POST", "/?max_result_rows=1&readonly=1", b"SELECT number FROM numbers(5)")
    send(door, "POST", "/?readonly=1", b"CREATE TABLE never (x Int8) ENGINE = Memory")

    assert send(door, "POST", "/", b"SELECT count() FROM numbers(5)")[2] == b"5\n"
    assert send(door, "POST", "/", b"SELECT getSetting('readonly')")[2] == b"0\n"
    assert events.select(Query("q", "SELECT getSetting('readonly')")) == [(0,)]


def test_a_get_request_cannot_write(door: EngineDoor) -> None:
    status, code, _ = send(door, "GET", "/?query=" + quote("CREATE TABLE never (x Int8) ENGINE = Memory"))

    assert (status, code) == (500, "164")  # READONLY


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "/", b"SELECT nope", (500, "47")),
        ("POST", "/", b"SELEC 1", (500, "62")),
        ("POST", "/?database=nowhere", b"SELECT 1", (500, "81")),
        ("POST", "/?no_such_setting=1", b"SELECT 1", (500, "115")),
        ("POST", "/?max_threads%3D1%2C%20readonly=1", b"SELECT 1", (400, "115")),
        ("POST", "/?param_x=abc", b"SELECT {x:Int64}", (500, "457")),
        ("POST", "/", b"", (400, "36")),
    ],
)
def test_errors_carry_clickhouses_code(door: EngineDoor, method: str, path: str, body: bytes, expected: tuple[int, str]) -> None:
    assert send(door, method, path, body)[:2] == expected


def test_a_database_name_cannot_smuggle_sql(door: EngineDoor) -> None:
    path = "/?database=" + quote("default`; CREATE DATABASE smuggled; --")

    assert send(door, "POST", path, b"SELECT 1")[1] == "81"
    assert b"smuggled" not in send(door, "POST", "/", b"SHOW DATABASES")[2]


# --- bounds ----------------------------------------------------------------------------------------------------------


def raw(door: EngineDoor, head: str, body: bytes = b"") -> bytes:
    url = urlsplit(door.url)
    right = b64encode(f"{url.username}:{url.password}".encode()).decode()
    with socket.create_connection((str(url.hostname), int(url.port or 0)), timeout=10) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: door\r\nAuthorization: Basic {right}\r\n{head}\r\n\r\n".encode() + body)
        return connection.recv(200).splitlines()[0]


def test_a_body_beyond_the_bound_is_refused_before_it_is_read(door: EngineDoor) -> None:
    assert raw(door, f"Content-Length: {MAX_BODY_BYTES + 1}") == b"HTTP/1.1 413 Request Entity Too Large"
    assert raw(door, "Transfer-Encoding: chunked", b"%x\r\n" % (MAX_BODY_BYTES + 1)) == b"HTTP/1.1 413 Request Entity Too Large"


@pytest.mark.parametrize("head", ["Content-Length: -1", "Content-Length: many", "Content-Encoding: lz4\r\nContent-Length: 1"])
def test_a_body_it_cannot_read_is_refused(door: EngineDoor, head: str) -> None:
    assert raw(door, head) == b"HTTP/1.1 400 Bad Request"


def test_chunks_are_put_together_and_malformed_ones_refused(door: EngineDoor) -> None:
    assert raw(door, "Transfer-Encoding: chunked", b"7\r\nSELECT \r\n1;x=y\r\n1\r\n0\r\n\r\n") == b"HTTP/1.1 200 OK"
    assert raw(door, "Transfer-Encoding: chunked", b"-7\r\nSELECT \r\n") == b"HTTP/1.1 400 Bad Request"


# --- reading a request is pure ---------------------------------------------------------------------------------------


def test_a_form_holds_what_is_too_long_for_an_address() -> None:
    value = "['it\\'s', 'two\\nlines', '€']\r\nend"
    body = "\r\n".join(
        ["--b", 'Content-Disposition: form-data; name="query"', "", "SELECT {x:String}", "--b",
         'Content-Disposition: form-data; name="param_x"', "", value, "--b--", ""]
    ).encode()  # fmt: skip

    statement = read_statement("/?database=north", body, "multipart/form-data; boundary=b", "POST")

    assert statement.sql == b"SELECT {x:String}"
    assert statement.params == {"x": value}
    assert statement.database == "north"


def test_a_request_without_a_statement_is_refused() -> None:
    with pytest.raises(Refusal, match="holds no statement"):
        read_statement("/?database=north", b"", "", "POST")


# --- open and closed -------------------------------------------------------------------------------------------------


def test_readers_of_the_door_and_of_the_process_do_not_disturb_each_other(door: EngineDoor, events: EventsStore) -> None:
    with closing(connect_events(door.url)) as remote:
        numbers: list[int] = []

        def ask(store: EventsStore, number: int) -> None:
            numbers.append(store.select(Query("q", "SELECT {n:Int64} + sum(number) FROM numbers(100000)"), n=number)[0][0] - 4999950000)

        threads = [threading.Thread(target=ask, args=(store, n)) for n, store in enumerate([remote, events] * 10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(numbers) == list(range(20))


def test_a_closed_door_is_unavailable_at_once(door: EngineDoor) -> None:
    with closing(connect_events(door.url)) as remote:
        assert remote.select(ONE) == [(1,)]
        door.close()
        with pytest.raises(Unavailable, match="cannot be reached: Connection refused"):
            remote.select(ONE)
