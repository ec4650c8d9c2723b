"""The folder for a Space, installed into a virtual environment of its own and opened in the browser."""

import site
import subprocess
import venv
from pathlib import Path

import pytest
from playwright.sync_api import Page
from program import running
from steps import await_gallery, draw, open_page, open_panel, set_number

from dalle import space


@pytest.fixture
def python(tmp_path: Path) -> str:
    """A fresh environment that borrows the packages of this one, since their download would take minutes; its torch may
    be newer than those that a Space takes.
    """
    venv.create(tmp_path / "venv", with_pip=False)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text("\n".join(site.getsitepackages()))
    return str(tmp_path / "venv" / "bin" / "python")


def test_the_space_installs_and_draws_out_of_its_own_folder(
    page: Page, python: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    out = tmp_path / "space"
    space.write(out, model)
    name = model if model == "emoji" else f"models/{Path(model).name}"
    needed = (out / "requirements.txt").read_text().splitlines(keepends=True)
    (out / "borrowed.txt").write_text("".join(line for line in needed if not line.startswith("torch>")))
    install = [python, "-m", "pip", "install", "--no-index", "--quiet", "-r", "borrowed.txt"]
    subprocess.run(install, cwd=out, check=True, capture_output=True)
    code = "import app, dalle.engine; print(app.__file__, dalle.engine.__file__)"
    told = subprocess.run([python, "-c", code], cwd=out, check=True, capture_output=True, text=True)
    assert {Path(file).parts[: len(out.parts)] for file in told.stdout.split()} == {out.parts}
    with running(name, out, python) as (address, log):
        open_page(page, address)
        set_number(page, "samples", 1)
        draw(page, "a red bird")
        await_gallery(page)
        open_panel(page, "about")
        page.get_by_text("Fingerprint").wait_for()
        page.goto("about:blank")  # before the program ends
    assert "Traceback" not in log.read_text()
