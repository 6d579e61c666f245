"""The house rules that a reader relies on: who may import whom, which modules reach outside, what a package's front door says."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ARROWS = {
    "core": set[str](),
    "store": {"core"},
    "tracker": {"core", "store"},
    "attribution": {"core", "store"},
    "payouts": {"core", "store"},
    "portal": {"core", "store", "tracker", "attribution", "payouts"},
    "fairshare": {"core", "store", "tracker", "attribution", "payouts", "portal"},
}
"""Package → the packages it may import, besides itself. Tracker, attribution and payouts are strangers to each other."""

OUTSIDE = set(
    """alembic asyncio.subprocess chdb clickhouse_connect fcntl granian http.client http.server httpx maxminddb multiprocessing os
    psycopg random redis secrets select shutil signal socket socketserver sqlalchemy sqlite3 ssl subprocess
    tempfile time urllib.request uuid uvicorn""".split()
)
"""Importing one of these is reaching outside: databases, files, the network, the clock, chance, other processes."""

FILE_ACTIONS = {"glob", "iterdir", "mkdir", "open", "read_bytes", "read_text", "unlink", "write_bytes", "write_text"}
CLOCK_ACTIONS = {"now", "today", "utcnow"}

IO_MODULES = {
    "core": {"clock": "the system's clock", "ids": "chance, for new ids"},
    "store": {
        "accruals": "books",
        "adjustments": "books",
        "batches": "books",
        "booked": "books",
        "books": "books",
        "catalogue": "books",
        "commissions": "books",
        "cursors": "books",
        "disputes": "books",
        "earnings": "books",
        "identity": "books",
        "leases": "books, and a clock that only goes on",
        "ledger": "books",
        "links": "books",
        "overrides": "books",
        "partners": "books",
        "periods": "books",
        "programmes": "books",
        "rates": "books",
        "receipts": "books",
        "replays": "books",
        "reports": "books",
        "reruns": "books",
        "sessions": "books",
        "spools": "books",
        "traffic": "books",
        "standing": "books",
        "schema": "names the books' tables, in SQLAlchemy's terms",
        "engine_door": "a socket, chDB",
        "events": "events store",
        "holds": "books",
        "installation": "the data folder's files",
        "migrate": "both stores' schemas",
        "versions": "books",
        "writing": "books",
    },
    "tracker": {
        "app": "composition: opens what the edge needs",
        "commit": "the spool's thread and its clock",
        "conservation": "events store, spool",
        "counters": "a file of counts",
        "country": "a database file",
        "drain": "spool, events store",
        "exchange": "a thread between limits, Redis and files",
        "history": "books, events store",
        "intake": "Redis, books, events store",
        "files": "every file operation that must survive a power loss",
        "kept": "files beside the spool",
        "lag": "a file beside the spool",
        "loading": "events store",
        "manifest": "files beside the spool",
        "recording": "receipts in the books",
        "relay": "spool, Redis, books",
        "replay": "the network, events store",
        "serve": "the tracker's process",
        "shared": "Redis",
        "sheet": "a foreign file",
        "shelf": "books, events store",
        "spool": "segment files",
        "stream": "Redis",
        "wire": "a server's sockets, the clock of its answers",
        "watch": "books",
    },
    "attribution": {
        "bulk": "events store",
        "changes": "events store, cursors",
        "coalition": "events store",
        "decisions": "events store",
        "disputes": "records of store.disputes",
        "explain": "events store",
        "history": "events store",
        "journey": "books, events store",
        "leads": "events store",
        "lookups": "events store",
        "replay": "events store",
        "observed": "events store",
        "people": "events store, chance for the hash",
        "keyring": "events store",
        "portraits": "events store",
        "erasure": "events store, books",
        "run": "books, events store",
        "workers": "other processes",
    },
    "payouts": {
        "accrue": "books, events store",
        "adjustments": "books",
        "anchors": "books, a file in the data folder",
        "balances": "books",
        "batches": "books",
        "bonuses": "books",
        "booking": "records of store.commissions",
        "checkpoints": "a file in the data folder",
        "commissions": "books",
        "decided": "books",
        "digests": "records of store.ledger",
        "facts": "events store",
        "forecast": "books, events store",
        "traffic_accrual": "books, events store",
        "traffic": "records of store.traffic",
        "rates": "books",
        "holds": "books",
        "leads": "events store",
        "ledger": "books",
        "measures": "books",
        "outcomes": "books, events store",
        "periods": "books",
        "pricing": "records of store.commissions",
        "pricings": "records of store.accruals",
        "recompute": "books, events store",
        "renaming": "books",
        "simulate": "books, events store",
        "payment_file": "records of store.batches",
        "progress": "books",
        "standing": "books",
        "statement": "books",
        "surroundings": "books",
        "tariffs": "books",
        "verify": "books",
    },
    "portal": {
        "affiliate_links": "chance, for new codes",
        "merchant_keys": "chance, for new keys",
        "page": "templates and static files",
        "sessions": "chance, for new tokens",
        "workshop": "the clock of its patience",
    },
}
"""Every module that reaches outside, and to what; all others are pure.

