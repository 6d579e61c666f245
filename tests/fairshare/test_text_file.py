from pathlib import Path

import pytest

from core.errors import FairshareError
from fairshare.text_file import read_text_file


def test_a_file_that_is_no_text_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "try.toml").write_bytes(b"[[policy]]\n\xff")

    with pytest.raises(FairshareError, match=r"^try\.toml is not UTF-8 from byte 11 on; save it as UTF-8$"):
        read_text_file(tmp_path / "try.toml")
