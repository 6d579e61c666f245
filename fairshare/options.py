"""Options that commands share, so that each is spelled and explained once; and the settings they lead to."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from core.settings import Settings, read_settings

Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The installation's folder (default: var).", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Tenant = Annotated[str, typer.Option("--tenant", metavar="ID", help="The merchant, by its id.")]
AnyTenant = Annotated[str | None, typer.Option("--tenant", metavar="ID", help="Only this merchant.", show_default=False)]


def settings_of(data: Path | None = None, **options: Any) -> Settings:
    """The settings of this run: ``FAIRSHARE_*`` variables, over which the command's options win."""
    return read_settings(os.environ, data=data, **options)
