"""ruDALL-E: Malevich, Emojich, Surrealist and their kin, which draw from Russian sentences.

A folder holds the transformer (`pytorch_model_v3.bin`), the Gumbel VQGAN, plain or with a wavelet decoder for twice
the pixels (`vqgan.gumbelf8-sber.model.ckpt`), a tokenizer (`bpe.model`) and maybe ruCLIP in a folder of its own.
Files are told apart by their tensors. A `config.json` beside a transformer may hold what its tensors do not tell,
under the names of the authors' constructor. See `Stated`.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dalle import checkpoint, config, ranking
from dalle.contracts import SamplingOptions
from dalle.errors import CheckpointError
from dalle.families import Parts
from dalle.nn import vqgan
from dalle.nn.patterns import visible
from dalle.nn.transformer import Transformer, TransformerConfig
from dalle.ranking import ClipRanker
from dalle.yttm import BEGIN, END, Yttm, YttmTokenizer

SUFFIXES = (*checkpoint.TORCH_SUFFIXES, checkpoint.FLAT_SUFFIX)
OPTIONS = SamplingOptions(top_k=2048, top_p=0.995)  # as the authors draw
HEADS = {2048: 16, 3840: 60, 768: 12}  # by width, in all releases
SIDE = 32  # of the token grid, in all releases; an image tokenizer on its own does not tell it
MAX_SIDE, MAX_TEXT = 64, 1024
CONV = {"v3": "window11", "v2": "torus11"}  # the pattern of the last layer
TEMPLATES = (
    "{}",
    "фото, на котором изображено {}",
    "изображение с {}",
    "картинка с {}",
    "фото с {}",
    "на фото видно {}",
)
LAYER = {  # of a layer: our names and theirs
    "attention_norm": "input_layernorm",
    "attention.qkv": "attention.query_key_value",
    "attention.out": "attention.dense",
    "attention_post_norm": "before_first_addition_layernorm",
    "mlp_norm": "post_attention_layernorm",
    "mlp.up": "mlp.dense_h_to_4h",
    "mlp.down": "mlp.dense_4h_to_h",
    "mlp_post_norm": "before_second_addition_layernorm",
}
WAVELET = "model.decoder.idwt.g0_col"
MARKS = {  # tensors by which a file is known
    "transformer.layers.0.attention.query_key_value.weight": "transformer",
    "quantize.embed.weight": "VQGAN",
    WAVELET: "VQGAN",
    "visual.class_embedding": "CLIP",
}
DESCRIPTION = {"name", "description", "checkpoint", "stored_dtype", "stored_masks"}  # keys that state no parameter


@dataclass(frozen=True)
class Stated:
    """`config.json` beside a transformer: parameters of the authors' constructor; each may be left out.

    What the tensors tell too must agree with them.
    """

    hf_version: str | None = None  # "v3" or "v2"; None: by the stored masks
    num_attention_heads: int | None = None
    num_layers: int | None = None
    hidden_size: int | None = None
    text_seq_length: int | None = None
    image_tokens_per_dim: int | None = None
    vocab_size: int | None = None
    image_vocab_size: int | None = None
    cogview_sandwich_layernorm: bool | None = None
    cogview_pb_relax: bool = True  # for half precision; it changes nothing else
    loss_img_weight: float = 7.0
    embedding_dropout_prob: float = 0.1
    attention_dropout_prob: float = 0.1
    output_dropout_prob: float = 0.1


@dataclass(frozen=True)
class ClipSizes:
    """`config.json` beside ruCLIP."""

    embed_dim: int
    image_resolution: int
    vision_layers: int
    vision_width: int
    vision_patch_size: int
    context_length: int
    vocab_size: int
    transformer_width: int
    transformer_heads: int
    transformer_layers: int
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)


def detect(place: Path) -> bool:
    return any(_kind(checkpoint.peek(file)) for file in checkpoint.find(place, *SUFFIXES))


def load(place: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> Parts:
    """The parts that are there. Raises CheckpointError."""
    found = _sorted(place)
    tokenizers = {path: Yttm.load(path) for path in checkpoint.find(place, ".model")}
    of_clip = {path for path in tokenizers if "CLIP" in found and path.parent == found["CLIP"].parent}
    model = images = ranker = text = None
    version, files = "", list(found.values())
    if "transformer" in found:
        model, version = _decoder(found["transformer"], device, dtype)
        files += [path for path in [found["transformer"].with_name("config.json")] if path.is_file()]
        text, more = _text({path: bpe for path, bpe in tokenizers.items() if path not in of_clip}, model.config)
        files += more
    if "VQGAN" in found:
        images = _images(found["VQGAN"], model.config.grid[0] if model else SIDE, device)
        if model and images.vocab != model.config.image_vocab:
            raise CheckpointError(f"{found['VQGAN'].name} is not the one that the transformer was trained with.")
    if "CLIP" in found:
        ranker = _ranker(found["CLIP"], [tokenizers[path] for path in of_clip], device)
    return Parts(text, model, images, ranker, "ruDALL-E", OPTIONS, tuple(files), version, ("Russian",))


def _sorted(place: Path) -> dict[str, Path]:
    """The files of weights at a place by what they hold. Raises CheckpointError where two hold the same."""
    found: dict[str, Path] = {}
    for path in checkpoint.find(place, *SUFFIXES):
        kind = _kind(checkpoint.look(path))
        if kind in found:
            raise CheckpointError(f"{found[kind].name} and {path.name} are both a {kind}: please keep one of them.")
        if kind:
            found[kind] = path
    return found


def _kind(content: Any) -> str | None:
    names = content.get("state_dict", content) if isinstance(content, dict) else ()
    return next((MARKS[mark] for mark in MARKS if mark in names), None) if isinstance(names, dict) else None


def _tensors(path: Path) -> dict[str, Tensor]:
    content = checkpoint.read(path)
    return checkpoint.named(content.get("state_dict", content) if isinstance(content, dict) else None, path.name)


def _decoder(path: Path, device: torch.device, dtype: torch.dtype) -> tuple[Transformer, str]:
    """The transformer, and its version."""
    tensors = _tensors(path)
    sizes, version = _sizes(tensors, _stated(path), path.name)
    folded = _fold(tensors, sizes, path.name)
    return checkpoint.build(lambda: Transformer(sizes), folded, path.name, device, dtype), version


def _stated(path: Path) -> Stated:
    place = path.with_name("config.json")
    values = config.read(place) if place.is_file() else {}
    described = values.keys() - DESCRIPTION if isinstance(values, dict) else ()
    return config.from_json(Stated, {name: values[name] for name in described} if described else values, place.name)


def _sizes(tensors: Mapping[str, Tensor], stated: Stated, where: str) -> tuple[TransformerConfig, str]:
    """What the tensors tell and the authors' releases have in common, and the version."""
    text_vocab, width = _table(tensors, "text_embeddings.weight", where)
    image_vocab, _ = _table(tensors, "image_embeddings.weight", where)
    text_len = _table(tensors, "text_pos_embeddings.weight", where)[0] - 1  # one row is for version 2
    side, _ = _table(tensors, "image_row_embeddings.weight", where)
    depth = next(n for n in itertools.count() if _layer(n, "attention.query_key_value.weight") not in tensors)
    sandwich = _layer(0, "before_first_addition_layernorm.weight") in tensors
    if not (0 < side <= MAX_SIDE and 0 < text_len <= MAX_TEXT):
        raise CheckpointError(f"{where}: {text_len} text tokens and {side} by {side} image tokens cannot be drawn.")
    told = {
        "num_layers": depth,
        "hidden_size": width,
        "text_seq_length": text_len,
        "image_tokens_per_dim": side,
        "vocab_size": text_vocab,
        "image_vocab_size": image_vocab,
        "cogview_sandwich_layernorm": sandwich,
    }
    for name, value in told.items():
        if getattr(stated, name) not in (None, value):
            raise CheckpointError(f"config.json states {name} {getattr(stated, name)}; in {where} it is {value}.")
    heads = stated.num_attention_heads or HEADS.get(width)
    if heads is None or not 0 < heads <= width or width % heads:
        raise CheckpointError(
            f"The tensors of {where} do not tell how many heads its attention has: "
            "put a config.json with num_attention_heads beside it."
        )
    version = stated.hf_version or _version(tensors, text_len, side)
    if version not in CONV:
        raise CheckpointError(f"config.json states hf_version {version[:20]!r}; known are v3 and v2.")
    old = version == "v2"
    sizes = TransformerConfig(
        text_vocab=text_vocab,
        text_len=text_len + old,
        image_vocab=image_vocab,
        grid=(side, side),
        width=width,
        depth=depth,
        heads=heads,
        patterns=_patterns(depth, version),
        pattern_start=text_len,
        mlp="gelu_tanh",
        sandwich=sandwich,
        head_norm=True,
        seam_to_text=not old,
        embedding_gradient=0.1,
        image_weight=stated.loss_img_weight,
    )
    return sizes, version


