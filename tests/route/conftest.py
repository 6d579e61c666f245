"""One running installation shared by the journeys of a file; tests use order ids of their own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.route.cast import catalogue
from tests.route.installation import Installation


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of an installation with the cast, never started: copied for each test that wants one of its own."""
    installation = Installation(tmp_path_factory.mktemp("installed") / "var")
    installation.import_catalogue(catalogue())
    migrated = installation.run("migrate")
    assert migrated.returncode == 0, migrated.stderr
    yield installation.data
    installation.close()


@pytest.fixture(scope="module")
def fairshare(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = copy_of(installed, tmp_path_factory.mktemp("route"))
    installation.start()
    yield installation
    installation.close()


@pytest.fixture
def stopped(installed: Path, tmp_path: Path) -> Iterator[Installation]:
    """An installation of the test's own, with the cast, not started."""
    installation = copy_of(installed, tmp_path)
    yield installation
    installation.close()


def copy_of(installed: Path, folder: Path) -> Installation:
    return Installation(shutil.copytree(installed, folder / installed.name, symlinks=True))
