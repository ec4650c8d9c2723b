"""The transformer: which options a checkpoint was made with, and its tensors under the names of our net.

Options are read from names and shapes, for the stored hyper-parameters are often incomplete. Folded into weights: the
scale of each layer, the axial position tables, the joint head, embeddings that are slices of it. Only the two
neighborhood patterns look the same; there the stored version decides.
Letters: T caption tokens, f columns of the token grid, D channels, N rows of the text vocabulary, V image codes.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dalle.errors import CheckpointError
from dalle.families.dalle_pytorch import branches
from dalle.families.dalle_pytorch.branches import Tensors
from dalle.nn.patterns import BLOCK
from dalle.nn.rotary import turns
from dalle.nn.transformer import TransformerConfig

DEFAULTS: dict[str, Any] = {  # of the hyper-parameters that are used
    "num_text_tokens": 10000,
    "text_seq_len": 256,
    "dim": None,
    "depth": None,
    "heads": 8,
    "dim_head": 64,
    "attn_types": ("full",),
    "loss_img_weight": None,
    "stable": False,
}
UNUSED = {  # told by the tensors, or of no meaning once a model is trained
    "vae",
    "reversible",
    "ff_dropout",
    "attn_dropout",
    "shift_tokens",
    "rotary_emb",
    "shared_attn_ids",
    "shared_ff_ids",
    "share_input_output_emb",
    "sparse_attn",
    "sandwich_norm",
    "optimize_for_inference",
}
PATTERNS = {"full": "full", "axial_row": "row", "axial_col": "column", "sparse": "blocks", "mlp": "gate"}
WRAPPERS = {  # modules around attention and MLP, those that scale and norm included: releases, with token shift
    (1, 1): ("0.2 to 0.7", False),
    (2, 2): ("0.8 to 1.2", False),
    (3, 3): ("1.0 to 1.2", True),
    (3, 2): ("1.4 or later", False),
    (5, 4): ("1.4 or later", True),
}
QUADRANT_SINCE = (1, 5)  # before, a neighborhood was a window around the query
DIVIDED_HEAD = "to_logits.2.weight"  # releases 0.12.1 to 0.12.4 divided rows by their largest channel in the head
LARGEST = 1 << 20  # no size of a net is larger


@dataclass(frozen=True)
class Folded:
    """A transformer under our names."""

    config: TransformerConfig
    tensors: dict[str, Tensor]
    version: str  # the releases that it may come from
    pieces: int  # of its text tokenizer


def fold(
    tensors: Mapping[str, Tensor], hparams: Any, version: Any, where: str, dtype: torch.dtype = torch.float32
) -> Folded:
    """The transformer among the tensors of a checkpoint (no "vae." ones); `dtype` is that of products of weights.

    Raises CheckpointError naming the key.
    """
    return _Reader(Tensors(tensors, where, dtype), _checked(hparams, where), str(version or "")).read()


def _checked(hparams: Any, where: str) -> dict[str, Any]:
    """The hyper-parameters that are used, complete and sound."""
    if not isinstance(hparams, dict):
        raise CheckpointError(f"{where}: hparams should be a table of names and values.")
    if unknown := sorted(str(name)[:60] for name in hparams if name not in DEFAULTS and name not in UNUSED):
        raise CheckpointError(f"{where} has a hyper-parameter that this program does not know: {unknown[0]}.")
    values = {name: hparams.get(name, default) for name, default in DEFAULTS.items()}
    for name in ("num_text_tokens", "text_seq_len", "dim", "depth", "heads", "dim_head"):
        if not isinstance(values[name], int) or not 0 < values[name] <= LARGEST:
            raise CheckpointError(f"{where}: the hyper-parameter {name} should be a positive number of common size.")
    types = values["attn_types"] or ("full",)
    types = (types,) if isinstance(types, str) else types
    if not isinstance(types, list | tuple) or any(kind not in (*PATTERNS, "conv_like") for kind in types):
        raise CheckpointError(f"{where}: the hyper-parameter attn_types names an attention that is not known.")
    values["attn_types"] = tuple(types)
    weight = values["loss_img_weight"]
    if weight is not None and (not isinstance(weight, int | float) or not 0 <= weight < math.inf):
        raise CheckpointError(f"{where}: the hyper-parameter loss_img_weight should be a number from 0 up.")
    return values


@dataclass
class _Reader:
    """One reading of a checkpoint: sizes first, then tensor by tensor."""

    there: Tensors
    values: dict[str, Any]
    version: str
    out: dict[str, Tensor] = field(default_factory=dict)

    def read(self) -> Folded:
        there, values, out = self.there, self.values, self.out
        width, length, bare = values["dim"], values["text_seq_len"], values["num_text_tokens"]
        there.ignore("logits_mask")
        divided = DIVIDED_HEAD in there
        rows, codes = self._vocabularies(divided)
        if rows not in (bare, bare + length):
            raise CheckpointError(f"{there.where}: text_emb.weight has {rows} rows, not one for each text token.")
        reserved = rows == bare + length  # each position has a padding of its own; else they share 0, which is hidden
        self._head(divided, width, rows, codes)
        side = self._positions(width, length)
        reversible = there.any("transformer.layers.blocks.")
        wrappers = [self._layer(depth, reversible) for depth in range(values["depth"])]
        releases, shift = self._layout(wrappers)
        there.finish()
        rotary = out["rotation"].shape[2] if "rotation" in out else 0
        weight = values["loss_img_weight"]
        types = values["attn_types"][: values["depth"]]
        config = TransformerConfig(
            text_vocab=rows,
            text_len=length + 1,
            image_vocab=codes,
            grid=(side, side),
            width=width,
            depth=values["depth"],
            heads=values["heads"],
            head_dim=values["dim_head"],
            patterns=tuple(self._pattern(kind) for kind in types),
            shift=shift,
            mlp="geglu",
            sandwich="layers.0.mlp_post_norm.weight" in out,
            rotary=rotary,
            reversible=reversible,
            divide_by_max=divided or bool(values["stable"]),
            hidden_token=None if reserved else 0,
            uncounted_token=None if reserved else 0,
            image_weight=7.0 if weight is None and reserved else weight,
        )
        return Folded(config, out, self.version or releases, bare)

    def _vocabularies(self, divided: bool) -> tuple[int, int]:
        """N and V."""
        there = self.there
        if "text_emb.linear.weight" not in there:
            return self._rows("text_emb.weight"), self._rows("image_emb.weight")
        rows = self.values["num_text_tokens"] + self.values["text_seq_len"]
        codes = self._rows(f"to_logits.{2 if divided else 1}.weight") - rows
        if codes < 1:
            raise CheckpointError(f"{there.where}: text_emb.linear.weight has no rows for images.")
        return rows, codes

    def _rows(self, name: str) -> int:
        return (*self.there.shape(name), 0)[0]

    def _positions(self, width: int, length: int) -> int:
        """Position tables and stored angles; f."""
        there, out = self.there, self.out
        rotary = "transformer.pos_emb" in there
        axes = [f"image_pos_emb.weights_{axis}" for axis in (0, 1)]
        others = [f"image_pos_emb.weights.{axis}" for axis in (0, 1)]  # what some releases call the same
        if axes[0] in there:
            there.ignore(*others)
        elif others[0] in there:
            axes = others
        side = self._side_of_angles(length) if rotary else (*there.shape(axes[0]), 0, 0)[1]
        size = length + 1 + side * side
        if rotary:
            shape = there.shape("transformer.pos_emb")
            angles = there.take("transformer.pos_emb", *shape).reshape(-1, shape[-1])
            out["rotation"] = turns(F.pad(angles, (0, 0, 0, size - len(angles))))  # the last row is never an input
        if rotary and "text_pos_emb.weight" not in there:
            out["position"] = torch.zeros(size, width)
            return side
        text = there.take("text_pos_emb.weight", length + 1, width).float()
        rows = there.take(axes[0], 1, side, 1, width).float()
        columns = there.take(axes[1], 1, 1, side, width).float()
        out["position"] = torch.cat([text, (rows + columns).reshape(side * side, width)])
        return side

    def _side_of_angles(self, length: int) -> int:
        """f, from the (1, T + f*f + 1, R) angles of newer releases or the (1, 1, T + f*f, R) ones of older."""
        shape = self.there.shape("transformer.pos_emb")
        count = shape[-2] - length - (len(shape) == 3) if len(shape) in (3, 4) else 0
        side = math.isqrt(max(count, 0))
        fits = 0 < shape[-1] <= self.values["dim_head"] and shape[-1] % 2 == 0 if shape else False
        if not fits or side == 0 or side * side != count or set(shape[:-2]) != {1}:
            raise CheckpointError(f"{self.there.where}: transformer.pos_emb has the shape {shape}, which cannot be.")
        return side

    def _head(self, divided: bool, width: int, rows: int, codes: int) -> None:
        """The last norm, the two halves of the joint head, and the embeddings."""
        there, out = self.there, self.out
        norm, linear = ("to_logits.1", "to_logits.2") if divided else ("to_logits.0", "to_logits.1")
        out["norm.weight"], out["norm.bias"] = (there.take(f"{norm}.{part}", width) for part in ("weight", "bias"))
        weight = there.take(f"{linear}.weight", rows + codes, width)
        bias = there.take(f"{linear}.bias", rows + codes)
        out["text_head.weight"], out["image_head.weight"] = weight[:rows], weight[rows:]
        out["text_head.bias"], out["image_head.bias"] = bias[:rows], bias[rows:]
        if "text_emb.linear.weight" in there:
            for part in ("text_emb", "image_emb"):
                there.take(f"{part}.linear.weight", rows + codes, width)
                there.take(f"{part}.linear.bias", rows + codes)
            out["text_embedding.weight"], out["image_embedding.weight"] = weight[:rows], weight[rows:]
        else:
            out["text_embedding.weight"] = there.take("text_emb.weight", rows, width)
            out["image_embedding.weight"] = there.take("image_emb.weight", codes, width)

    def _layout(self, wrappers: list[tuple[int, int]]) -> tuple[str, bool]:
        """The releases whose layers are wrapped so, and whether they shift tokens."""
        if len(set(wrappers)) > 1 or wrappers[0] not in WRAPPERS:
            raise CheckpointError(f"{self.there.where}: its layers are nested in a way that no known release does.")
        return WRAPPERS[wrappers[0]]

    def _pattern(self, kind: str) -> str:
        if kind != "conv_like":
            return PATTERNS[kind]
        release = tuple(int(part) for part in re.findall(r"\d{1,6}", self.version)[:2])
        return "quadrant5" if release >= QUADRANT_SINCE else "window5"

    def _layer(self, depth: int, reversible: bool) -> tuple[int, int]:
        """Both branches of a layer; how many modules are wrapped around attention and MLP."""
        there, out, values = self.there, self.out, self.values
        width, inner = values["dim"], values["heads"] * values["dim_head"]
        kind = values["attn_types"][depth % len(values["attn_types"])]
        if reversible:
            first, second = (f"transformer.layers.blocks.{depth}.{branch}.net." for branch in "fg")
        else:
            first, second = (f"transformer.layers.layers.{depth}.{branch}." for branch in (0, 1))
        name = f"layers.{depth}"
        if kind == "mlp":
            a = branches.gate(there, first, out, f"{name}.attention", width, len(out["position"]))
        else:
            a = branches.attention(there, first, out, f"{name}.attention", width, inner)
        if kind == "sparse":
            # Each layer stores blocks of its own, but the kernels kept those of the first one for all.
            count = len(out["position"]) // BLOCK
            layout = f"{first}{'fn.' * a}attn_fn.master_layout"
            out.setdefault("blocks", there.take(layout, values["heads"], count, count, whole=True) != 0)
        return a, branches.mlp(there, second, out, f"{name}.mlp", width)
