"""What many tests share."""

import os
from pathlib import Path

import pytest

os.environ["DALLE_NATIVE"] = "0"  # no compiler runs beside the tests, but in those of the compiled step


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model folder, trained from nothing by the real stages in seconds; it draws, but nothing in particular."""
    from dalle import train  # torch: not for those tests that do without

    out = tmp_path_factory.mktemp("tiny_model")
    train.run("all", recipe="tiny", data="world", out=out)
    return out
