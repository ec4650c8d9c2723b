"""minDALL-E: the unpacked archive `1.3B/` with config.yaml, two checkpoints and a tokenizer, and the transfer models.

Stage 1 is a VQGAN, stage 2 a plain decoder over text and image tokens. The transfer models draw pictures of a class,
or of nothing in particular: their start vectors stand where the text would be, one text token long.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from tokenizers.implementations import CharBPETokenizer
from torch import Tensor

from dalle import checkpoint, config, mapped, torchfile
from dalle.contracts import SamplingOptions, TextTokenizer
from dalle.errors import CheckpointError, PromptError
from dalle.families import Parts
from dalle.nn.transformer import Transformer, TransformerConfig
from dalle.nn.vqgan import VQGAN, VQGANConfig
from dalle.text import valid

OPTIONS = SamplingOptions(top_k=256)  # as the authors draw
PAD, UNKNOWN = "[PAD]", "[UNK]"
_MAX_YAML = 1 << 16  # bytes; the published one has fewer than 1000
# What the training framework may leave in a checkpoint beside the weights; it becomes empty shells.
_SHELLS = (
    *("pytorch_lightning.", "omegaconf.", "numpy.", "argparse.Namespace", "pathlib.", "typing.Any", "_codecs.encode"),
    *("collections.defaultdict", "builtins.dict", "builtins.list", "builtins.int", "__builtin__.dict"),
)


@dataclass(frozen=True)
class Stage1Sizes:
    """`stage1.hparams` of config.yaml, with the authors' names and defaults."""

    double_z: bool = False
    z_channels: int = 256
    resolution: int = 256
    in_channels: int = 3
    out_ch: int = 3
    ch: int = 128
    ch_mult: tuple[int, ...] = (1, 1, 2, 2, 4)
    num_res_blocks: int = 2
    attn_resolutions: tuple[int, ...] = (16,)
    pdrop: float = 0.0


@dataclass(frozen=True)
class Stage1:
    type: str = "vqgan"
    embed_dim: int = 256
    n_embed: int = 16384
    hparams: Stage1Sizes = field(default_factory=Stage1Sizes)


@dataclass(frozen=True)
class Stage2Sizes:
    """`stage2.hparams` of config.yaml."""

    embed_dim: int = 1536
    n_layers: int = 42
    n_heads: int = 24
    n_dense_layers: int = 42
    ctx_len_img: int = 256
    ctx_len_txt: int = 64
    embd_pdrop: float = 0.0
    resid_pdrop: float = 0.0
    attn_pdrop: float = 0.0
    mlp_bias: bool = True
    attn_bias: bool = True
    gelu_use_approx: bool = False
    use_head_txt: bool = True
    n_classes: int | None = None


@dataclass(frozen=True)
class Stage2:
    type: str = "transformer1d"
    use_cls_cond: bool | None = None
    vocab_size_txt: int = 16384
    vocab_size_img: int = 16384
    hparams: Stage2Sizes = field(default_factory=Stage2Sizes)


def detect(place: Path) -> bool:
    """Whether weights of a stage 2 are here, or those of a stage 1 alone."""
    contents = [torchfile.peek(file) for file in checkpoint.find(place, *checkpoint.TORCH_SUFFIXES)]
    return any(map(_is_stage2, contents)) or (bool(contents) and all(map(_is_stage1, contents)))


