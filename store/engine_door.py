"""A door to the chDB of this process: ClickHouse's HTTP interface on loopback, as far as clickhouse-connect speaks it. I/O: a socket.

chDB belongs to one process. While ``fairshare up`` runs, this installation's other commands ask through here; the tests
use it as the server that speaks HTTP. It is no public server: loopback only, one random password, bounded requests.

Each statement runs on a chDB handle of its own (half a millisecond), so that its settings end with it.
"""

import hmac
import os
import re
import secrets
import socket
import tempfile
from base64 import b64encode
from collections.abc import Callable, Mapping
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

USER = "fairshare"
MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_STATEMENTS = 8
IDLE_S = 60

# Parameters of the HTTP transport itself. Every other one that is no ``param_…`` is a setting of the statement.
_TRANSPORT = frozenset(
    "database default_format query query_id session_id session_timeout session_check user password quota_key compress decompress "
    "wait_end_of_query client_protocol_version buffer_size role enable_http_compression send_progress_in_http_headers "
    "http_headers_progress_interval_ms cancel_http_readonly_queries_on_client_close".split(" ")
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CODE = re.compile(r"\bCode: (\d+)")
_BINARY_INSERT = re.compile(rb"\s*(INSERT INTO [^\n]{1,10000}?) FORMAT (Native|Arrow)\s?\n")
_ANSWERS = re.compile(rb"\s*(SELECT|WITH|SHOW|DESC|DESCRIBE|EXISTS|EXPLAIN|CHECK)\b", re.IGNORECASE)
_BAD_REQUEST, _UNKNOWN_SETTING, _AUTHENTICATION_FAILED, _TOO_LARGE, _INTERNAL = 36, 115, 516, 12, 1001


class Refusal(Exception):
    """A request that is answered with an error, in ClickHouse's form: an HTTP status and an exception code."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Statement(msgspec.Struct, frozen=True):
    """What one request asks for. ``sql`` may carry an insert's rows, in any format, after its own text."""

    sql: bytes
    database: str
    format: str
    params: dict[str, str]
    settings: dict[str, str]


class EngineDoor:
    """An open door: ``url`` is what :func:`store.events.connect_events` takes. Runs in threads of its own until closed."""

    def __init__(self, server: "_Server", url: str) -> None:
        self.url = url
        self._server = server
        self._thread = Thread(target=server.serve_forever, name="engine-door", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop taking requests and cut the connections; a statement that already runs comes to its end in the engine."""
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()
        self._thread.join()


def open_door(events_url: str, port: int = 0, password: str = "") -> EngineDoor:
    """Serve the chDB at ``chdb:///path``, which this process owns, at a port of 127.0.0.1: a free one, where 0 is asked.

    Without a ``password`` it makes one. Who wants to find the same door again after a restart says both.
    """
    assert events_url.startswith("chdb:"), "only the process that owns a chDB can open a door to it"
    path = os.path.realpath(urlsplit(events_url).path)  # chDB compares paths as they are spelled
    password = password or secrets.token_urlsafe(24)
    server = _Server(path, password, port)
    port = server.server_address[1]
    return EngineDoor(server, f"clickhouse://{USER}:{password}@127.0.0.1:{port}/default?compress=False")


# --- a request, as read ----------------------------------------------------------------------------------------------


def read_statement(url: str, body: bytes, content_type: str, method: str) -> Statement:
    """Read a request by ClickHouse's rules: ``query`` and the body together are the statement. Pure.

    Raises:
        Refusal: no statement, or a setting's name that is none.
    """
    fields = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    if content_type.startswith("multipart/form-data"):
        fields |= _form_fields(body, content_type)
        body = b""
    query = fields.get("query", "").encode()
    settings = {name: value for name, value in fields.items() if name not in _TRANSPORT and not name.startswith("param_")}
    if wrong := [name for name in settings if not _NAME.fullmatch(name)]:
        raise Refusal(400, _UNKNOWN_SETTING, f"{wrong[0]!r:.60} is not the name of a setting")
    if not query and not body:
        raise Refusal(400, _BAD_REQUEST, "the request holds no statement")
    return Statement(
        sql=query + b"\n" + body if query and body else query or body,
        database=fields.get("database", "default"),
        format=fields.get("default_format", "TabSeparated"),
        params={name.removeprefix("param_"): value for name, value in fields.items() if name.startswith("param_")},
        settings=settings | ({"readonly": "1"} if method == "GET" else {}),
    )


def _form_fields(body: bytes, content_type: str) -> dict[str, str]:
    """The texts of a form: clickhouse-connect sends one where parameters are too long for an address."""
    form = BytesParser().parsebytes(b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n" + body)
    fields: dict[str, str] = {}
    for part in form.walk():
        value = part.get_payload(decode=True)
        if isinstance(value, bytes):
            fields[str(part.get_param("name", header="content-disposition"))] = value.decode()
    return fields


# --- a request, as run -----------------------------------------------------------------------------------------------


def run_statement(connect: Callable[[], Any], statement: Statement) -> bytes:
    """Run a statement on a handle of its own and return the bytes of its answer.

    Raises:
        Refusal: the engine refuses it; ``code`` is the engine's.
    """
    handle = connect()
    try:
        handle.query(f"USE {_quoted(statement.database, '`')}", "TabSeparated")
        if statement.settings:
            assigned = ", ".join(f"{name} = {_quoted(value)}" for name, value in statement.settings.items())
            handle.query(f"SET {assigned}", "TabSeparated")
        if binary := _BINARY_INSERT.match(statement.sql):
            return _insert_from_file(handle, binary[1], binary[2], statement.sql[binary.end() :])
        return handle.query(statement.sql, statement.format, params=statement.params).bytes() or b""
    except Exception as error:  # chDB has several error classes, and no common root but this
        code = _CODE.search(str(error))
        raise Refusal(500, int(code[1]) if code else _INTERNAL, str(error)) from error
    finally:
        handle.close()


def _insert_from_file(handle: Any, insert: bytes, form: bytes, block: bytes) -> bytes:
    """Rows in a binary form by way of a file: inside a statement, chDB takes two newlines for the end of them."""
    with tempfile.NamedTemporaryFile(suffix=".rows") as file:
        file.write(block)
        file.flush()
        return handle.query(f"{insert.decode()} FROM INFILE {_quoted(file.name)} FORMAT {form.decode()}", "TabSeparated").bytes() or b""


def _quoted(value: str, mark: str = "'") -> str:
    escaped = value.replace("\\", "\\\\").replace(mark, "\\" + mark)
    return f"{mark}{escaped}{mark}"


# --- the server ------------------------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, path: str, password: str, port: int = 0) -> None:
        import chdb  # a second and 250 MB: only the process that owns the store pays for it

        self.connect = lambda: chdb.connect(path)
        self.authorization = b"Basic " + b64encode(f"{USER}:{password}".encode())
        self.turns = BoundedSemaphore(MAX_STATEMENTS)
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no event."""

    def hang_up(self) -> None:
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                self._open.discard(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = IDLE_S
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/ping":
            self._answer(200, b"Ok.\n", {})
        else:
            self.do_POST()

    def do_POST(self) -> None:
        try:
            self._check_password()
            body = self._read_body()
            statement = read_statement(self.path, body, self.headers.get("Content-Type", ""), self.command)
            with self.server.turns:
                answer = run_statement(self.server.connect, statement)
        except Refusal as refusal:
            text = str(refusal) if "Code: " in str(refusal) else f"Code: {refusal.code}. DB::Exception: {refusal}"
            self._answer(refusal.status, text.encode(), {"X-ClickHouse-Exception-Code": str(refusal.code)})
        else:
            self._answer(200, answer, {"X-ClickHouse-Format": statement.format} if _ANSWERS.match(statement.sql) else {})

    def _check_password(self) -> None:
        given = self.headers.get("Authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, self.server.authorization):
            self.close_connection = True  # its body stays unread
            raise Refusal(403, _AUTHENTICATION_FAILED, "wrong user or password (AUTHENTICATION_FAILED)")

    def _read_body(self) -> bytes:
        encoding = self.headers.get("Content-Encoding", "identity")
        length = self.headers.get("Content-Length", "0")
        chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        try:
            if encoding != "identity":
                raise Refusal(400, _BAD_REQUEST, f"{encoding} is not taken here: connect with compress=False")
            if not length.isdecimal():
                raise Refusal(400, _BAD_REQUEST, "Content-Length is not a number")
            if int(length) > MAX_BODY_BYTES:
                raise Refusal(413, _TOO_LARGE, f"the request is larger than {MAX_BODY_BYTES} bytes; send smaller blocks")
            return self._read_chunks() if chunked else self.rfile.read(int(length))
        except Refusal:
            self.close_connection = True  # the rest of the body is still on its way
            raise

    def _read_chunks(self) -> bytes:
        body = bytearray()
        while size := self._chunk_size():
            if len(body) + size > MAX_BODY_BYTES:
                raise Refusal(413, _TOO_LARGE, f"the request is larger than {MAX_BODY_BYTES} bytes; send smaller blocks")
            body += self.rfile.read(size)
            self.rfile.readline(8)
        self.rfile.readline(8)
        return bytes(body)

    def _chunk_size(self) -> int:
        line = self.rfile.readline(32).split(b";")[0].strip()
        if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", line):
            raise Refusal(400, _BAD_REQUEST, "the request's chunks are malformed")
        return int(line, 16)

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """The address holds parameters; nothing of them is logged."""
