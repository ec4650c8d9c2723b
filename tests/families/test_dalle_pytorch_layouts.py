"""DALLE-pytorch with every option of every layout, against a slow reading of its files: whole stream, written out."""

import math
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dalle.families import dalle_pytorch
from dalle.families.dalle_pytorch import DALLE, captions

CPU = torch.device("cpu")
HIDDEN = -torch.finfo(torch.float32).max
BLOCK = 16
ALL = ("full", "axial_row", "axial_col", "conv_like")


@dataclass(frozen=True)
class Made:
    """The options of a checkpoint, and the release that it is of."""

    release: str = "1.6.6"
    stated: bool = True  # whether the file names its release
    types: str | tuple[str, ...] | None = ("full",)
    depth: int = 2
    dim: int = 16
    heads: int = 2
    dim_head: int = 12
    length: int = 6  # T
    pieces: int = 20
    side: int = 4
    codes: int = 11
    shift: bool = False
    rotary: bool = False
    sandwich: bool = False
    reversible: bool = False
    stable: bool = False
    shared: tuple[int, ...] | None = None  # the layer whose branches each layer has
    joint: bool = False  # embeddings are rows of the head

    @property
    def number(self) -> tuple[int, ...]:
        return tuple(map(int, self.release.split(".")))

    @property
    def kinds(self) -> list[str]:
        types = (self.types,) if isinstance(self.types, str) else self.types or ("full",)
        return list(islice(cycle(types), self.depth))

    @property
    def rows(self) -> int:
        """N: early releases have no padding of its own for each position."""
        return self.pieces + self.length * (self.number >= (0, 9))

    @property
    def wrappers(self) -> tuple[int, int]:
        """How many names "fn." stand before attention and MLP."""
        if self.number < (0, 8):
            return 1, 1
        if self.number < (1, 4):
            return (3, 3) if self.shift else (2, 2)
        return (5, 4) if self.shift else (3, 2)

    def branch(self, layer: int, second: bool) -> str:
        if self.reversible:
            return f"transformer.layers.blocks.{layer}.{'g' if second else 'f'}.net."
        return f"transformer.layers.layers.{layer}.{int(second)}."