In tracker, attribution and payouts, importing ``store`` counts, even where only its records are used. Portal's handlers all
read stores, so only what they reach besides is listed. ``fairshare`` composes and is not listed.
"""


@cache
def modules(package: str) -> dict[str, ast.Module]:
    """A package's modules by name, parsed; without ``__init__`` and without migrations."""
    return {path.stem: ast.parse(path.read_text("utf-8")) for path in sorted((ROOT / package).glob("*.py")) if path.stem != "__init__"}


def imported(tree: ast.Module) -> set[str]:
    """Everything a module imports anywhere in it, as full names: ``store``, ``store.books``, ``store.books.Books``."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def reaches(package: str, tree: ast.Module) -> set[str]:
    """What a module reaches outside, by the rules above; empty for a pure one."""
    names = imported(tree)
    outside = {name for name in names if any(name == other or name.startswith(f"{other}.") for other in OUTSIDE)}
    if package == "portal":
        outside = {name for name in outside if name.split(".")[0] != "sqlalchemy"}
    if package in ("tracker", "attribution", "payouts"):
        outside |= {name for name in names if name.split(".")[0] == "store"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            outside.add("open()")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in FILE_ACTIONS | CLOCK_ACTIONS:
            outside.add(f".{node.func.attr}()")
    return outside


# --- arrows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ARROWS)
def test_imports_follow_the_arrows(package: str) -> None:
    allowed = ARROWS[package] | {package}
    for name, tree in modules(package).items():
        foreign = {target for target in imported(tree) if target.split(".")[0] in ARROWS.keys() - allowed}
        assert not foreign, f"{package}.{name} imports {sorted(foreign)}, and {package} may import only {sorted(ARROWS[package])}"


def test_core_needs_nothing_but_the_standard_library_and_msgspec() -> None:
    known = sys.stdlib_module_names | {"core", "msgspec"}
    for name, tree in modules("core").items():
        assert not (foreign := {target for target in imported(tree) if target.split(".")[0] not in known}), f"core.{name}: {foreign}"


@pytest.mark.skipif(not (ROOT / "tracker" / "rsgi.py").exists(), reason="there is no tracker.rsgi yet")
def test_a_tracker_process_never_loads_the_events_store() -> None:
    """chDB costs seconds and 250 MB, and a tracker must start in under one."""
    program = (
        "import sys, tracker.rsgi; print([name for name in ('chdb', 'clickhouse_connect', 'pandas', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)

    assert done.stdout == "[]\n"


# --- pure and not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", IO_MODULES)
def test_the_list_of_modules_that_reach_outside_is_exact(package: str) -> None:
    found = {name: what for name, tree in modules(package).items() if (what := reaches(package, tree))}

    unlisted = {name: sorted(what) for name, what in found.items() if name not in IO_MODULES[package]}
    assert not unlisted, f"pure by default: list these in IO_MODULES with a reason, or take the I/O out: {unlisted}"
    assert not (pure := IO_MODULES[package].keys() - found.keys()), f"{package}: gone or pure by now, take them off the list: {pure}"


# --- names and front doors -------------------------------------------------------------------------------------------


def test_no_module_has_a_name_that_says_nothing() -> None:
    for package in ARROWS:
        vague = modules(package).keys() & {"utils", "util", "common", "helpers", "helper", "services", "service", "models", "misc", "base"}
        assert not vague, f"{package}: name the idea instead: {vague}"


@pytest.mark.parametrize("package", ARROWS)
def test_a_packages_front_door_is_a_docstring_that_names_its_modules(package: str) -> None:
    tree = ast.parse((ROOT / package / "__init__.py").read_text("utf-8"))
    text = ast.get_docstring(tree) or ""

    assert len(tree.body) == 1
    assert text, f"{package}/__init__.py holds its docstring and nothing else"
    named = re.findall(r"``(\w+\*?)``", text)
    families = tuple(name.rstrip("*") for name in named if name.endswith("*"))
    missing = [name for name in modules(package) if name not in named and not (families and name.startswith(families))]
    assert not missing, f"{package}/__init__.py does not name {missing}"
    assert not (gone := [name for name in named if not name.endswith("*") and name not in modules(package)]), f"{package} has no {gone}"
