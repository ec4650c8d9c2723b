"""ruDALL-E of other sizes than those kept as files, against a slow reading of the layout: whole stream, written out."""

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dalle.families import rudalle

PIECES, CODES = 40, 30
NORMS = ("input_layernorm", "before_first_addition_layernorm", "post_attention_layernorm")
NORMS = (*NORMS, "before_second_addition_layernorm")


def checkpoint(depth: int, side: int, text_len: int, width: int, sandwich: bool) -> dict[str, Tensor]:
    generator, vocab = torch.Generator().manual_seed(depth), PIECES + text_len

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.15

    tensors = {
        "text_embeddings.weight": random(vocab, width),
        "image_embeddings.weight": random(CODES, width),
        "text_pos_embeddings.weight": random(text_len + 1, width),
        "image_row_embeddings.weight": random(side, width),
        "image_col_embeddings.weight": random(side, width),
    }
    linears = {"to_logits.1": (vocab + CODES, width)}
    norms = ["to_logits.0", "transformer.final_layernorm"]
    for layer in range(depth):
        start = f"transformer.layers.{layer}."
        norms += [start + name for name in NORMS if sandwich or "addition" not in name]
        linears |= {
            f"{start}attention.query_key_value": (3 * width, width),
            f"{start}attention.dense": (width, width),
            f"{start}mlp.dense_h_to_4h": (4 * width, width),
            f"{start}mlp.dense_4h_to_h": (width, 4 * width),
        }
    for name, shape in linears.items():
        tensors |= {f"{name}.weight": random(*shape), f"{name}.bias": random(shape[0])}
    for name in norms:
        tensors |= {f"{name}.weight": 1 + random(width), f"{name}.bias": random(width)}
    return tensors


def sees(kind: str, query: int, key: int, text_len: int, side: int) -> bool:
    """Whether a position looks at another, both counted as if the text were `text_len` long."""
    apart = query - key
    if apart < 0 or key < text_len:
        return apart >= 0
    rows, columns = (abs(f(query - text_len) - f(key - text_len)) for f in (lambda i: i // side, lambda i: i % side))
    if kind == "v2":  # around the edges
        rows, columns = min(rows, side - rows), min(columns, side - columns)
    return {"row": apart <= side, "column": apart % side == 0}.get(kind, max(rows, columns) <= 5)


def logits(tensors: dict[str, Tensor], ids: Tensor, text_len: int, side: int, heads: int, version: str) -> Tensor:
    """(B, T + n) ids -> (B, n + 1, CODES), the image logits of tokens 0 … n, as far as there are any."""

    def norm(x: Tensor, name: str) -> Tensor:
        if f"{name}.weight" not in tensors:
            return x
        return F.layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    text, image = ids[:, :text_len], ids[:, text_len:]
    text = torch.where(text == 0, PIECES + torch.arange(text_len), text)
    text = F.pad(text, (int(version == "v2"), 0), value=2)
    cells = torch.arange(image.shape[1])
    seen = tensors["image_embeddings.weight"][image] + tensors["image_row_embeddings.weight"][cells // side]
    seen = seen + tensors["image_col_embeddings.weight"][cells % side]
    read = tensors["text_embeddings.weight"][text] + tensors["text_pos_embeddings.weight"][: text.shape[1]]
    x = torch.cat([read, seen], 1)[:, : text_len + side**2]
    size = x.shape[1]
    depth = sum(name.endswith("attention.dense.bias") for name in tensors)
    for layer in range(depth):
        start = f"transformer.layers.{layer}."
        kind = "column" if (layer - 1) % 4 == 0 else "row" if layer < depth - 1 else version
        mask = torch.tensor([[sees(kind, q, k, text_len, side) for k in range(size)] for q in range(size)])
        joint = linear(norm(x, f"{start}input_layernorm"), f"{start}attention.query_key_value")
        q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in joint.chunk(3, -1))
        scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(2, 3)
        y = (scores.masked_fill(~mask, -1e4).softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + norm(linear(y, f"{start}attention.dense"), f"{start}before_first_addition_layernorm")
        y = linear(norm(x, f"{start}post_attention_layernorm"), f"{start}mlp.dense_h_to_4h")
        y = linear(F.gelu(y, approximate="tanh"), f"{start}mlp.dense_4h_to_h")
        x = x + norm(y, f"{start}before_second_addition_layernorm")
    x = norm(norm(x, "transformer.final_layernorm"), "to_logits.0")
    return linear(x, "to_logits.1")[:, text.shape[1] - 1 :, PIECES + text_len :]


@pytest.mark.parametrize("version", ["v2", "v3"])
@pytest.mark.parametrize(
    ("depth", "side", "text_len", "width", "heads", "sandwich"),
    [
        (1, 4, 5, 32, 2, True),
        (2, 6, 7, 32, 4, False),  # no window: its last layer looks at columns
        (3, 12, 5, 48, 3, True),  # a window smaller than the grid
        (5, 7, 16, 96, 12, True),
        (7, 5, 4, 32, 1, False),
    ],
)
def test_logits_of_other_sizes(tmp_path: Path, version, depth, side, text_len, width, heads, sandwich):
    tensors = checkpoint(depth, side, text_len, width, sandwich)
    torch.save(tensors, tmp_path / "some.bin")
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": heads, "hf_version": version}))
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, PIECES, (2, text_len), generator=generator)
    ids[0, 2:] = 0
    image = torch.randint(0, CODES, (2, side**2), generator=generator)
    wanted = logits(tensors, torch.cat([ids, image], 1), text_len, side, heads, version)[:, : side**2]

    model = rudalle.load(tmp_path, torch.device("cpu")).model
    text = torch.where(ids == 0, PIECES + torch.arange(text_len), ids)
    text = F.pad(text, (int(version == "v2"), 0), value=2)
    torch.testing.assert_close(model(text, image)[:, : side**2], wanted, atol=5e-5, rtol=0)
    row, state = model.prefill(text, image[:, :3])
    steps = [row, *(model.step(image[:, index], state) for index in range(3, side**2 - 1))]
    torch.testing.assert_close(torch.stack(steps, 1), wanted[:, 3:], atol=5e-5, rtol=0)
