"""DALL·E mini of other sizes than those kept as files, against a slow reading of its layouts, written out."""

import json
from dataclasses import dataclass
from pathlib import Path

import flaxwriter
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dalle.families import dalle_mini

CPU = torch.device("cpu")
FLAX = {  # a part of a name in PyTorch, and in Flax
    "pre_self_attn_layer_norm": "LayerNorm_0",
    "self_attn_layer_norm": "LayerNorm_1",
    "pre_encoder_attn_layer_norm": "LayerNorm_2",
    "encoder_attn_layer_norm": "LayerNorm_3",
    "self_attn": "FlaxBartAttention_0",
    "encoder_attn": "FlaxBartAttention_1",
    "glu": "GLU_0",
    **{f"ln{i}": f"LayerNorm_{i}" for i in range(2)},
    **{f"fc{i}": f"Dense_{i}" for i in range(3)},
}


@dataclass(frozen=True)
class Made:
    width: int = 24
    layers: tuple[int, int] = (2, 3)  # of the encoder and the decoder
    heads: tuple[int, int] = (3, 2)
    hidden: tuple[int, int] = (20, 33)
    text: tuple[int, int] = (40, 9)  # rows, length
    image: tuple[int, int] = (31, 16)

    @property
    def told(self) -> dict[str, int]:
        """`config.json`."""
        told = {"d_model": self.width, "image_vocab_size": self.image[0] - 1, "image_length": self.image[1]}
        told |= {"encoder_vocab_size": self.text[0], "max_text_length": self.text[1]}
        for side, values in (("encoder", 0), ("decoder", 1)):
            told |= {f"{side}_layers": self.layers[values], f"{side}_attention_heads": self.heads[values]}
            told[f"{side}_ffn_dim"] = self.hidden[values]
        return told | {"decoder_start_token_id": 5}


def half(made: Made, decoder: bool) -> dict[str, Tensor]:
    """By the names of the PyTorch port."""
    dice, width, hidden = torch.Generator().manual_seed(int(decoder)), made.width, made.hidden[decoder]

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=dice) * 0.3

    def norm(name: str) -> dict[str, Tensor]:
        return {f"{name}.weight": 1 + random(width), f"{name}.bias": random(width)}

    rows, length = made.image if decoder else made.text
    tensors = {"embed_tokens.weight": random(rows, width), "embed_positions.weight": random(length, width)}
    tensors |= norm("layernorm_embedding") | {"final_ln.bias": random(width)}
    tensors |= {"lm_head.weight": random(rows, width)} if decoder else {}
    for layer in range(made.layers[decoder]):
        at = f"layers.{layer}"
        for name in ("self", "encoder") if decoder else ("self",):
            tensors |= {f"{at}.{name}_attn.{part}_proj.weight": random(width, width) for part in ("q", "k", "v", "out")}
            tensors |= {f"{at}.pre_{name}_attn_layer_norm.bias": random(width), **norm(f"{at}.{name}_attn_layer_norm")}
        tensors |= {f"{at}.glu.ln0.bias": random(width), f"{at}.glu.ln1.bias": random(hidden)}
        tensors |= {f"{at}.glu.fc{part}.weight": random(hidden, width) for part in (0, 1)}
        tensors[f"{at}.glu.fc2.weight"] = random(width, hidden)
    return tensors


def flax(halves: dict[str, dict[str, Tensor]], scanned: bool) -> dict[str, Tensor]:
    """The same by Flax's paths, layers stacked or each in a tree of its own."""
    tensors: dict[str, Tensor] = {}
    for side, held in halves.items():
        stacks: dict[str, list[Tensor]] = {}
        for name, tensor in held.items():
            *path, last = name.split(".")
            kernel = "proj" in name or "fc" in name or "lm_head" in name
            kind = "kernel" if kernel else "embedding" if "embed_" in path[0] else "scale"
            leaf = tensor.T if kernel else tensor
            end = "/".join([*(FLAX.get(part, part) for part in path[2:]), kind if last == "weight" else last])
            if path[0] == "layers" and scanned:
                stacks.setdefault(f"model/{side}/layers/FlaxBart{side.capitalize()}Layers/{end}", []).append(leaf)
            elif path[0] == "layers":
                tensors[f"model/{side}/layers/FlaxBart{side.capitalize()}Layer_{path[1]}/{end}"] = leaf
            else:
                above = "" if path[0] == "lm_head" else f"model/{side}/"
                tensors[f"{above}{path[0]}/{kind if last == 'weight' else last}"] = leaf
        tensors |= {path: torch.stack(leaves) for path, leaves in stacks.items()}
    return tensors


