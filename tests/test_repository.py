"""What the repository promises about itself: documents that list things list what is there."""

import re
import subprocess
import sys
from pathlib import Path

from core.settings import Settings, environment_of, read_settings

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_docs_settings_lists_every_setting_and_no_other() -> None:
    listed = re.findall(r"^\| `FAIRSHARE_([A-Z_]+)`", (ROOT / "docs" / "settings.md").read_text("utf-8"), re.M)

    assert [name.lower() for name in listed] == list(Settings.__struct_fields__)


def test_the_defaults_in_docs_settings_are_the_programs() -> None:
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    environment = environment_of(Settings())
    for name, default in re.findall(r"^\| `(FAIRSHARE_[A-Z_]+)` \| `([^`]+)`", text, re.M):
        assert environment[name] in (default, ""), name


def test_settings_survive_the_way_to_a_child_process() -> None:
    settings = Settings(data=Path("/x y"), trackers=3, trusted_proxies=("10.0.0.1", "::1"), durability="bounded")

    assert read_settings(environment_of(settings)) == settings


def test_every_link_between_documents_leads_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_readme_names_every_command() -> None:
    done = subprocess.run([sys.executable, "-m", "fairshare", "--help"], capture_output=True, text=True, check=True, cwd=ROOT)
    commands = re.findall(r"^│ ([a-z][a-z-]*) {2,}", done.stdout, re.M)
    readme = (ROOT / "README.md").read_text("utf-8")

    assert len(commands) >= 10
    for command in commands:
        assert command in readme, f"README.md does not name fairshare {command}"


def test_constraints_are_exact_and_name_no_address() -> None:
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line), line
