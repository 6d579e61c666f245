"""One running installation shared by the journeys of a file; tests use order ids of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.route.cast import catalogue
from tests.route.installation import Installation


@pytest.fixture(scope="module")
def fairshare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = fresh(tmp_path_factory.mktemp("route") / "var")
    installation.start()
    yield installation
    installation.close()


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Installation]:
    """An installation of the test's own, with the cast, not started."""
    installation = fresh(tmp_path / "var")
    yield installation
    installation.close()


def fresh(data: Path) -> Installation:
    installation = Installation(data)
    installation.import_catalogue(catalogue())
    return installation
