"""A real browser on a real installation with the demo world. Without Chromium these tests are skipped, loudly."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.route.installation import Installation

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = "--no-sandbox --disable-gpu --no-first-run --disable-quic --disable-background-networking --disable-component-update --disable-sync"
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped installation with the demo world. The first test process that asks loads it, the others wait for it."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = shared / "demo" / "var"
    with (shared / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            loading = Installation(shared / "demo-loading" / "var")
            loading.start(demo=True)
            loading.close()
            loading.data.parent.rename(folder.parent)
    return folder


@pytest.fixture(scope="module")
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    if CHROMIUM is None:
        pytest.skip("*** no Chromium on this machine: THE BROWSER TESTS ARE SKIPPED ***")
    folder: Path = request.getfixturevalue("demo_folder")
    installation = Installation(shutil.copytree(folder, tmp_path_factory.mktemp("demo") / folder.name, symlinks=True))
    installation.start(demo=True)
    yield installation
    installation.close()


@pytest.fixture(scope="module")
def chromium(demo: Installation) -> Iterator[Browser]:
    # Not for the whole session: playwright keeps an event loop running in this thread, where other tests start their own.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        yield browser
        browser.close()


@pytest.fixture
def signed_in(chromium: Browser, demo: Installation) -> Iterator[Callable[..., Page]]:
    """``signed_in("finance")`` or ``signed_in("frank@…")`` is a page of that person; anything odd in the console fails the test."""
    contexts, complaints = [], []

    def open_page(who: str, scripts: bool = True, viewport: dict[str, int] = DESKTOP) -> Page:
        context = chromium.new_context(base_url=demo.ready["portal"], java_script_enabled=scripts, viewport=viewport)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        sign_in = demo.ready["sign_ins"].get(who) or {"email": who, "password": next(iter(demo.ready["sign_ins"].values()))["password"]}
        page.goto("/sign-in")
        page.get_by_label("E-mail").fill(sign_in["email"])
        page.get_by_label("Password").fill(sign_in["password"])
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(lambda url: "/sign-in" not in url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints, complaints
