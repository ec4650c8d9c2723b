"""Models of lucidrains' DALLE-pytorch, releases 0.2.8 to 1.6.6, and of its fork that drew birds.

`dalle.pt` holds a transformer together with its frozen image tokenizer, `vae.pt` an image tokenizer alone, and a bare
state dict its CLIP. A text tokenizer lies beside them, unless it is CLIP's. See the README of this folder.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from dalle import checkpoint, torchfile
from dalle.contracts import SamplingOptions
from dalle.errors import CheckpointError
from dalle.families import Parts
from dalle.families.dalle_pytorch import captions, images, layout, ranker
from dalle.families.dalle_pytorch.library import DALLE, top_k
from dalle.nn.transformer import Transformer

__all__ = ["DALLE", "detect", "load"]

SHELLS = ("dalle_pytorch.", "dall_e.", "torch.nn.", "deepspeed.")  # what early releases and DeepSpeed store beside
NOTE = "note of DeepSpeed"  # a file without weights, which are in a folder for each step that was saved
STEPS, SHARD = "global_step*", "mp_rank_00_model_states.pt"
KEPT_SHARE = 0.9  # the `top_k` of the authors' own program, a share of the vocabulary to leave out


def detect(place: Path) -> bool:
    return any(_kind(torchfile.peek(file)) for file in checkpoint.find(place, *checkpoint.TORCH_SUFFIXES))


def load(place: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> Parts:
    found = _sorted(place)
    for kind, files in found.items():
        if len(files) > 1:
            raise CheckpointError(f"{files[0].name} and {files[1].name} are both a {kind}: please name one of them.")
    if not found:
        raise CheckpointError(f"'{place.name}' holds no such model.")
    judge = _read_ranker(found["CLIP"][0], device) if "CLIP" in found else None
    if "transformer" not in found:
        tokenizer = _read_images(found["image tokenizer"][0], device) if "image tokenizer" in found else None
        paths = tuple(files[0] for files in found.values())
        return Parts(images=tokenizer, title="DALLE-pytorch, in parts", files=paths)
    path = found["transformer"][0]
    content, weights, held = _read_transformer(path)
    tensors = checkpoint.named(weights, held[-1].name)
    if device.type == "meta":  # folding costs nothing then
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith("vae.")}
    folded = layout.fold(own, content["hparams"], content.get("version"), path.name, dtype)
    config = folded.config
    frozen = {name.removeprefix("vae."): tensor for name, tensor in tensors.items() if name.startswith("vae.")}
    stated = content.get("vae_params")
    tokenizer = images.build(frozen, stated, config.grid[0], path.name, device) if frozen else None
    if tokenizer is not None and tokenizer.vocab != config.image_vocab:
        raise CheckpointError(f"{path.name}: its image tokenizer has {tokenizer.vocab} codes, its transformer others.")
    model = checkpoint.build(lambda: Transformer(config), folded.tensors, path.name, device, dtype)
    read = captions.find(path.parent, folded.pieces)
    pieces, beside = read or (None, ())
    if judge and pieces and pieces.size > judge.config.text_vocab:
        raise CheckpointError(f"{found['CLIP'][0].name} was trained with another text tokenizer than {path.name}.")
    return Parts(
        text=captions.Captions(pieces, config) if pieces else None,
        model=model,
        images=tokenizer,
        ranker=ranker.PairRanker(judge, pieces) if judge and pieces else None,
        title=f"DALLE-pytorch, {config.depth} layers of {config.width} channels",
        options=SamplingOptions(top_k=top_k(KEPT_SHARE, config)),
        files=(*held, *beside),
        version=folded.version,
    )


def _sorted(place: Path) -> dict[str, list[Path]]:
    """The files at a place by what they hold. Raises CheckpointError for a damaged one."""
    found = defaultdict(list)
    for path in checkpoint.find(place, *checkpoint.TORCH_SUFFIXES):
        if not path.parent.match(STEPS) and (kind := _kind(torchfile.look(path))):
            found[kind].append(path)
    notes = found.pop(NOTE, [])  # of a training run that also wrote a whole file, most often
    return dict(found) if "transformer" in found or not notes else {**found, "transformer": notes}


def _kind(content: Any) -> str | None:
    if not isinstance(content, dict):
        return None
    if ranker.MARK in content:
        return "CLIP"
    weights = content.get("weights")
    if "hparams" not in content or not isinstance(weights, dict | str):
        return None
    if isinstance(weights, str):
        return NOTE
    if any(str(name).startswith("transformer.") for name in weights):
        return "transformer"
    return "image tokenizer" if "codebook.weight" in weights else None


def _read_transformer(path: Path) -> tuple[dict[str, Any], Any, tuple[Path, ...]]:
    """What `dalle.pt` holds, its weights, and the files that they came from.

    DeepSpeed leaves a sentence in their place, and has them in a folder of its own for each of its checkpoints.
    """
    content = torchfile.read(path, SHELLS)
    if not isinstance(content["weights"], str):
        return content, content["weights"], (path,)
    shards = sorted(path.parent.glob(f"{STEPS}/{SHARD}"), key=lambda file: (len(file.parent.name), file))
    latest = path.with_name("latest")
    step = latest.read_text("utf-8", "replace").strip() if latest.is_file() else ""
    if not shards:
        raise CheckpointError(
            f"{path.name} holds no weights, for it was trained with DeepSpeed, and there is no {SHARD} in a folder "
            "beside it. Gather the parts that are there with DeepSpeed's zero_to_fp32.py, and store what it writes "
            "under the key weights."
        )
    shard = next((file for file in shards if file.parent.name == step), shards[-1])
    held = torchfile.read(shard, SHELLS)
    return content, held.get("module") if isinstance(held, dict) else None, (path, shard)


def _read_images(path: Path, device: torch.device) -> Any:
    """`vae.pt`."""
    content = torchfile.read(path, SHELLS)
    tensors = checkpoint.named(content["weights"], path.name)
    return images.strided(tensors, content["hparams"], path.name, device)


def _read_ranker(path: Path, device: torch.device) -> Any:
    return ranker.build(checkpoint.named(torchfile.read(path), path.name), path.name, device)
