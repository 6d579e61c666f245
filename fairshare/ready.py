"""What a newcomer is shown once everything answers: a link to click, an order to post, and who may sign in."""

import json
from pathlib import Path
from typing import Any

import msgspec

from core.settings import Settings

DEMO_FILE = "demo.json"


class ExampleOrder(msgspec.Struct, frozen=True):
    """A request ready to be sent as it stands: ``body`` posted to ``url``."""

    url: str
    body: dict[str, Any]
    headers: dict[str, str]


class SignIn(msgspec.Struct, frozen=True):
    """A demo account."""

    email: str
    password: str


class DemoSheet(msgspec.Struct, frozen=True):
    """What the engine says about the demo world it loaded: a link's code, an API key, an order, and ``role: (email, password)``."""

    link: str
    token: str
    order: dict[str, Any]
    sign_ins: dict[str, tuple[str, str]]


class Ready(msgspec.Struct, frozen=True):
    """The content of ``--ready-file``. Without the demo there is no example and nobody to sign in as."""

    tracker: str
    portal: str
    example_link: str | None = None
    example_order: ExampleOrder | None = None
    sign_ins: dict[str, SignIn] = {}


def curl(order: ExampleOrder) -> str:
    """The example order as one line for a shell."""
    headers = " ".join(f"-H '{name}: {value}'" for name, value in order.headers.items())
    body = json.dumps(order.body, separators=(",", ":"))
    return f"curl -s {headers} -d '{body}' '{order.url}'"


def as_text(ready: Ready) -> str:
    """The sheet that ``fairshare up`` prints."""
    lines = ["", "Fairshare is running.", "", f"  portal    {ready.portal}", f"  tracker   {ready.tracker}"]
    if ready.example_link and ready.example_order:
        lines += ["", "Click this link, and watch it arrive in the portal:", f"  {ready.example_link}"]
        lines += ["", "Then buy something (paste into another terminal):", f"  {curl(ready.example_order)}"]
        lines += [f"and see who earned, and why:  {ready.portal}/orders/{ready.example_order.body['order_id']}"]
        lines += ["", "Sign in as"]
        lines += [f"  {role:<10} {sign_in.email:<28} {sign_in.password}" for role, sign_in in ready.sign_ins.items()]
    else:
        lines += ["", "Next: fairshare catalog import FILE.toml, and fairshare user add EMAIL"]
    return "\n".join([*lines, "", "Ctrl-C stops everything; nothing is lost.", ""])


def write_ready_file(path: Path, ready: Ready) -> None:
    """Write the sheet as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(path, ready)


def write_demo(data: Path, sheet: DemoSheet) -> None:
    """Leave the sheet for later starts, beside the installation that it is about."""
    _write_whole(data / DEMO_FILE, sheet)


def read_demo(data: Path) -> DemoSheet | None:
    """What the engine left about the demo world, or None in an installation without it."""
    path = data / DEMO_FILE
    return msgspec.json.decode(path.read_bytes(), type=DemoSheet) if path.exists() else None


def ready_of(settings: Settings, demo: DemoSheet | None) -> Ready:
    """The sheet for these addresses; ``demo`` is what :func:`read_demo` found."""
    if demo is None:
        return Ready(tracker=settings.tracker, portal=settings.portal)
    return Ready(
        tracker=settings.tracker,
        portal=settings.portal,
        example_link=f"{settings.tracker}/c/{demo.link}",
        example_order=ExampleOrder(
            url=f"{settings.tracker}/v1/orders?token={demo.token}",
            body=demo.order,
            headers={"Content-Type": "application/json"},
        ),
        sign_ins={role: SignIn(email, password) for role, (email, password) in demo.sign_ins.items()},
    )


def _write_whole(path: Path, record: Ready | DemoSheet) -> None:
    """All of it or nothing: a program that waits for the file never reads half of it. It holds passwords and keys."""
    partial = path.with_name(path.name + ".partial")
    partial.touch(mode=0o600)
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2))
    partial.replace(path)