def turns(made: Made) -> Tensor:
    """(L, R) angles of each position: of the text, of its row, of its column; a pair of channels has the same."""
    third = made.dim_head // 3
    count = third // 2
    cells = torch.linspace(-1, 1, made.side)
    angles = []
    for position in range(made.length + 1 + made.side**2):
        cell = position - made.length - 1
        place = position if cell < 0 else 8192
        row, column = (-10.0, -10.0) if cell < 0 else (cells[cell // made.side], cells[cell % made.side])
        text = [place * 10000 ** (-2 * k / third) for k in range(count)]
        axes = [[float(at) * f * math.pi for f in torch.linspace(1, 5, count)] for at in (row, column)]
        angles.append([angle for angle in (*text, *axes[0], *axes[1]) for _ in range(2)])
    return torch.tensor(angles)


def content(made: Made) -> dict:
    """What `dalle.pt` holds."""
    generator = torch.Generator().manual_seed(made.depth)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.25

    def norm(name: str) -> dict[str, Tensor]:
        return {f"{name}.weight": 1 + random(made.dim), f"{name}.bias": random(made.dim)}

    def linear(name: str, n_out: int, n_in: int) -> dict[str, Tensor]:
        return {f"{name}.weight": random(n_out, n_in), f"{name}.bias": random(n_out)}

    inner, dim, size = made.heads * made.dim_head, made.dim, made.length + made.side**2
    head = "to_logits.2" if (0, 12, 1) <= made.number <= (0, 12, 4) else "to_logits.1"
    before = f"to_logits.{int(head[-1]) - 1}"
    weights = {**norm(before), **linear(head, made.rows + made.codes, dim)}
    for part, count in (("text_emb", made.rows), ("image_emb", made.codes)):
        if made.joint:
            weights |= {f"{part}.linear.{kind}": weights[f"{head}.{kind}"] for kind in ("weight", "bias")}
        else:
            weights[f"{part}.weight"] = random(count, dim)
    if made.number < (0, 9, 7):
        weights["logits_mask"] = torch.zeros(1, size, made.rows + made.codes, dtype=torch.bool)
    if made.rotary:
        early = made.number < (1, 1, 2)
        weights["transformer.pos_emb"] = turns(made)[None, None, :-1] if early else turns(made)[None]
    else:
        weights["text_pos_emb.weight"] = random(made.length + 1, dim)
        weights["image_pos_emb.weights_0"] = random(1, made.side, 1, dim)
        weights["image_pos_emb.weights_1"] = random(1, 1, made.side, dim)
    for layer, kind in enumerate(made.kinds):
        for second in (False, True):
            prefix, deep = made.branch(layer, second), "fn." * made.wrappers[second]
            outside = prefix if made.number < (0, 8) else f"{prefix}fn."
            if made.number >= (0, 8):
                weights[f"{prefix}scale"] = 0.5 + random(1, 1, dim)
            weights |= norm(f"{outside}norm") | (norm(f"{outside}norm_out") if made.sandwich else {})
            if made.shared and (first := made.shared[layer]) != layer:
                start, old = prefix + deep, made.branch(first, second) + deep
                weights |= {start + n.removeprefix(old): t for n, t in weights.items() if n.startswith(old)}
            elif second:
                weights |= linear(f"{prefix}{deep}net.0", 8 * dim, dim) | linear(f"{prefix}{deep}net.3", dim, 4 * dim)
            elif kind == "mlp":
                weights |= linear(f"{prefix}{deep}proj_in.0", 4 * dim, dim)
                weights |= linear(f"{prefix}{deep}proj_out", dim, 2 * dim)
                weights |= {f"{prefix}{deep}sgu.norm.{part}": 1 + random(2 * dim) for part in ("weight", "bias")}
                lone = () if made.number < (0, 14) else (1,)
                weights[f"{prefix}{deep}sgu.weight"] = random(*lone, size, size)
                weights[f"{prefix}{deep}sgu.bias"] = 1 + random(*lone, size)
            else:
                weights[f"{prefix}{deep}to_qkv.weight"] = random(3 * inner, dim)
                weights |= linear(f"{prefix}{deep}to_out.0", dim, inner)
            if kind == "sparse" and not second:
                blocks = torch.rand(made.heads, size // BLOCK, size // BLOCK, generator=generator) < 0.5
                weights[f"{prefix}{deep}attn_fn.master_layout"] = (blocks | torch.eye(size // BLOCK).bool()).long()
    vae = {"codebook": (made.codes, 6), "encoder.0.0": (8, 3, 4, 4), "encoder.1": (made.codes, 8, 1, 1)}
    vae |= {"decoder.0.0": (6, 8, 4, 4), "decoder.1": (3, 8, 1, 1)}
    weights |= {f"vae.{name}.weight": random(*shape) for name, shape in vae.items()}
    sizes = {"encoder.0.0": 8, "encoder.1": made.codes, "decoder.0.0": 8, "decoder.1": 3}
    weights |= {f"vae.{name}.bias": random(count) for name, count in sizes.items()}
    hparams = {"num_text_tokens": made.pieces, "text_seq_len": made.length, "dim": dim, "depth": made.depth}
    hparams |= {"heads": made.heads, "dim_head": made.dim_head, "reversible": made.reversible}
    hparams |= {} if made.types is None else {"attn_types": made.types}
    hparams |= {"stable": True} if made.stable else {}
    hparams |= {"shared_attn_ids": tuple(map(str, made.shared))} if made.shared else {}
    stated = {"image_size": 2 * made.side, "num_layers": 1, "num_tokens": made.codes, "codebook_dim": 6}
    stated |= {"hidden_dim": 8, "num_resnet_blocks": 0}
    told = {"version": made.release} if made.stated else {}
    return {"hparams": hparams, "vae_params": stated, "weights": weights} | told


def looks(made: Made, kind: str, query: int, key: int) -> bool:
    """Whether a position looks at an earlier one, or itself."""
    q, k = query - made.length - 1, key - made.length - 1
    if q < 0 or k < 0:
        return True
    rows, columns = q // made.side - k // made.side, q % made.side - k % made.side
    if kind == "conv_like" and made.stated and made.number >= (1, 5):
        return rows <= 4 and 0 <= columns <= 4
    near = {"axial_row": rows == 0, "axial_col": columns == 0, "conv_like": abs(rows) <= 2 and abs(columns) <= 2}
    return near.get(kind, True)


def shifted(made: Made, x: Tensor) -> Tensor:
    """(S, D), some channels of each row from earlier ones."""
    out, text, side = x.clone(), made.length + 1, made.side
    half, quarter = math.ceil(made.dim / 2), math.ceil(made.dim / 4)
    nothing = torch.zeros(made.dim)
    for position in range(len(x)):
        cell = position - text
        if cell < 0:
            out[position, :half] = (x[position - 1] if position else nothing)[:half]
            continue
        above = x[position - side] if cell >= side else nothing
        left = x[position - 1] if cell % side else nothing
        out[position, :quarter] = above[:quarter]
        out[position, quarter : 2 * quarter] = left[quarter : 2 * quarter]
    return out


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """(H, S, K) and (S, R) -> (H, S, K)."""
    out = x.clone()
    for j in range(0, angles.shape[1], 2):
        a, b, angle = x[..., j], x[..., j + 1], angles[:, j]
        out[..., j] = a * angle.cos() - b * angle.sin()
        out[..., j + 1] = b * angle.cos() + a * angle.sin()
    return out


def logits(made: Made, weights: dict[str, Tensor], text: Tensor, image: Tensor) -> Tensor:
    """(T,) and (I,) ids -> (T + I, N + V)."""

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))

    early = made.number < (0, 9)
    ids = [0] + [id if id or early else made.pieces + p for p, id in enumerate(text.tolist())]
    hidden = [early and id == 0 and p > 0 for p, id in enumerate(ids)] + [False] * (made.side**2 - 1)
    head = "to_logits.2" if "to_logits.2.weight" in weights else "to_logits.1"
    if made.joint:
        read, seen = weights[f"{head}.weight"][ids], weights[f"{head}.weight"][made.rows + image]
    else:
        read, seen = weights["text_emb.weight"][ids], weights["image_emb.weight"][image]
    if not made.rotary:
        read = read + weights["text_pos_emb.weight"]
        rows, columns = weights["image_pos_emb.weights_0"][0], weights["image_pos_emb.weights_1"][0]
        seen = seen + (rows + columns).flatten(0, 1)
    x = torch.cat([read, seen])[:-1]  # (L, D)
    size = len(x)
    angles = turns(made)[:size] if made.rotary else None

    def attention(x: Tensor, layer: int) -> Tensor:
        kind, prefix = made.kinds[layer], made.branch(layer, False) + "fn." * made.wrappers[0]
        if kind == "mlp":
            values, gates = F.gelu(linear(x, f"{prefix}proj_in.0")).chunk(2, -1)
            mix = weights[f"{prefix}sgu.weight"].reshape(size, size).tril()
            gates = mix @ norm(gates, f"{prefix}sgu.norm") + weights[f"{prefix}sgu.bias"].reshape(size, 1)
            return linear(gates * values, f"{prefix}proj_out")
        joint = linear(x, f"{prefix}to_qkv").chunk(3, -1)
        q, k, v = (part.unflatten(1, (made.heads, -1)).transpose(0, 1) for part in joint)  # (H, S, K)
        if angles is not None:
            q, k, v = (turned(part, angles) for part in (q, k, v))
        scores = (q / math.sqrt(made.dim_head)) @ k.transpose(1, 2)
        shown = torch.tensor([[looks(made, kind, p, other) for other in range(size)] for p in range(size)]).tril()
        if kind == "sparse":
            first = made.branch(made.kinds.index("sparse"), False) + "fn." * made.wrappers[0]
            block = torch.arange(size) // BLOCK
            shown = shown & (weights[f"{first}attn_fn.master_layout"][:, block][:, :, block] != 0)
            scores = scores + torch.tensor(hidden).float()  # paddings were shown, and favored by 1
        else:
            blind = (torch.arange(size) > made.length) | (kind == "full")
            shown = shown & ~(blind[:, None] & torch.tensor(hidden))
        scores = scores.masked_fill(~shown, HIDDEN)
        return linear((scores.softmax(-1) @ v).transpose(0, 1).flatten(1), f"{prefix}to_out.0")

    def mlp(x: Tensor, layer: int) -> Tensor:
        prefix = made.branch(layer, True) + "fn." * made.wrappers[1]
        values, gates = linear(x, f"{prefix}net.0").chunk(2, -1)
        return linear(values * F.gelu(gates), f"{prefix}net.3")

    def added(x: Tensor, layer: int, second: bool) -> Tensor:
        prefix = made.branch(layer, second)
        outside = f"{prefix}fn." if f"{prefix}scale" in weights else prefix
        y = norm(x, f"{outside}norm")
        y = (mlp if second else attention)(shifted(made, y) if made.shift else y, layer)
        y = norm(y, f"{outside}norm_out") if made.sandwich else y
        return y * weights[f"{prefix}scale"][0, 0] if f"{prefix}scale" in weights else y

    one = other = x
    for layer in range(made.depth):
        if made.reversible:
            one = one + added(other, layer, False)
            other = other + added(one, layer, True)
        else:
            one = one + added(one, layer, False)
            one = other = one + added(one, layer, True)
    x = (one + other) / 2
    divided = made.stable or head == "to_logits.2"
    x = x / x.amax(-1, keepdim=True) if divided else x
    out = linear(norm(x, f"to_logits.{int(head[-1]) - 1}"), head)
    out[: made.length, made.rows :] = HIDDEN
    out[made.length :, : made.rows] = HIDDEN
    return out


CASES = {
    "0.2, with no types": Made("0.2.8", types=None, stated=False),
    "0.2, a plain word, reversible": Made("0.2.8", types="axial_row", stated=False, reversible=True, depth=3),
    "0.7, all types": Made("0.7.1", types=ALL, depth=5, stated=False),
    "0.7, reversible": Made("0.7.1", types=ALL[::-1], depth=4, stated=False, reversible=True),
    "0.7, sparse": Made("0.7.1", types=("sparse", "full"), depth=3, stated=False, length=16, side=8),
    "0.8": Made("0.8.2", types=ALL, depth=4, stated=False),
    "0.9, sparse": Made("0.9.5", types=("full", "sparse"), depth=4, stated=False, length=16, side=8, heads=3),
    "0.12, divided in the head": Made("0.12.2", types=ALL, depth=4, stated=False),
    "0.12, gates": Made("0.12.0", types=("mlp", "full"), depth=3, stated=False),
    "0.14, stable": Made("0.14.3", types=("conv_like",), stable=True, stated=False, side=7),
    "1.0, early angles": Made("1.0.4", stated=False, rotary=True, shift=True),
    "1.1, sandwich": Made("1.1.5", types=ALL, depth=4, stated=False, sandwich=True, rotary=False, shift=True),
    "1.1.8, rotary alone": Made("1.1.8", types=ALL, depth=4, rotary=True),
    "1.2, shift alone": Made("1.2.2", types=ALL, depth=4, shift=True, dim=18, dim_head=5),
    "1.2, reversible": Made("1.2.2", types=("full", "conv_like"), depth=3, shift=True, rotary=True, reversible=True),
    "1.4, gates": Made("1.4.0", types=("full", "mlp", "conv_like"), depth=4, shift=True, side=6),
    "1.4, shared": Made("1.4.2", types=("full", "axial_col"), depth=4, shared=(0, 1, 0, 1), sandwich=True),
    "1.5, wide rows of an early release": Made("1.5.0", types=("conv_like",), shift=True, rotary=True, side=7),
    "1.6, everything": Made(
        types=ALL,
        depth=5,
        shift=True,
        rotary=True,
        sandwich=True,
        reversible=True,
        stable=True,
        shared=(0, 1, 2, 3, 0),
        joint=True,
        dim_head=64,
    ),
    "1.6, joint embeddings": Made(joint=True, shared=(0, 0, 0), depth=3, length=9, pieces=33, dim=20, heads=5),
    "1.6, one layer of more types": Made(types=ALL, depth=1, length=1, side=2),
    "1.6, deep": Made(types=ALL, depth=26, dim=8, heads=1, dim_head=6, shift=True, rotary=True, side=3),
    "1.6, library without its version": Made(types=ALL, depth=4, stated=False, shift=True, side=7),
}


@pytest.mark.parametrize("made", CASES.values(), ids=CASES)
def test_logits_of_every_option(made: Made, tmp_path: Path):
    held = content(made)
    torch.save(held, tmp_path / "some.pt")
    model = DALLE.of(dalle_pytorch.load(tmp_path / "some.pt", CPU))
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(1, made.pieces, (2, made.length), generator=generator)
    text[1, made.length // 2 :] = 0
    codes = torch.randint(0, made.codes, (2, made.side**2), generator=generator)
    wanted = torch.stack([logits(made, held["weights"], *pair) for pair in zip(text, codes, strict=True)])
    near = {"atol": 2e-4 * wanted[wanted > HIDDEN].abs().max().item(), "rtol": 0}
    torch.testing.assert_close(model(text, codes), wanted, **near)
    rows, state = wanted[:, made.length :, made.rows :], None
    stream, given = captions.place(text, model.model.config), made.side + 1
    row, state = model.model.prefill(stream, codes[:, :given])
    steps = [row, *(model.model.step(codes[:, index], state) for index in range(given, made.side**2 - 1))]
    torch.testing.assert_close(torch.stack(steps, 1), rows[:, given:], **near)


def test_shared_layers_are_kept_once(tmp_path: Path):
    """What no scale is folded into: one memory for all layers that share it."""
    torch.save(content(replace(CASES["1.6, joint embeddings"], sandwich=True)), tmp_path / "some.pt")
    layers = dalle_pytorch.load(tmp_path / "some.pt", CPU).model.layers
    assert len({layer.mlp.down.weight.data_ptr() for layer in layers}) == 1
    assert len({layer.attention.qkv.weight.data_ptr() for layer in layers}) == 1
