"""What many tests share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model folder, trained from nothing by the real stages in seconds; it draws, but nothing in particular."""
    from dalle import train  # torch: not for those tests that do without

    out = tmp_path_factory.mktemp("tiny_model")
    train.run("all", recipe="tiny", data="world", out=out)
    return out
