"""A whole Fairshare for a test: real processes, real HTTP, in a folder of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from core.catalogue import Catalogue
from core.catalogue_file import write_catalogue
from tests.route.cast import PASSWORD, TOKENS

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, look: Callable[[], Any], within_s: float = 10.0) -> Any:
    """The first true value of ``look``; fails with the last one seen."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"waited {within_s} s for {what}; last seen: {seen!r}"
        time.sleep(0.05)
    return seen


class Installation:
    """``fairshare`` on one data folder: its commands, its addresses, its processes."""

    def __init__(self, data: Path, trackers: int = 1, **environment: str) -> None:
        self.data = data
        self.trackers = trackers
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("FAIRSHARE_")} | environment
        self.http = httpx.Client(timeout=10, follow_redirects=False)
        self._up: subprocess.Popen[str] | None = None
        self._visitors: list[Visitor] = []
        self.ready: dict[str, Any] = {}

    # --- commands and processes

    def run(self, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """One command of ``fairshare``, to its end."""
        command = [sys.executable, "-m", "fairshare", *arguments, "--data", str(self.data)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=self.environment, input=input, check=False)

    def run_json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def import_catalogue(self, catalogue: Catalogue) -> None:
        file = self.data.parent / f"{self.data.name}-catalogue.toml"
        file.write_text(write_catalogue(catalogue), "utf-8")
        done = self.run("catalog", "import", str(file))
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, demo: bool = False) -> "Installation":
        ready_file = self.data.parent / f"{self.data.name}-ready.json"
        options = ["--tracker-port", str(free_port()), "--portal-port", str(free_port()), "--trackers", str(self.trackers)]
        command = [sys.executable, "-m", "fairshare", "up", "--data", str(self.data), *options]
        command += ["--ready-file", str(ready_file), "--demo" if demo else "--no-demo"]
        self._up = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment)
        wait_for("the ready file", lambda: ready_file.exists() or self._up is None or self._up.poll() is not None, 180)
        assert self._up.poll() is None, self.output()
        self.ready = json.loads(ready_file.read_text("utf-8"))
        return self

    def output(self) -> str:
        """What ``up`` printed; it must have ended."""
        assert self._up is not None
        return self._up.communicate(timeout=10)[0]

    def stop(self, how: int = signal.SIGINT) -> float:
        """Ctrl-C; returns the seconds until everything had ended."""
        if self._up is None:
            return 0.0
        began = time.monotonic()
        if self._up.poll() is None:
            self._up.send_signal(how)
        self.output()
        self._up = None
        return time.monotonic() - began

    def child(self, name: str) -> int:
        """The process id of the ``engine`` or of a tracker (``track``)."""
        assert self._up is not None
        children = Path(f"/proc/{self._up.pid}/task/{self._up.pid}/children").read_text().split()
        found = [int(pid) for pid in children if name in Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")]
        assert found, f"no {name} among {children}"
        return found[0]

    # --- the tracker

    def click(self, code: str, **headers: str) -> httpx.Response:
        return self.http.get(f"{self.ready['tracker']}/c/{code}", headers={"User-Agent": AGENT} | headers)

    def post(self, path: str, body: dict[str, Any] | str, tenant: str = "north") -> httpx.Response:
        content = body if isinstance(body, str) else json.dumps(body)
        headers = {"Authorization": f"Bearer {TOKENS[tenant]}", "Content-Type": "application/json"}
        return self.http.post(f"{self.ready['tracker']}{path}", content=content, headers=headers)

    # --- the portal

    def attribution(self, order_id: str, tenant: str = "north") -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {TOKENS[tenant]}"}
        answer = self.http.get(f"{self.ready['portal']}/v1/orders/{order_id}/attribution", headers=headers)
        return answer.json() if answer.status_code == 200 else {"attribution": {"status": f"HTTP {answer.status_code}"}}

    def decided(self, order_id: str, tenant: str = "north", within_s: float = 30.0) -> dict[str, Any]:
        """The attribution of an order, once there is one."""

        def look() -> dict[str, Any] | None:
            attribution = self.attribution(order_id, tenant)["attribution"]
            return attribution if attribution["status"] == "decided" else None

        return wait_for(f"a decision on {order_id}", look, within_s)

    def sign_in(self, email: str, password: str = PASSWORD) -> "Visitor":
        """A person at the portal; signed out, so to speak, when the installation is closed."""
        self._visitors.append(Visitor(self.ready["portal"], email, password))
        return self._visitors[-1]

    def close(self) -> None:
        """Stop what runs and hang up."""
        self.stop()
        for client in (self.http, *(visitor.http for visitor in self._visitors)):
            client.close()


def click_id(answer: httpx.Response) -> str:
    return answer.headers["location"].split("fsclick=")[1].split("&")[0].split("#")[0]


class Visitor:
    """A person at the portal, without scripts: follows links, fills in forms."""

    def __init__(self, portal: str, email: str, password: str) -> None:
        self.http = httpx.Client(base_url=portal, timeout=10, follow_redirects=True)
        answer = self.submit("/sign-in", {"email": email, "password": password})
        assert "/sign-in" not in str(answer.url), f"{email} could not sign in: {answer.text[:2000]}"

    def get(self, path: str) -> httpx.Response:
        return self.http.get(path)

    def submit(self, page: str, fields: dict[str, str], action: str | None = None) -> httpx.Response:
        """Fill in the form of ``page`` whose action is ``action`` (by default the page's own) and send it."""
        html = self.http.get(page).text
        target = action or page
        for form in re.findall(r'<form\b[^>]*method="post".*?</form>', html, re.S):
            found = re.search(r'action="([^"]*)"', form)
            if (found[1] if found else page) == target:
                hidden = dict(re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"', form))
                return self.http.post(target, data=hidden | fields)
        raise AssertionError(f"{page} has no form for {target}: {re.findall(r'<form[^>]*>', html)}")
