"""DALL·E mini and mega: an encoder-decoder and a VQGAN, as published for Flax and as converted for PyTorch.

A place holds `flax_model.msgpack` with its `config.json`, or the two halves `encoder.pt` and `decoder.pt`; the VQGAN
of Flax, or `detoker.pt`, which can only draw; `vocab.json` and `merges.txt`; and the list of word frequencies that
hashtags are split by. What a file of weights is, its tensors tell. "Super conditioning" of both codes is guidance as
here, (1 - s) * empty + s * caption = empty + s * (caption - empty). This differs from them on purpose:

- Sentences are normalised as in training, which the PyTorch port leaves out (`captions.AsciiTokenizer` has its way),
  and the empty caption of guidance is the same for all prompts, long ones too. A single `<person>` is "a person".
- The first input is the start token of training. `decoder_start_token_id` in `config.json` names another one: the
  last release of the port took 16383, and the ones before it, with mega, 16415.
- Only codes of the VQGAN can be drawn. Pictures are rounded to 8 bits, not cut off.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dalle import checkpoint, flaxfile, torchfile
from dalle.contracts import SamplingOptions
from dalle.errors import CheckpointError, HalfError
from dalle.families import Parts
from dalle.families.dalle_mini import settings
from dalle.families.dalle_mini.captions import CaptionTokenizer, Normalizer, read_bpe
from dalle.families.dalle_mini.layouts import CODES, FlaxHalf, Half, Place, fold, sizes
from dalle.families.dalle_mini.pictures import read_vqgan
from dalle.nn.seq2seq import Seq2Seq
from dalle.nn.vqgan import VQGAN

MODEL, ENCODER, DECODER, VQGAN_BOTH, VQGAN_DRAWS = "model", "encoder", "decoder", "VQGAN", "VQGAN's drawing half"
WORDS = "words-frequency"  # in the name of the list that hashtags are split by
SUFFIXES = (flaxfile.SUFFIX, *checkpoint.TORCH_SUFFIXES)
TITLES = {1024: "DALL·E mini", 2048: "DALL·E mega"}  # by width
FLAX_OPTIONS = SamplingOptions(guidance=10.0)  # as the authors of each code recommend
TORCH_OPTIONS = SamplingOptions(guidance=16.0, top_k=256)


def detect(place: Path) -> bool:
    """Whether any weights here are a part of such a model."""
    return any(_kind(file) for file in checkpoint.find(place, *SUFFIXES))


def load(place: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> Parts:
    """The parts that are there. Raises CheckpointError."""
    files = _files(place)
    images: VQGAN | None = None
    pictures: tuple[Path, ...] = ()
    if vqgan := files.get(VQGAN_BOTH) or files.get(VQGAN_DRAWS):
        images, pictures = read_vqgan(vqgan, device)
    halves = _halves(files)
    if halves is None:
        return Parts(images=images, title="VQGAN of DALL·E mini", files=pictures)
    weights = tuple(part for kind in (MODEL, ENCODER, DECODER) if kind in files for part in flaxfile.row(files[kind]))
    told, where = settings.beside(weights[0], "d_model", halves[0].shape("embed_tokens.weight")[1])
    model = _model(*halves, told, where, images, Place(device, dtype))
    text, words = _text(place, weights[0], model, told.get("normalize_text") is not False)
    title = TITLES.get(model.config.width, "DALL·E mini of another size")
    version, options = ("Flax", FLAX_OPTIONS) if MODEL in files else ("PyTorch", TORCH_OPTIONS)
    used = (*weights, *(() if where is None else (where,)), *pictures, *words)
    return Parts(text, model, images, None, title, options, used, version, ("English",))


def _kind(path: Path) -> str:
    """What a file of weights is; "" for none of ours, or an unreadable one."""
    tensors = flaxfile.peek(path) if path.suffix == flaxfile.SUFFIX else torchfile.peek(path)
    if not isinstance(tensors, dict):
        return ""
    names = [name for name in tensors if isinstance(name, str)]

    def any_with(*parts: str) -> bool:
        return any(part in name for name in names for part in parts)

    if path.suffix == flaxfile.SUFFIX:
        return MODEL if any_with("/FlaxBart") else VQGAN_BOTH if any_with("decoder/mid/") else ""
    if any_with(".glu.fc"):
        return DECODER if any_with(".encoder_attn.") else ENCODER
    return VQGAN_DRAWS if any_with("decoder.mid.") and not any_with("quantize.", "encoder.") else ""


def _tag(path: Path) -> str | None:
    """What the name of half a model has behind its kind, "_mini" of "encoder_mini.pt"; None for other names."""
    return next((path.stem.removeprefix(half) for half in (ENCODER, DECODER) if path.stem.startswith(half)), None)


def _of_one_model(place: Path) -> list[Path]:
    """The files of weights at a place, of a row the first; beside half a model its other half and a VQGAN.

    A folder may hold several models, as the repository of the port does: halves whose names say no more are meant.
    """
    if place.is_file() and _tag(place) is None:
        return flaxfile.row(place)[:1]
    folder = place if place.is_dir() else place.parent
    found = [path for path in checkpoint.find(folder, *SUFFIXES) if path == flaxfile.row(path)[0]]
    halves = {path: tag for path in found if (tag := _tag(path)) is not None}
    pictures = _pictures(found)
    if place.is_file():
        own = [path for path, tag in halves.items() if tag == _tag(place) and path.parent == folder]
    else:
        others = {path for path, tag in halves.items() if tag and "" in halves.values()}
        own = [path for path in found if path not in pictures and path not in others]
    if halves and not pictures:  # as the port keeps its models, one VQGAN for all of them
        pictures = _pictures(checkpoint.find(folder.parent / "vqgan", *SUFFIXES))
    return own + pictures


def _pictures(files: list[Path]) -> list[Path]:
    return [path for path in files if _kind(path) in (VQGAN_BOTH, VQGAN_DRAWS)]


def _files(place: Path) -> dict[str, Path]:
    """The parts that are there, by what they are. Raises CheckpointError for a second one, or for a foreign file."""
    files: dict[str, Path] = {}
    for path in _of_one_model(place):
        kind = _kind(path)
        if not kind:
            flaxfile.read(path) if path.suffix == flaxfile.SUFFIX else torchfile.read(path)  # says what is wrong
            raise CheckpointError(f"{path.name} is no part of this model. Keep it in another folder.")
        if kind in files:
            both = f"{files[kind].name} and {path.name}"
            raise CheckpointError(f"{both} both hold the {kind}. Name one of them, or keep one model in a folder.")
        files[kind] = path
    return files


def _halves(files: dict[str, Path]) -> tuple[Half, Half] | None:
    """The encoder and the decoder; None where there is neither. Raises CheckpointError where one is alone."""
    if MODEL in files and {ENCODER, DECODER} & set(files):
        raise CheckpointError(
            f"{files[MODEL].name} is a whole model, but halves of one lie beside it. Keep one of both."
        )
    if MODEL in files:
        tensors, name = flaxfile.read(files[MODEL]), files[MODEL].name
        return FlaxHalf(tensors, name, ENCODER), FlaxHalf(tensors, name, DECODER)
    halves = []
    for half, other in ((ENCODER, DECODER), (DECODER, ENCODER)):
        if half in files:
            halves.append(Half(checkpoint.named(torchfile.read(files[half]), files[half].name), files[half].name))
        elif other in files:
            raise HalfError(f"{files[other].name} holds the {other} alone. The {half} belongs beside it.", half)
    return (halves[0], halves[1]) if halves else None


def _model(
    encoder: Half, decoder: Half, told: Mapping[str, Any], where: Path | None, images: VQGAN | None, place: Place
) -> Seq2Seq:
    """The net, checked against what its `config.json` tells, where there is one."""
    heads = {side: settings.number(told, where, f"{side}_attention_heads", 2**16) for side in (ENCODER, DECODER)}
    net = sizes(encoder, decoder, heads, None if images is None else images.vocab)
    rows, width = decoder.shape("embed_tokens.weight")
    start = settings.number(told, where, "decoder_start_token_id", rows)
    known = settings.MODEL_CHOICES | {
        "d_model": width,
        "decoder_ffn_dim": net.decoder.hidden,
        "decoder_layers": net.decoder.depth,
        "encoder_ffn_dim": net.encoder.hidden,
        "encoder_layers": net.encoder.depth,
        "encoder_vocab_size": net.text_vocab,
        "image_length": net.image_len,
        "image_vocab_size": rows - 1,
        "max_text_length": net.text_len,
    }
    read = {"decoder_attention_heads", "decoder_start_token_id", "encoder_attention_heads", "normalize_text"}
    settings.check(told, where, known, read)
    tensors = fold(encoder, decoder, net, min(CODES, rows - 1) if start is None else start, place)
    return checkpoint.build(lambda: Seq2Seq(net), tensors, decoder.where, *place)


def _text(
    place: Path, weights: Path, model: Seq2Seq, normalize: bool
) -> tuple[CaptionTokenizer | None, tuple[Path, ...]]:
    """The tokenizer and its files, the words that split hashtags among them, if they are there."""
    folder = weights.parent
    vocabularies, merges = (_named(weights, stem, suffix) for stem, suffix in (("vocab", ".json"), ("merges", ".txt")))
    if not vocabularies and not merges:
        return None, ()
    for name, files in (("vocab.json", vocabularies), ("merges.txt", merges)):
        if len(files) != 1:
            raise CheckpointError(f"There should be one {name} beside the model's weights, not {len(files)}.")
    words = [path for path in checkpoint.find(place if place.is_dir() else folder, ".txt") if WORDS in path.name][:1]
    normalizer = Normalizer(*words) if normalize else None
    bpe = read_bpe(vocabularies[0], merges[0], model.config.text_vocab)
    return CaptionTokenizer(bpe, model.config.text_len, normalizer), (*vocabularies, *merges, *words)


def _named(weights: Path, stem: str, suffix: str) -> list[Path]:
    """The files of that name beside weights, "vocab_mini.json" beside "encoder_mini.pt"; without one, all like it."""
    tag = _tag(weights) or ""
    exact = weights.with_name(f"{stem}{tag}{suffix}")
    return [exact] if exact.is_file() else sorted(weights.parent.glob(f"{stem}*{suffix}")) if not tag else []