def _patterns(depth: int, version: str) -> tuple[str, ...]:
    """Of the layers; where the last one falls on a column, there is no convolution at all."""
    return tuple("column" if n % 4 == 1 else "lap" if n < depth - 1 else CONV[version] for n in range(depth))


def _version(tensors: Mapping[str, Tensor], text_len: int, side: int) -> str:
    """Told by the mask of the last layer, where it is stored: the first version's window wraps around the grid."""
    mask = tensors.get("transformer.conv_mask", torch.empty(0)).bool()
    seen = {version: visible(pattern, text_len, (side, side)) for version, pattern in CONV.items()}
    return next((version for version in seen if torch.equal(mask, seen[version])), "v3")


def _fold(tensors: dict[str, Tensor], sizes: TransformerConfig, where: str) -> dict[str, Tensor]:
    """The tensors with our names: tables of positions added up, the two heads apart.

    Takes what it uses out of `tensors`; what is left then keeps its name, and no net knows it.
    """
    width, hidden, side = sizes.width, 4 * sizes.width, sizes.grid[0]

    def take(name: str, *shape: int) -> Tensor:
        return checkpoint.take(tensors, name, shape, where)

    cells = sizes.image_len + (sizes.pattern_start or 0)
    for mask in {"transformer.row_mask", "transformer.col_mask", "transformer.conv_mask"} & tensors.keys():
        take(mask, cells, cells)  # they are made anew
    rows = take("image_row_embeddings.weight", side, width).float()
    columns = take("image_col_embeddings.weight", side, width).float()
    texts = take("text_pos_embeddings.weight", len(tensors["text_pos_embeddings.weight"]), width).float()
    both = sizes.text_vocab + sizes.image_vocab
    weight, bias = take("to_logits.1.weight", both, width), take("to_logits.1.bias", both)
    folded = {
        "text_embedding.weight": take("text_embeddings.weight", sizes.text_vocab, width),
        "image_embedding.weight": take("image_embeddings.weight", sizes.image_vocab, width),
        "position": torch.cat([texts[: sizes.text_len], (rows[:, None] + columns).flatten(0, 1)]),
        "text_head.weight": weight[: sizes.text_vocab],
        "text_head.bias": bias[: sizes.text_vocab],
        "image_head.weight": weight[sizes.text_vocab :],
        "image_head.bias": bias[sizes.text_vocab :],
    }
    shapes = {"attention.qkv": (3 * width, width), "attention.out": (width, width)}
    shapes |= {"mlp.up": (hidden, width), "mlp.down": (width, hidden)}
    named = {"norm": "transformer.final_layernorm", "head_norm": "to_logits.0"}
    for depth in range(sizes.depth):
        named |= {
            f"layers.{depth}.{ours}": _layer(depth, theirs)
            for ours, theirs in LAYER.items()
            if sizes.sandwich or "post_norm" not in ours
        }
    for ours, theirs in named.items():
        shape = shapes.get(ours.partition(".")[2].partition(".")[2], (width,))
        folded[f"{ours}.weight"] = take(f"{theirs}.weight", *shape)
        folded[f"{ours}.bias"] = take(f"{theirs}.bias", shape[0])
    return folded | tensors


