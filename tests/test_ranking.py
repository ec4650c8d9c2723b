"""Ranking: scores are cosines, one road loads every model, and what goes wrong is said in a sentence."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from dalle.errors import CheckpointError, DownloadError, UnknownModelError
from dalle.ranking import ClipRanker, open_clip, resize

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16},
    "text_cfg": {
        "context_length": 6,
        "vocab_size": 40,
        "width": 32,
        "heads": 2,
        "layers": 1,
        "no_causal_mask": True,
        "pool_type": "first",
    },
}


class Letters:
    """A `TextTokenizer` of one token per letter: 0, the letters, then a padding per position."""

    length = 8
    null = None

    def encode(self, prompt: str) -> torch.Tensor:
        ids = [0, *(1 + ord(c) % 26 for c in prompt)][: self.length]
        return torch.tensor([*ids, *range(32 + len(ids), 32 + self.length)])

    def count(self, prompt: str) -> int:
        return 1 + len(prompt)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model")
    (path / "clip.json").write_text(json.dumps(CONFIG))
    save_file(open_clip().CLIP(**CONFIG).state_dict(), path / "clip.safetensors")
    return path


@pytest.fixture(scope="module")
def ranker(directory: Path) -> ClipRanker:
    return ClipRanker.load(directory, Letters())


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 3, 48, 40, generator=torch.Generator().manual_seed(1))


def test_the_score_is_the_cosine_of_the_embeddings(ranker: ClipRanker, images: torch.Tensor) -> None:
    text, pictures = ranker.embed_texts(["bird"]), ranker.embed_images(images)
    torch.testing.assert_close(ranker.score("bird", images), F.cosine_similarity(pictures, text))
    torch.testing.assert_close(pictures.norm(dim=1), torch.ones(5))
    assert ranker.score("bird", images).std() > 0


def test_the_weights_in_the_file_are_the_ones_that_score(
    directory: Path, ranker: ClipRanker, images: torch.Tensor
) -> None:
    torch.manual_seed(0)
    model = open_clip().CLIP(**CONFIG).eval()  # the seed of the fixture: the same weights again
    mean, std = open_clip().OPENAI_DATASET_MEAN, open_clip().OPENAI_DATASET_STD
    normal = (resize(images, 32) - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.no_grad():
        expected = F.normalize(model.encode_image(normal), dim=-1)
    torch.testing.assert_close(ranker.embed_images(images), expected)


def test_a_score_does_not_depend_on_the_batch(ranker: ClipRanker, images: torch.Tensor) -> None:
    alone = torch.cat([ranker.score("a red bird", image[None]) for image in images])
    torch.testing.assert_close(ranker.score("a red bird", images), alone, atol=1e-6, rtol=0)


def test_many_pictures_are_split_into_batches(ranker: ClipRanker) -> None:
    images = torch.rand(70, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    last = ranker.embed_images(images[-5:])
    torch.testing.assert_close(ranker.embed_images(images)[-5:], last, atol=1e-6, rtol=0)


def test_resizing_keeps_the_range_and_averages_what_it_shrinks() -> None:
    stripes = torch.zeros(1, 3, 64, 64)
    stripes[..., ::2] = 1
    small = resize(stripes, 16)
    assert small.min() >= 0 and small.max() <= 1
    torch.testing.assert_close(small[..., 4:12], torch.full((1, 3, 16, 8), 0.5), atol=0.02, rtol=0)


def test_weights_of_another_model_are_refused(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.json").write_text(json.dumps({**CONFIG, "embed_dim": 8}))
    (tmp_path / "clip.safetensors").write_bytes((directory / "clip.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="damaged, or not the model"):
        ClipRanker.load(tmp_path, Letters())


@pytest.mark.parametrize("tower", ["vision_cfg", "text_cfg"])
@pytest.mark.parametrize("sizes", [{"layers": 10**12}, {"width": 2**20}])
def test_sizes_beyond_all_measure_are_refused_before_a_net_is_made(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tower: str, sizes: dict[str, int]
) -> None:
    (tmp_path / "clip.json").write_text(json.dumps({**CONFIG, tower: {**CONFIG[tower], **sizes}}))
    (tmp_path / "clip.safetensors").write_bytes((directory / "clip.safetensors").read_bytes())
    made: list[object] = []
    monkeypatch.setattr("dalle.ranking.build", lambda *parts: made.append(parts))
    with pytest.raises(CheckpointError, match="damaged, or not the model"):
        ClipRanker.load(tmp_path, Letters())
    assert not made


def test_missing_and_unknown_files_are_named(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"clip\.json is missing"):
        ClipRanker.load(tmp_path, Letters())
    (tmp_path / "clip.json").write_text(json.dumps({**CONFIG, "precision": "fp16"}))
    with pytest.raises(CheckpointError, match="nothing else"):
        ClipRanker.load(tmp_path, Letters())
    (tmp_path / "clip.json").write_text(json.dumps(CONFIG))
    with pytest.raises(CheckpointError, match=r"clip\.safetensors is missing"):
        ClipRanker.load(tmp_path, Letters())


def test_another_tokenizer_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Letters, "length", 20)  # paddings up to id 51, and the model knows 40
    with pytest.raises(CheckpointError, match="tokenizer"):
        ClipRanker.load(directory, Letters())


def test_an_unknown_published_model_lists_what_there_is() -> None:
    with pytest.raises(UnknownModelError, match="ViT-X-1"):
        ClipRanker.pretrained("ViT-X-1", "laion2b_s34b_b79k")
    with pytest.raises(UnknownModelError, match="laion2b_s34b_b79k"):
        ClipRanker.pretrained("ViT-B-32", "no_such_tag")


def test_no_hub_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DownloadError, match=r"ViT-B-32 \(laion2b_s34b_b79k\) could not be fetched"):
        ClipRanker.pretrained("ViT-B-32", "laion2b_s34b_b79k")


def test_published_models_come_from_the_hub_alone() -> None:
    """The library would fetch one without a name there from an address of its own, offline or not."""
    library = open_clip()
    assert all(library.get_pretrained_cfg(*entry).get("hf_hub") for entry in library.list_pretrained())


def test_operators_are_registered_only_where_they_are_missing() -> None:
    """In a fresh process, as registrations are for life: `nms` is there already and must be left alone."""
    script = """
import torch
theirs = torch.library.Library("torchvision", "FRAGMENT")
theirs.define("nms(Tensor only_here) -> Tensor")
from dalle import _torchvision
_torchvision._load_compiled_half = lambda: None
_torchvision.ensure_operators()
assert torch.ops.torchvision.nms.default._schema.arguments[0].name == "only_here"
assert torch.ops.torchvision.qnms.default._schema.arguments[0].name == "boxes"
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_importing_ranking_does_not_import_open_clip() -> None:
    subprocess.run(
        [sys.executable, "-c", "import dalle.ranking, sys; assert 'open_clip' not in sys.modules"], check=True
    )
