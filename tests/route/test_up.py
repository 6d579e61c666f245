"""What a newcomer does, and what happens when something is in the way."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from tests.route.installation import AGENT, Installation, Visitor, free_port, wait_for


def test_the_newcomers_first_minutes(tmp_path: Path) -> None:
    fairshare = Installation(tmp_path / "var")
    ready = fairshare.start(demo=True).ready
    try:
        assert set(ready["sign_ins"]) >= {"affiliate", "merchant", "finance", "analyst"}
        affiliate = _signed_in(fairshare, "affiliate")
        before = affiliate.get("/affiliate").text

        clicked = httpx.get(ready["example_link"], headers={"User-Agent": AGENT})
        assert clicked.status_code == 302
        wait_for("the click in the portal", lambda: affiliate.get("/affiliate").text != before, 20)

        example = ready["example_order"]
        posted = httpx.post(example["url"], json=example["body"], headers=example["headers"])
        assert posted.status_code in (200, 202), posted.text
        merchant = _signed_in(fairshare, "merchant")
        page = wait_for("the explained sale", lambda: _credited(merchant, example["body"]["order_id"]), 20)
        assert "winner" in page.lower() or "earns" in page.lower()
    finally:
        stopped_after = fairshare.stop()
        fairshare.close()
    assert stopped_after < 5.5

    again = Installation(tmp_path / "var").start(demo=True)
    try:
        page = _signed_in(again, "merchant").get(f"/orders/{example['body']['order_id']}")
        assert page.status_code == 200, "the order was lost over a restart"
    finally:
        again.stop(signal.SIGTERM)
        again.close()


def _signed_in(fairshare: Installation, role: str) -> Visitor:
    sign_in = fairshare.ready["sign_ins"][role]
    return fairshare.sign_in(sign_in["email"], sign_in["password"])


def _credited(merchant: Visitor, order_id: str) -> str | None:
    page = merchant.get(f"/orders/{order_id}")
    return page.text if page.status_code == 200 and "credited" in page.text.lower() else None


def test_a_taken_port_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = Installation(tmp_path / "var").run("up", "--tracker-port", port, "--portal-port", str(free_port()))

    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        f"fairshare: port {port} on 127.0.0.1 is taken by another program; choose another with --tracker-port"
    ]


def test_a_data_folder_in_use_is_one_line_and_exit_code_2(fairshare: Installation) -> None:
    done = fairshare.run("up", "--tracker-port", str(free_port()), "--portal-port", str(free_port()))

    assert done.returncode == 2
    lines = [line for line in done.stderr.strip().splitlines() if "in use" in line]
    assert len(lines) == 1
    assert str(fairshare.data.name) in lines[0]


def test_wrong_settings_are_all_named_at_once(tmp_path: Path) -> None:
    broken = Installation(tmp_path / "var", FAIRSHARE_SPOOL_SYNC_MS="lots", FAIRSHARE_DURABILITY="maybe", FAIRSHARE_COLOUR="red")
    done = broken.run("verify")

    assert done.returncode == 2
    assert "3 settings are wrong" in done.stderr
    for name in ("FAIRSHARE_SPOOL_SYNC_MS", "FAIRSHARE_DURABILITY", "FAIRSHARE_COLOUR"):
        assert name in done.stderr


def test_commands_work_beside_a_running_installation(fairshare: Installation) -> None:
    for arguments in (["verify"], ["conserve"], ["attribute", "--once"], ["migrate"]):
        done = fairshare.run(*arguments, "--json")
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        json.loads(done.stdout)
    exported = fairshare.run("catalog", "export")
    assert 'tenant = "north"' in exported.stdout


def test_the_help_names_every_command() -> None:
    done = subprocess.run([sys.executable, "-m", "fairshare", "--help"], capture_output=True, text=True, timeout=60, check=True)

    for command in ("up", "track", "drain", "attribute", "portal", "migrate", "catalog", "explain", "verify", "conserve", "replay-log"):
        assert command in done.stdout
