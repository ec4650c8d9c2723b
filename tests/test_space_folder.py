"""The folder for a Space: what it holds, and what its configuration says."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.tiny_model import make
from packaging.requirements import Requirement

from dalle import models, space
from dalle.errors import ModelError, SettingError


def configuration(out: Path) -> dict[str, Any]:
    _, head, _ = (out / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Space of a model in a folder."""
    place = tmp_path_factory.mktemp("tiny")
    (make(place) / "notes.txt").write_text("not of the model")
    (place / "README.md").write_text("---\nlicense: mit\n---\n\n### How it was made\n\nBy chance.\n")
    out = tmp_path_factory.mktemp("space") / "out"
    space.write(out, str(place))
    return out


def test_the_configuration_is_what_a_gradio_space_asks_for(own):
    told = configuration(own)
    assert told["sdk"] == "gradio" and told["app_file"] == "start.py"
    assert told["python_version"] == "3.12"
    assert str(told["sdk_version"]).startswith("6.")
    assert (own / str(told["app_file"])).is_file()
    assert (own / "README.md").read_text(encoding="utf-8").endswith("### How it was made\n\nBy chance.\n")


def test_the_torch_of_a_space_is_one_that_zerogpu_takes_and_that_this_project_takes(own):
    for text, newest in ((own / "requirements.txt", "2.11.0"), (space.ROOT / "requirements.txt", "2.13.0")):
        lines = [Requirement(line.partition("#")[0]) for line in text.read_text().splitlines() if line[0] != "#"]
        (torch,) = (line for line in lines if line.name == "torch")
        assert torch.specifier.contains("2.9.0") and torch.specifier.contains(newest)
        assert torch.specifier.contains("2.12.0") == (newest > "2.12")


def test_a_model_of_a_folder_goes_along_and_nothing_else_of_that_folder(own):
    (folder,) = (own / "models").iterdir()
    assert models.family_of(folder).detect(folder)
    there = {file.name for file in folder.iterdir()}
    assert {"model.json", "dvae.safetensors", "clip.safetensors", "tokenizer.json"} <= there
    assert "notes.txt" not in there
    assert f"models/{folder.name}" in (own / "start.py").read_text()


def test_only_what_the_page_needs_goes_along(own):
    there = {path.relative_to(own).as_posix() for path in own.rglob("*") if path.is_file()}
    assert {"app.py", "requirements.txt", "LICENSE", "dalle/engine.py", "dalle/ui/page.py"} <= there
    assert {"assets/prompts.toml", "assets/page/base.css", "dalle/native/step.cpp"} <= there
    assert not {"dalle/evaluate.py", "dalle/space.py", "dalle/__main__.py"} & there
    assert not [name for name in there if name.startswith(("dalle/train", "dalle/bench", "tests", "assets/emoji"))]


def test_weights_and_fonts_go_to_large_file_storage_and_text_does_not(own):
    subprocess.run(["git", "init", "-q"], cwd=own, check=True)
    names = ["models/x/dvae.safetensors", "assets/fonts/newsreader.woff2", "app.py", "assets/models.toml"]
    told = subprocess.run(["git", "check-attr", "filter", *names], cwd=own, capture_output=True, text=True, check=True)
    filters = [line.rpartition(": ")[2] for line in told.stdout.splitlines()]
    assert filters == ["lfs", "lfs", "unspecified", "unspecified"]


def test_a_model_of_the_hub_is_fetched_by_the_space(tmp_path):
    card = next(card for card in models.registered() if len(card.sources) > 1)
    files = space.write(tmp_path / "out", card.name)
    told = configuration(tmp_path / "out")
    assert told["models"] == sorted({source.repo for source in card.sources})
    assert told["preload_from_hub"][0].startswith(f"{card.sources[0].repo} {','.join(card.sources[0].files)}")
    assert not [file for file in files if file.suffix == ".safetensors"]
    space.write(tmp_path / "other", "somebody/something")
    assert configuration(tmp_path / "other")["preload_from_hub"] == ["somebody/something"]


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SettingError, match="there already"):
        space.write(tmp_path)
    with pytest.raises(ModelError):
        space.write(tmp_path / "out", "no such model")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
