"""A file that a person names on the command line, as text."""

from pathlib import Path

from core.errors import FairshareError


def read_text_file(file: Path) -> str:
    """What a file says.

    Raises:
        FairshareError: it is not UTF-8; says from where on.
        OSError: it cannot be read.
    """
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise FairshareError(f"{file.name} is not UTF-8 from byte {error.start} on; save it as UTF-8") from None
