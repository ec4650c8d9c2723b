"""CLIP as the judge of pictures: the cosine between a sentence and each picture (paper, section 2.6).

Our own small model and every published one are `open_clip` models, opened and used in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dalle import checkpoint, config
from dalle._torchvision import ensure_operators
from dalle.contracts import TextTokenizer
from dalle.errors import CheckpointError, DownloadError, UnknownModelError

CONFIG, WEIGHTS = "clip.json", "clip.safetensors"
_PARTS = {"embed_dim", "vision_cfg", "text_cfg"}  # what an open_clip model config consists of
_BATCH = 64  # pictures or sentences embedded at once


class ClipRanker:
    """A `Ranker`: an open_clip model, and the way from a sentence to its tokens."""

    def __init__(self, model: Any, encode: Callable[[str], Tensor], templates: Sequence[str] = ("{}",)) -> None:
        """`model` is open_clip's; `encode` maps a sentence to the (T,) int64 tokens of its text tower.

        A prompt is put into each of the `templates`, and pictures are compared with the mean of what comes out.
        """
        self.model = model.eval().requires_grad_(False)
        self._encode = encode
        self._templates = templates
        self._prepare = Preprocess(model)

    @classmethod
    def load(cls, directory: Path, tokenizer: TextTokenizer) -> ClipRanker:
        """Our own model: `clip.json` (an open_clip model config) and `clip.safetensors`.

        Raises CheckpointError where they or the tokenizer do not fit together.
        """
        parts = read_config(directory / CONFIG)
        tensors = checkpoint.read_tensors(directory, Path(WEIGHTS).stem)
        try:
            net = open_clip().CLIP  # the import must not happen on the meta device
            checkpoint.outline(lambda: net(**parts), tensors, WEIGHTS)  # before anything of its sizes is stored
            model = build(parts, directory / WEIGHTS)
        except Exception as error:  # open_clip, torch and safetensors each raise their own kinds
            raise CheckpointError(f"{WEIGHTS} is damaged, or not the model that {CONFIG} describes.") from error
        text = parts["text_cfg"]
        if int(tokenizer.encode("").max()) >= text["vocab_size"] or tokenizer.length < text["context_length"]:
            raise CheckpointError(f"The text tokenizer is not the one that {WEIGHTS} was trained with.")
        return cls(model, lambda sentence: tokenizer.encode(sentence)[: text["context_length"]])

    @classmethod
    def pretrained(cls, name: str, tag: str) -> ClipRanker:
        """A published model, such as "ViT-B-32" with "laion2b_s34b_b79k", from the Hub or its cache.

        Raises UnknownModelError where open_clip does not know it, DownloadError where it cannot be fetched.
        """
        library = open_clip()
        if name not in library.list_models():
            raise UnknownModelError(f"open_clip has no model named {name!r}.")
        if tag not in (tags := library.list_pretrained_tags_by_model(name)):
            raise UnknownModelError(f"open_clip has no {name} {tag!r}. Choose among {', '.join(tags)}.")
        try:
            model = library.create_model(name, pretrained=tag)
            tokenizer = library.get_tokenizer(name)
        except Exception as error:  # the network, the Hub and the cache each raise their own kinds
            raise DownloadError(
                f"The CLIP model {name} ({tag}) could not be fetched. Check the connection to the Hugging "
                "Face Hub and that HF_HUB_OFFLINE is not set, or rank with the model's own CLIP."
            ) from error
        return cls(model, lambda sentence: tokenizer([sentence])[0])

    def score(self, prompt: str, images: Tensor) -> Tensor:
        """str, (B, 3, H, W) in [0, 1] -> (B,) cosine similarities, higher is better."""
        tokens = self._tokens([template.replace("{}", prompt) for template in self._templates])
        mean = self._embed(self.model.encode_text, tokens).mean(0)
        return self.embed_images(images) @ F.normalize(mean, dim=0)

    def embed_images(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, E) of length one."""
        return self._embed(lambda part: self.model.encode_image(self._prepare(part), normalize=True), images)

    def embed_texts(self, sentences: Sequence[str]) -> Tensor:
        """B sentences -> (B, E) of length one."""
        return self._embed(lambda part: self.model.encode_text(part, normalize=True), self._tokens(sentences))

    def _tokens(self, sentences: Sequence[str]) -> Tensor:
        """B sentences -> (B, T) int64."""
        return torch.stack([self._encode(sentence) for sentence in sentences])

    @torch.inference_mode()
    def _embed(self, tower: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        return torch.cat([tower(part.to(self._device)).float() for part in rows.split(_BATCH)])

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


class Preprocess:
    """Pictures as a model was trained to see them: its size, its mean and standard deviation per channel."""

    def __init__(self, model: Any) -> None:
        values = open_clip().get_model_preprocess_cfg(model)
        size = values["size"]
        self.size: int = size if isinstance(size, int) else size[0]
        self._mode: str = values.get("interpolation", "bicubic")
        self._mean = torch.tensor(values["mean"]).view(3, 1, 1)
        self._std = torch.tensor(values["std"]).view(3, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, 3, size, size)."""
        images = resize(images, self.size, self._mode)
        return (images - self._mean.to(images)) / self._std.to(images)


def open_clip() -> ModuleType:
    """The library, imported on first use: it takes seconds."""
    ensure_operators()
    import open_clip as library

    return library


def build(parts: dict[str, Any], weights: Path | None = None) -> Any:
    """The open_clip model of a config, with random weights or with those of a file.

    It takes the road of published models: a named one is asked for, and every part of its config replaced.
    """
    return open_clip().create_model("ViT-B-32", pretrained=None if weights is None else str(weights), **parts)


def read_config(path: Path) -> dict[str, Any]:
    """An open_clip model config: embed_dim, vision_cfg and text_cfg. Raises CheckpointError."""
    parts = config.read(path)
    if not isinstance(parts, dict) or set(parts) != _PARTS:
        raise CheckpointError(f"{path.name} should hold {', '.join(sorted(_PARTS))} and nothing else.")
    return parts


def resize(images: Tensor, size: int, mode: str = "bicubic") -> Tensor:
    """(B, 3, H, W) in [0, 1] -> (B, 3, size, size) in [0, 1], antialiased when it shrinks."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images.float(), (size, size), mode=mode, antialias=True).clamp(0, 1)