def load(place: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> Parts:
    """The parts that are there."""
    weights = checkpoint.find(place, *checkpoint.TORCH_SUFFIXES)
    sections, files = _read_config(_near(place, weights, ".yaml", ".yml"))
    model = images = None
    stages: dict[str, Path] = {}
    for file in weights:
        content = torchfile.read(file, _SHELLS)
        tensors = checkpoint.named(content.get("state_dict") if isinstance(content, dict) else None, file.name)
        files.append(file)
        stage = "stage 2" if _is_stage2(content) else "stage 1"
        if (first := stages.setdefault(stage, file)) is not file:
            raise CheckpointError(f"{first.name} and {file.name} are both a {stage}: please keep one of them.")
        if stage == "stage 2":
            model = _stage2(config.from_json(Stage2, sections["stage2"], "stage2"), tensors, file.name, device, dtype)
        else:
            images = _stage1(config.from_json(Stage1, sections["stage1"], "stage1"), tensors, file.name, device)
    if model is None:
        return Parts(images=images, title="minDALL-E", files=tuple(files), version="stage 1 alone")
    if images is not None and (images.vocab, images.grid) != (model.config.image_vocab, model.config.grid):
        raise CheckpointError("Stage 1 is not the one that stage 2 was trained with.")
    text, more = _text(_near(place, weights, ".json", ".txt"), model.config)
    version, languages = ("text to image", ("English",)) if model.config.text_len > 1 else ("transfer model", ())
    return Parts(text, model, images, None, "minDALL-E", OPTIONS, (*files, *more), version, languages)


def _is_stage1(content: Any) -> bool:
    return _has(content, "quantize.embedding.weight", "encoder.conv_in.weight", "quant_conv.weight")


def _is_stage2(content: Any) -> bool:
    return _has(content, "tok_emb_img.weight", "blocks.0.attn.query.weight")


def _has(content: Any, *names: str) -> bool:
    tensors = content.get("state_dict") if isinstance(content, dict) else None
    return isinstance(tensors, dict) and tensors.keys() >= set(names)


def _near(place: Path, weights: list[Path], *suffixes: str) -> list[Path]:
    """The files of these suffixes at a place, or else where its weights are: one may name the archive's folder, the
    one that it was unpacked in, or a file of it.
    """
    return checkpoint.find(place, *suffixes) or checkpoint.find(weights[0].parent, *suffixes)


def _read_config(files: list[Path]) -> tuple[dict[str, Any], list[Path]]:
    """The sections of config.yaml; without one all is as published."""
    sections: dict[str, Any] = {"stage1": {}, "stage2": {}}
    for file in files:
        if file.stat().st_size > _MAX_YAML:
            raise CheckpointError(f"{file.name} is too large to be the configuration of a model.")
        try:
            content = yaml.load(file.read_bytes(), _PlainLoader)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{file.name} is not readable YAML ({type(error).__name__}).") from error
        if not isinstance(content, dict):
            raise CheckpointError(f"{file.name} should hold named sections.")
        sections |= {name: content.get(name) or {} for name in sections}
    return sections, files


class _PlainLoader(yaml.SafeLoader):
    """Plain values only, and no aliases, by which a small file could name no end of them."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def _stage1(stated: Stage1, tensors: Mapping[str, Tensor], where: str, device: torch.device) -> VQGAN:
    sizes = stated.hparams
    if stated.type != "vqgan" or sizes.double_z or (sizes.in_channels, sizes.out_ch) != (3, 3):
        raise CheckpointError("config.yaml asks for a stage 1 other than a VQGAN of RGB pictures.")
    if max(sizes.num_res_blocks, len(sizes.ch_mult)) > len(tensors):
        raise CheckpointError(f"{where} has fewer layers than config.yaml says.")
    levels = range(len(sizes.ch_mult))
    net = VQGANConfig(
        size=sizes.resolution,
        vocab=stated.n_embed,
        code_dim=stated.embed_dim,
        latent=sizes.z_channels,
        stem=sizes.ch,
        widths=tuple(sizes.ch * factor for factor in sizes.ch_mult),
        blocks=sizes.num_res_blocks,
        attention=tuple(level for level in levels if sizes.resolution >> level in sizes.attn_resolutions),
    )
    return checkpoint.build(lambda: VQGAN(net), tensors, where, device, torch.float32)


def _stage2(
    stated: Stage2, tensors: Mapping[str, Tensor], where: str, device: torch.device, dtype: torch.dtype
) -> Transformer:
    sizes = stated.hparams
    if stated.type not in ("transformer1d", "igpt"):
        raise CheckpointError(f"config.yaml asks for a stage 2 that is not known: {stated.type[:40]!r}.")
    side = math.isqrt(max(sizes.ctx_len_img, 0))
    if side**2 != sizes.ctx_len_img:
        raise CheckpointError("config.yaml: ctx_len_img is no square.")
    if f"blocks.{sizes.n_layers - 1}.ln1.weight" not in tensors or sizes.n_layers != sizes.n_dense_layers:
        raise CheckpointError(f"{where} does not have the {sizes.n_layers} layers that config.yaml states.")
    classes = _classes(stated, tensors)
    net = TransformerConfig(
        text_vocab=stated.vocab_size_txt if classes is None else classes,
        text_len=sizes.ctx_len_txt if classes is None else 1,
        image_vocab=stated.vocab_size_img,
        grid=(side, side),
        width=sizes.embed_dim,
        depth=sizes.n_layers,
        heads=sizes.n_heads,
        mlp="quick_gelu" if sizes.gelu_use_approx else "gelu",
    )
    folded = _fold(dict(tensors), net, sizes, where, device, dtype)
    return checkpoint.build(lambda: Transformer(net), folded, where, device, dtype)


def _classes(stated: Stage2, tensors: Mapping[str, Tensor]) -> int | None:
    """How many start vectors there are; None in a model that reads sentences."""
    if "sos.weight" in tensors:
        return stated.hparams.n_classes or next(iter(tensors["sos.weight"].shape), 0)
    return 1 if "sos" in tensors else None


def _fold(
    tensors: dict[str, Tensor],
    net: TransformerConfig,
    sizes: Stage2Sizes,
    where: str,
    device: torch.device,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Stage 2 with the names of our net: two tables of positions become one, as do queries, keys and values.

    Takes what it uses out of `tensors`; what is left then keeps its name, and no net knows it.
    """
    width, hidden = net.width, 4 * net.width

    def take(name: str, *shape: int, there: bool = True) -> Tensor:
        """A tensor of that shape; zeros where the model was made without it."""
        if not there:
            return torch.zeros(shape, dtype=dtype)
        return checkpoint.take(tensors, name, shape, where)

    if net.text_len == 1:
        one = "sos" in tensors
        text = take("sos", 1, 1, width)[0] if one else take("sos.weight", net.text_vocab, width)
    else:
        text = take("tok_emb_txt.weight", net.text_vocab, width)
    sentences = net.text_len > 1
    positions = take("pos_emb_txt.weight", net.text_len, width, there=sentences)
    folded = {
        "text_embedding.weight": text,
        "image_embedding.weight": take("tok_emb_img.weight", net.image_vocab, width),
        "position": mapped.join([positions, take("pos_emb_img.weight", net.image_len, width)], dtype, device),
        "norm.weight": take("ln_f.weight", width),
        "norm.bias": take("ln_f.bias", width),
        "text_head.weight": take("head_txt.weight", net.text_vocab, width, there=sentences and sizes.use_head_txt),
        "text_head.bias": torch.zeros(net.text_vocab),
        "image_head.weight": take("head_img.weight" if sentences else "head.weight", net.image_vocab, width),
        "image_head.bias": torch.zeros(net.image_vocab),
    }
    for layer in range(net.depth):
        ours, theirs = f"layers.{layer}.", f"blocks.{layer}."
        for norm, name in (("attention_norm", "ln1"), ("mlp_norm", "ln2")):
            folded |= {f"{ours}{norm}.{kind}": take(f"{theirs}{name}.{kind}", width) for kind in ("weight", "bias")}
        parts = [f"{theirs}attn.{part}" for part in ("query", "key", "value")]
        weights = [take(f"{part}.weight", width, width) for part in parts]
        biases = [take(f"{part}.bias", width, there=sizes.attn_bias) for part in parts]
        folded |= {f"{ours}attention.qkv.weight": mapped.join(weights, dtype, device)}
        folded |= {f"{ours}attention.qkv.bias": mapped.join(biases, dtype, device)}
        for name, part, n_out, n_in, bias in (
            ("attention.out", "attn.proj", width, width, sizes.attn_bias),
            ("mlp.up", "mlp.0", hidden, width, sizes.mlp_bias),
            ("mlp.down", "mlp.2", width, hidden, sizes.mlp_bias),
        ):
            folded[f"{ours}{name}.weight"] = take(f"{theirs}{part}.weight", n_out, n_in)
            folded[f"{ours}{name}.bias"] = take(f"{theirs}{part}.bias", n_out, there=bias)
    return folded | tensors


def _text(files: list[Path], sizes: TransformerConfig) -> tuple[TextTokenizer | None, list[Path]]:
    """What reads prompts, and which of the files it needs; None where they are missing."""
    if sizes.text_len == 1:
        return ClassNumbers(sizes.text_vocab), []
    vocab = [path for path in files if path.name.endswith("vocab.json")]
    merges = [path for path in files if path.name.endswith("merges.txt")]
    if not vocab or not merges:
        return None, []
    return CharBpe(vocab[0], merges[0], sizes.text_len, sizes.text_vocab), [vocab[0], merges[0]]


class CharBpe:
    """A `TextTokenizer` of characters merged to pieces, the last of a word with "</w>"; padded at the end."""

    null = None  # the model never saw an empty caption

    def __init__(self, vocab: Path, merges: Path, length: int, size: int):
        """Raises CheckpointError where the files hold no tokenizer of at most `size` pieces."""
        try:
            self._bpe = CharBPETokenizer.from_file(str(vocab), str(merges), unk_token=UNKNOWN, lowercase=True)
        except Exception as error:  # the library raises bare Exception for anything it cannot read
            raise CheckpointError(f"{vocab.name} and {merges.name} are no tokenizer.") from error
        if {PAD, UNKNOWN} - set(self._bpe.get_vocab()) or max(self._bpe.get_vocab().values()) >= size:
            raise CheckpointError(f"{vocab.name} is not the vocabulary that the transformer was trained with.")
        self._bpe.add_special_tokens([PAD])
        self._pad = self._bpe.token_to_id(PAD)
        self.length = length

    def encode(self, prompt: str) -> Tensor:
        """str -> (T,) int64; what does not fit is cut."""
        ids = self._encoded(prompt).ids[: self.length]
        return torch.tensor(ids + [self._pad] * (self.length - len(ids)))

    def count(self, prompt: str) -> int:
        """How many tokens the prompt needs."""
        return len(self._encoded(prompt).ids)

    def readable(self, prompt: str) -> bool:
        """Whether any letter or digit of the prompt is in the vocabulary."""
        known = [piece for piece in self._encoded(prompt).tokens if piece not in (UNKNOWN, PAD)]
        return any(character.isalnum() for piece in known for character in piece.removesuffix("</w>"))

    def _encoded(self, prompt: str) -> Any:
        return self._bpe.encode(valid(prompt))


class ClassNumbers:
    """A `TextTokenizer` for a model that draws classes: the prompt is the number of one."""

    null = None
    length = 1

    def __init__(self, count: int):
        self._count = count

    def encode(self, prompt: str) -> Tensor:
        """str -> (1,) int64. Raises PromptError where it is no class; a model without classes takes anything."""
        number = prompt.strip()
        if self._count == 1:
            return torch.zeros(1, dtype=torch.long)
        if not number.isdecimal() or not number.isascii() or len(number) > 9 or int(number) >= self._count:
            raise PromptError(f"This model draws classes: please type a number from 0 to {self._count - 1}.")
        return torch.tensor([int(number)])

    def count(self, prompt: str) -> int:
        """Always 1."""
        return 1

    def readable(self, prompt: str) -> bool:
        """Always: `encode` says what is wrong with a prompt."""
        return True
