"""Pictures from disk: pairing, splitting, and getting past what is broken."""

import io
import json
import logging
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dalle.errors import DataError
from dalle.worlds import negative_captions, reword
from dalle.worlds.folder import FolderSource, TarSource


def jpeg(color: str, size: tuple[int, int] = (40, 24)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty captioned pictures, one picture without a caption, one broken, one huge."""
    for number in range(30):
        (tmp_path / f"{number:02}.jpg").write_bytes(jpeg("red"))
        (tmp_path / f"{number:02}.txt").write_text(f"a red field {number:02}\n\n red {number:02} \n", "utf-8")
    (tmp_path / "alone.jpg").write_bytes(jpeg("red"))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot much more")
    (tmp_path / "broken.json").write_text('{"caption": "a broken picture"}', "utf-8")
    huge = io.BytesIO()
    Image.new("1", (10000, 6000)).save(huge, "PNG")
    (tmp_path / "huge.png").write_bytes(huge.getvalue())
    (tmp_path / "huge.txt").write_text("a huge picture", "utf-8")
    return tmp_path


@pytest.fixture
def shards(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same files in two shards."""
    target = tmp_path_factory.mktemp("shards")
    files = sorted(folder.iterdir())
    for number, part in enumerate((files[:30], files[30:])):
        with tarfile.open(target / f"part-{number}.tar", "w") as tar:
            for file in part:
                tar.add(file, file.name)
    return str(target / "part-{0..1}.tar")


def test_folder_and_shards_give_the_same_examples(folder: Path, shards: str) -> None:
    one, other = FolderSource(folder, size=32, seed=3), TarSource(shards, size=32, seed=3)
    assert len(one) == len(other) > 20
    for index in range(len(one)):
        a, b = one[index], other[index]
        assert (a.caption, a.facts) == (b.caption, b.facts)
        assert a.picture.size == (32, 32) and np.array_equal(a.picture, b.picture)


def test_examples_depend_on_seed_and_index_only(folder: Path) -> None:
    source = FolderSource(folder, size=16)
    again = pickle.loads(pickle.dumps(source))
    backwards = [again[index].caption for index in reversed(range(60))]
    forwards = [source[index].caption for index in range(60)]
    assert forwards == backwards[::-1]
    assert set(forwards) != set(forwards[:30])  # the second round takes other captions
    assert forwards != [FolderSource(folder, size=16, seed=1)[index].caption for index in range(60)]


def test_captions_belong_to_their_pictures(folder: Path) -> None:
    for example in FolderSource(folder, size=16):
        key = example.facts["key"]
        assert example.caption in (f"a red field {key}", f"red {key}")


def test_bad_pictures_are_skipped_counted_and_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sources = [FolderSource(folder, split, size=16) for split in ("train", "heldout")]
        keys = {example.facts["key"] for source in sources for example in source}
    assert keys == {f"{number:02}" for number in range(30)}
    assert sum(source.skipped for source in sources) == 4  # "alone" is counted by both
    assert "broken" in caplog.text and "huge" in caplog.text and str(folder) not in caplog.text


def test_splits_share_nothing(folder: Path) -> None:
    train, heldout = (
        {example.facts["key"] for example in FolderSource(folder, split, size=16)} for split in ("train", "heldout")
    )
    assert train and heldout and not train & heldout


def test_examples_from_disk_can_be_reworded_and_have_no_negatives(folder: Path) -> None:
    example = FolderSource(folder, size=16)[0]
    said = {reword(example, np.random.default_rng(seed)) for seed in range(20)}
    assert said == set(example.facts["captions"]) and len(said) == 2
    assert negative_captions(example, np.random.default_rng(0)) == []


def test_captions_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    for number in range(12):
        picture = tmp_path / "images" / "001.Finch" / f"Finch_{number}.jpg"
        text = tmp_path / "text" / "001.Finch" / f"Finch_{number}.json"
        for file in (picture, text):
            file.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(jpeg("blue"))
        text.write_text(json.dumps({"captions": [f"a blue finch {number}"]}), "utf-8")
    for example in FolderSource(tmp_path, size=16):
        assert example.caption.split()[-1] == example.facts["key"].split("_")[-1]


def test_pictures_are_cut_square_around_their_middle(tmp_path: Path) -> None:
    picture = Image.new("RGB", (90, 30), "red")
    picture.paste("blue", (30, 0, 60, 30))
    for number in range(10):
        picture.save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text("a blue square", "utf-8")
    assert np.asarray(FolderSource(tmp_path, size=30)[0].picture).mean(axis=(0, 1)).round().tolist() == [
        0,
        0,
        255,
    ]


@pytest.mark.parametrize("text", ["", "   \n", "{", "[1, 2]", '{"caption": 7}', '{"captions": [null, ""]}'])
def test_useless_captions_leave_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg("red"))
    (tmp_path / "a.json").write_text(text, "utf-8")
    with pytest.raises(DataError, match="no pictures with captions"):
        FolderSource(tmp_path)


def test_what_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder named 'nowhere'"):
        FolderSource(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"'none\.tar' is missing"):
        TarSource(str(tmp_path / "none.tar"))
    with pytest.raises(DataError, match="split"):
        FolderSource(tmp_path, split="test")


def test_a_folder_of_broken_pictures_ends(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(b"broken")
        (tmp_path / f"{number}.txt").write_text("a picture", "utf-8")
    with pytest.raises(DataError, match="can be read"):
        FolderSource(tmp_path)[0]