def _layer(depth: int, name: str) -> str:
    return f"transformer.layers.{depth}.{name}"


def _table(tensors: Mapping[str, Tensor], name: str, where: str) -> tuple[int, int]:
    """The shape of a tensor of two dimensions. Raises CheckpointError."""
    if name not in tensors:
        raise CheckpointError(f"{where} lacks the tensor {name}.")
    if tensors[name].dim() != 2:
        raise CheckpointError(f"{where}: {name} has the shape {tuple(tensors[name].shape)}, not rows of numbers.")
    rows, width = tensors[name].shape
    return rows, width


def _text(tokenizers: Mapping[Path, Yttm], sizes: TransformerConfig) -> tuple[YttmTokenizer | None, list[Path]]:
    """What reads prompts, and its file: the tokenizer that has as many tokens as the transformer knows."""
    length = sizes.pattern_start or sizes.text_len
    for path, bpe in tokenizers.items():
        if bpe.size + length == sizes.text_vocab:
            return YttmTokenizer(bpe, length, begins=1 + sizes.text_len - length), [path]
    if tokenizers:
        raise CheckpointError(f"{next(iter(tokenizers)).name} is not what the transformer was trained with.")
    return None, []


def _images(path: Path, side: int, device: torch.device) -> vqgan.VQGAN:
    """The VQGAN for a grid of `side` by `side` tokens; what it was trained against is left out."""
    tensors = _tensors(path)
    tensors = _unwrapped(tensors, path.name) if WAVELET in tensors else tensors
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("loss.")}
    try:
        sizes = vqgan.sizes(kept, side)
    except CheckpointError as error:
        raise CheckpointError(f"{path.name}: {error}") from error
    sizes = replace(sizes, size=side * sizes.stride)
    return checkpoint.build(lambda: vqgan.VQGAN(sizes), kept, path.name, device, torch.float32)