def logits(made: Made, halves: dict[str, dict[str, Tensor]], text: Tensor, image: Tensor) -> Tensor:
    """(T,) and (n,) tokens -> (n + 1, rows)."""

    def norm(held: dict[str, Tensor], x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], held.get(f"{name}.weight"), held[f"{name}.bias"])

    def attention(held: dict[str, Tensor], x: Tensor, other: Tensor, name: str, heads: int, shown: Tensor) -> Tensor:
        q, k, v = (
            (of @ held[f"{name}.{part}_proj.weight"].T).unflatten(1, (heads, -1)).transpose(0, 1)
            for part, of in (("q", x), ("k", other), ("v", other))
        )
        scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
        y = scores.masked_fill(~shown, -torch.inf).softmax(-1) @ v
        return y.transpose(0, 1).flatten(1) @ held[f"{name}.out_proj.weight"].T

    def glu(held: dict[str, Tensor], x: Tensor, at: str) -> Tensor:
        x = norm(held, x, f"{at}.ln0")
        y = F.gelu(x @ held[f"{at}.fc0.weight"].T) * (x @ held[f"{at}.fc1.weight"].T)
        return norm(held, y, f"{at}.ln1") @ held[f"{at}.fc2.weight"].T

    read = None
    for side, ids in (("encoder", text), ("decoder", torch.cat([torch.tensor([5]), image]))):
        held, decoder = halves[side], side == "decoder"
        x = held["embed_tokens.weight"][ids] + held["embed_positions.weight"][: len(ids)]
        x = norm(held, x, "layernorm_embedding")
        own = torch.ones(len(ids), len(ids), dtype=torch.bool).tril() if decoder else (text != 1).expand(len(ids), -1)
        for layer in range(made.layers[decoder]):
            at, heads = f"layers.{layer}", made.heads[decoder]
            y = norm(held, x, f"{at}.pre_self_attn_layer_norm")
            y = attention(held, y, y, f"{at}.self_attn", heads, own)
            x = x + norm(held, y, f"{at}.self_attn_layer_norm")
            if decoder:
                y = norm(held, x, f"{at}.pre_encoder_attn_layer_norm")
                y = attention(held, y, read, f"{at}.encoder_attn", heads, (text != 1).expand(len(ids), -1))
                x = x + norm(held, y, f"{at}.encoder_attn_layer_norm")
            x = x + glu(held, x, f"{at}.glu")
        x = read = norm(held, x, "final_ln")
    return x @ halves["decoder"]["lm_head.weight"].T


@pytest.mark.parametrize("layout", ["halves", "scanned", "unscanned"])
@pytest.mark.parametrize(
    "made",
    [
        Made(),
        Made(width=16, layers=(1, 1), heads=(1, 16), hidden=(5, 64), text=(12, 64), image=(17, 9)),
        Made(width=128, layers=(3, 2), heads=(2, 2), hidden=(8, 8), text=(7, 3), image=(70, 25)),
    ],
    ids=["uneven", "one layer", "usual heads"],
)
def test_logits_of_other_sizes(tmp_path: Path, made: Made, layout: str):
    halves = {"encoder": half(made, False), "decoder": half(made, True)}
    if layout == "halves":
        for side, tensors in halves.items():
            torch.save(tensors, tmp_path / f"{side}.pt")
    else:
        flaxwriter.write(tmp_path / "flax_model.msgpack", flax(halves, layout == "scanned"))
    (tmp_path / "config.json").write_text(json.dumps(made.told))
    dice = torch.Generator().manual_seed(1)
    text = torch.randint(2, made.text[0], (2, made.text[1]), generator=dice)
    text[1, 2:] = 1
    image = torch.randint(0, made.image[0] - 1, (2, made.image[1] - 1), generator=dice)
    wanted = torch.stack([logits(made, halves, *pair) for pair in zip(text, image, strict=True)])
    model = dalle_mini.load(tmp_path, CPU).model
    near = {"atol": 1e-4, "rtol": 1e-4}
    torch.testing.assert_close(model(text, image), wanted, **near)
    row, state = model.prefill(text, image[:, :2])
    steps = [row, *(model.step(image[:, index], state) for index in range(2, image.shape[1]))]
    torch.testing.assert_close(torch.stack(steps, 1), wanted[:, 2:], **near)