def _unwrapped(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """A wavelet VQGAN with the names of the plain one.

    Left out are the Haar filters, which never change, and a convolution that the decoder has a used copy of.
    """
    if wrong := [name for name in tensors if not name.startswith("model.")]:
        raise CheckpointError(f"{where} holds a tensor that no wavelet VQGAN has: {wrong[0]}.")
    names = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    return {
        re.sub(r"^decoder\.(decoder|post_quant_conv)\.", r"\1.", name): tensor
        for name, tensor in names.items()
        if not name.startswith(("decoder.idwt.", "post_quant_conv."))
    }


def _ranker(path: Path, tokenizers: Sequence[Yttm], device: torch.device) -> ClipRanker:
    """ruCLIP: OpenAI's CLIP, but for the tokenizer and the token that stands for a whole sentence."""
    sizes = config.load(ClipSizes, path.with_name("config.json"))
    if len(tokenizers) != 1 or tokenizers[0].size > sizes.vocab_size:
        raise CheckpointError(f"{path.name} ranks with a tokenizer of its own: put its bpe.model beside it.")
    (bpe,) = tokenizers
    tensors = _tensors(path)
    patches = (sizes.image_resolution // max(sizes.vision_patch_size, 1)) ** 2
    shapes = {
        "token_embedding.weight": (sizes.vocab_size, sizes.transformer_width),
        "positional_embedding": (sizes.context_length, sizes.transformer_width),
        "text_projection": (sizes.transformer_width, sizes.embed_dim),
        "visual.conv1.weight": (sizes.vision_width, 3, sizes.vision_patch_size, sizes.vision_patch_size),
        "visual.positional_embedding": (patches + 1, sizes.vision_width),
        f"transformer.resblocks.{sizes.transformer_layers - 1}.ln_1.weight": (sizes.transformer_width,),
        f"visual.transformer.resblocks.{sizes.vision_layers - 1}.ln_1.weight": (sizes.vision_width,),
    }
    for name, shape in shapes.items():  # before anything of the stated sizes is made
        checkpoint.take(dict(tensors), name, shape, path.name)
    try:
        model = _clip(sizes)
    except Exception as error:  # the library asserts, and torch raises its own kinds
        raise CheckpointError(f"config.json beside {path.name} states sizes that no CLIP has.") from error
    checkpoint.check(model, tensors, path.name)
    model.load_state_dict(tensors)
    room = sizes.context_length - 2

    def encode(sentence: str) -> Tensor:
        ids = torch.tensor([BEGIN, *bpe.encode(sentence.lower())[:room], END])
        return F.pad(ids, (0, sizes.context_length - len(ids)))

    return ClipRanker(model.to(device), encode, TEMPLATES)


def _clip(sizes: ClipSizes) -> Any:
    """An open_clip model of these sizes, with random weights."""
    library = ranking.open_clip()
    vision = {
        "image_size": sizes.image_resolution,
        "layers": sizes.vision_layers,
        "width": sizes.vision_width,
        "head_width": 64,
        "patch_size": sizes.vision_patch_size,
    }
    text = {
        "context_length": sizes.context_length,
        "vocab_size": sizes.vocab_size,
        "width": sizes.transformer_width,
        "heads": sizes.transformer_heads,
        "layers": sizes.transformer_layers,
        "pool_type": "eos",
        "eos_id": END,
    }
    model = library.CLIP(sizes.embed_dim, vision, text, quick_gelu=True)
    seen = {"size": sizes.image_resolution, "mean": sizes.mean, "std": sizes.std, "interpolation": "bilinear"}
    library.set_model_preprocess_cfg(model, seen)
    return model
