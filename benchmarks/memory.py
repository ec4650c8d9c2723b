"""How much host memory a model of 1.3 billion weights takes while it is loaded, in the layouts of its authors.

Run it as `python -m benchmarks.memory [LAYOUT …]`. One after the other it writes a checkpoint with random weights into
a temporary folder (6 GB), loads it in a fresh process, prints what that took, and deletes it. All figures together
are in `memory.json` beside this file. Linux only: the kernel counts the pages.

Memory is what the process holds above what it held with everything imported: its own pages, and those of the mapped
file that are in use at the same time. The highest sum of both, divided by the size of the tensors of the loaded model,
is `ratio`; the aim is 1.15. The `own` pages could not be given back; those of the file the kernel may drop and reread.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from dalle import checkpoint, config, models
from dalle.families import native
from dalle.nn.strided_vae import StridedVAE, StridedVAEConfig
from dalle.nn.transformer import Transformer, TransformerConfig
from dalle.nn.vqgan import VQGAN, VQGANConfig

RESULTS = Path(__file__).with_suffix(".json")
GB = 1e9
ROOM = 8 * GB  # of disk, for one checkpoint
WIDTH, DEPTH, HEADS = 2048, 24, 16  # Malevich's, and those of most layouts here
Shapes = dict[str, tuple[int, ...]]


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.memory", description=__doc__)
    parser.add_argument("layouts", nargs="*", metavar="LAYOUT", help=", ".join(LAYOUTS))
    parser.add_argument("--dtype", action="append", help="of the loaded transformer: bfloat16, float16, float32")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(_load(chosen.child, models.pick_dtype(chosen.dtype[0]))))
        return
    if unknown := set(chosen.layouts) - set(LAYOUTS):
        parser.error(f"there is no layout called {min(unknown)}")
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for layout in chosen.layouts or LAYOUTS:
        with tempfile.TemporaryDirectory() as place:
            if shutil.disk_usage(place).free < ROOM:
                sys.exit(f"{ROOM / GB:.0f} GB of disk are needed in {tempfile.gettempdir()}.")
            # written by a process of its own, whose memory is gone when the next one begins
            writer = f"import sys, pathlib, benchmarks.memory as m; m.LAYOUTS[{layout!r}](pathlib.Path(sys.argv[1]))"
            subprocess.run([sys.executable, "-c", writer, place], check=True)
            for dtype in chosen.dtype or ["bfloat16", "float16"]:
                loader = [sys.executable, "-m", "benchmarks.memory", "--child", place, "--dtype", dtype]
                found = json.loads(subprocess.run(loader, check=True, capture_output=True, text=True).stdout)
                results[f"{layout}, as {dtype}"] = found
                print(f"{layout}, as {dtype}:", json.dumps(found), flush=True)
                RESULTS.write_text(json.dumps(results, indent=2) + "\n")


# --- the process that loads ---


def _load(place: Path, dtype: torch.dtype) -> dict[str, float]:
    """Load what is at a place, and tell what it took, in GB."""
    family = models.family_of(place)  # all of them are imported now
    watch = _Watch()
    began = time.perf_counter()
    parts = family.load(place, torch.device("cpu"), dtype)
    checkpoint.fingerprint(parts.files)
    seconds = time.perf_counter() - began
    nets = [net for net in (parts.model, parts.images) if isinstance(net, nn.Module)]
    tensors = [tensor for net in nets for tensor in net.state_dict().values()]
    for tensor in tensors:
        tensor.any()  # reads it: what was not copied is still in the file
    own, mapped, peak = watch.stop()
    size = sum(tensor.nbytes for tensor in tensors)
    files = sum(file.stat().st_size for file in parts.files)
    figures = {"files": files, "model": size, "peak": peak, "own": own, "mapped": mapped}
    rounded = {name: round(value / GB, 2) for name, value in figures.items()}
    return rounded | {"ratio": round(peak / size, 3), "seconds": round(seconds, 1)}


class _Watch(threading.Thread):
    """Looks at this process's memory every few milliseconds; the kernel itself keeps the highest sum."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        Path("/proc/self/clear_refs").write_text("5")  # the highest sum begins anew
        self._before = self._highest = _pages()
        self._stopped = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._stopped.wait(0.003):
            self._highest = {name: max(value, self._highest[name]) for name, value in _pages().items()}

    def stop(self) -> tuple[int, int, int]:
        """Bytes above what there was: own pages, pages of files, and the highest sum."""
        self._stopped.set()
        self.join()
        rise = {name: value - self._before[name] for name, value in self._highest.items()}
        return rise["RssAnon"], rise["RssFile"], _pages()["VmHWM"] - self._before["VmRSS"]


def _pages() -> dict[str, int]:
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    wanted = ("RssAnon:", "RssFile:", "VmRSS:", "VmHWM:")
    return {words[0][:-1]: 1024 * int(words[1]) for words in lines if words and words[0] in wanted}


# --- the layouts ---


def mindalle(place: Path) -> None:
    """The archive of minDALL-E, in float32."""
    width, depth = 1536, 42
    shapes: Shapes = {
        "tok_emb_txt.weight": (16384, width),
        "tok_emb_img.weight": (16384, width),
        "pos_emb_txt.weight": (64, width),
        "pos_emb_img.weight": (256, width),
        "head_txt.weight": (16384, width),
        "head_img.weight": (16384, width),
        **_norm("ln_f", width),
    }
    for layer in range(depth):
        at = f"blocks.{layer}."
        shapes |= _norm(f"{at}ln1", width) | _norm(f"{at}ln2", width)
        for name in ("key", "query", "value", "proj"):
            shapes |= _linear(f"{at}attn.{name}", width, width)
        shapes |= _linear(f"{at}mlp.0", width, 4 * width) | _linear(f"{at}mlp.2", 4 * width, width)
    torch.save({"state_dict": _random(shapes)}, place / "stage2_last.ckpt")
    vqgan = VQGANConfig(256, 16384, 256, 256, 128, (128, 128, 256, 256, 512), blocks=2, attention=(4,))
    torch.save({"state_dict": VQGAN(vqgan).state_dict()}, place / "stage1_last.ckpt")


def malevich(place: Path) -> None:
    """The files of ruDALL-E Malevich, the transformer in float16."""
    shapes: Shapes = {
        "text_embeddings.weight": (16512, WIDTH),
        "image_embeddings.weight": (8192, WIDTH),
        "text_pos_embeddings.weight": (129, WIDTH),
        "image_row_embeddings.weight": (32, WIDTH),
        "image_col_embeddings.weight": (32, WIDTH),
        **_norm("to_logits.0", WIDTH),
        **_linear("to_logits.1", WIDTH, 16512 + 8192),
        **_norm("transformer.final_layernorm", WIDTH),
    }
    norms = ("input", "before_first_addition_", "post_attention_", "before_second_addition_")
    for layer in range(DEPTH):
        at = f"transformer.layers.{layer}."
        for name in norms:
            shapes |= _norm(f"{at}{name.removesuffix('put') + 'put_' if name == 'input' else name}layernorm", WIDTH)
        shapes |= _linear(f"{at}attention.query_key_value", WIDTH, 3 * WIDTH)
        shapes |= _linear(f"{at}attention.dense", WIDTH, WIDTH)
        shapes |= _linear(f"{at}mlp.dense_h_to_4h", WIDTH, 4 * WIDTH)
        shapes |= _linear(f"{at}mlp.dense_4h_to_h", 4 * WIDTH, WIDTH)
    torch.save(_random(shapes, torch.float16), place / "pytorch_model_v3.bin")
    vqgan = VQGANConfig(256, 8192, 256, 256, 128, (128, 128, 256, 512), blocks=2, attention=(3,), gumbel=True)
    torch.save({"state_dict": VQGAN(vqgan).state_dict()}, place / "vqgan.gumbelf8-sber.model.ckpt")


def dalle_pytorch(place: Path, zipped: bool = True) -> None:
    """`dalle.pt` of DALLE-pytorch 1.6.6 with a discrete VAE of its own, in float32."""
    width, depth, length, rows, codes, side = 1536, 32, 256, 49408 + 256, 8192, 32
    hparams = {"num_text_tokens": 49408, "text_seq_len": length, "dim": width, "depth": depth, "heads": 24}
    shapes: Shapes = {
        "text_emb.weight": (rows, width),
        "image_emb.weight": (codes, width),
        "text_pos_emb.weight": (length + 1, width),
        "image_pos_emb.weights_0": (1, side, 1, width),
        "image_pos_emb.weights_1": (1, 1, side, width),
        **_norm("to_logits.0", width),
        **_linear("to_logits.1", width, rows + codes),
    }
    for layer in range(depth):
        attention, mlp = (f"transformer.layers.layers.{layer}.{branch}." for branch in (0, 1))
        for branch in (attention, mlp):
            shapes |= {f"{branch}scale": (1, 1, width), **_norm(f"{branch}fn.norm", width)}
        shapes |= {f"{attention}fn.fn.fn.to_qkv.weight": (3 * width, width)}
        shapes |= _linear(f"{attention}fn.fn.fn.to_out.0", width, width)
        shapes |= _linear(f"{mlp}fn.fn.net.0", width, 8 * width) | _linear(f"{mlp}fn.fn.net.3", 4 * width, width)
    vae = StridedVAE(StridedVAEConfig(256, codes, 512, 256, halvings=3, blocks=2))
    weights = _random(shapes) | {f"vae.{name}": tensor for name, tensor in vae.state_dict().items()}
    content = {"hparams": hparams, "vae_params": {}, "weights": weights, "version": "1.6.6", "epoch": 0}
    torch.save(content, place / "dalle.pt", _use_new_zipfile_serialization=zipped)


def dalle_pytorch_stream(place: Path) -> None:
    """The same in the older form of torch.save, a stream in which numbers may begin at any byte."""
    dalle_pytorch(place, zipped=False)


def _half(side: str, width: int, hidden: int, rows: int, length: int, depth: int) -> tuple[Shapes, Shapes]:
    """Shapes of the encoder or the decoder of DALL·E mega, by its names in PyTorch: outside the layers, and in one."""
    outside: Shapes = {
        "embed_tokens.weight": (rows, width),
        "embed_positions.weight": (length, width),
        "final_ln.bias": (width,),
        **_norm("layernorm_embedding", width),
    }
    layer: Shapes = {
        "pre_self_attn_layer_norm.bias": (width,),
        **_norm("self_attn_layer_norm", width),
        "glu.ln0.bias": (width,),
        "glu.ln1.bias": (hidden,),
        "glu.fc0.weight": (hidden, width),
        "glu.fc1.weight": (hidden, width),
        "glu.fc2.weight": (width, hidden),
    }
    attentions = ["self_attn"]
    if side == "decoder":
        outside["lm_head.weight"] = (rows, width)
        layer |= {"pre_encoder_attn_layer_norm.bias": (width,), **_norm("encoder_attn_layer_norm", width)}
        attentions.append("encoder_attn")
    layer |= {f"{name}.{part}_proj.weight": (width, width) for name in attentions for part in ("q", "k", "v", "out")}
    return outside, layer


MEGA = {  # with half of its layers
    "encoder": {"width": 2048, "hidden": 4096, "rows": 50272, "length": 64, "depth": 12},
    "decoder": {"width": 2048, "hidden": 4096, "rows": 16416, "length": 256, "depth": 12},
}


def mega(place: Path) -> None:
    """`encoder.pt` and `decoder.pt` of min-dalle, in float16."""
    for side, sizes in MEGA.items():
        outside, layer = _half(side, **sizes)
        layers = {f"layers.{i}.{name}": shape for i in range(sizes["depth"]) for name, shape in layer.items()}
        torch.save(_random(outside | layers, torch.float16), place / f"{side}.pt")


def mega_flax(place: Path) -> None:
    """`flax_model.msgpack` of DALL·E mega, all layers of a half in one array, in float32."""
    names = {"self_attn": "FlaxBartAttention_0", "encoder_attn": "FlaxBartAttention_1", "glu": "GLU_0"}
    names |= {"ln0": "LayerNorm_0", "ln1": "LayerNorm_1", "fc0": "Dense_0", "fc1": "Dense_1", "fc2": "Dense_2"}
    norms = ("pre_self_attn", "self_attn", "pre_encoder_attn", "encoder_attn")
    names |= {f"{norm}_layer_norm": f"LayerNorm_{i}" for i, norm in enumerate(norms)}
    tree: dict[str, Any] = {}
    for side, sizes in MEGA.items():
        outside, layer = _half(side, **sizes)
        for name, shape in outside.items():
            *path, last = name.split(".")
            kind = "scale" if "layernorm" in path[0] else "kernel" if path[0] == "lm_head" else "embedding"
            shape = shape[::-1] if kind == "kernel" else shape
            above = [] if path[0] == "lm_head" else ["model", side]
            _plant(tree, [*above, *path, kind if last == "weight" else last], shape)
        for name, shape in layer.items():
            *path, last = (names.get(part, part) for part in name.split("."))
            kind = "kernel" if len(shape) == 2 else "scale"
            above = ["model", side, "layers", f"FlaxBart{side.capitalize()}Layers"]
            _plant(tree, [*above, *path, kind if last == "weight" else last], (sizes["depth"], *shape[::-1]))
    with (place / "flax_model.msgpack").open("wb") as file:
        _pack(file, tree)


def own(place: Path) -> None:
    """Our own layout, in float32."""
    sizes = TransformerConfig(16512, 128, 8192, (32, 32), WIDTH, DEPTH, HEADS)
    codes = StridedVAEConfig(256, 8192, 512, 256, halvings=3, blocks=2)
    config.save(native.Card("Random", 128, text=None, images="strided_vae"), place / native.CARD)
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in Transformer(sizes).state_dict().items()}
    nets = (("transformer", sizes, _random(shapes)), ("strided_vae", codes, StridedVAE(codes).state_dict()))
    for name, about, tensors in nets:
        config.save(about, place / f"{name}.json")
        checkpoint.write_tensors(tensors, place, name, torch.float32, native.SHARD_BYTES)


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "mindalle": mindalle,
    "malevich": malevich,
    "dalle_pytorch": dalle_pytorch,
    "dalle_pytorch_stream": dalle_pytorch_stream,
    "mega": mega,
    "mega_flax": mega_flax,
    "own": own,
}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _linear(name: str, n_in: int, n_out: int) -> Shapes:
    return {f"{name}.weight": (n_out, n_in), f"{name}.bias": (n_out,)}


_NUMBERS = torch.randn(1_000_003)


def _numbers(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Small random numbers, which repeat themselves."""
    return _NUMBERS.mul(0.02).to(dtype)[torch.arange(torch.Size(shape).numel()) % len(_NUMBERS)].view(shape)


def _random(shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return {name: _numbers(shape, dtype) for name, shape in shapes.items()}


def _plant(tree: dict[str, Any], path: list[str], shape: tuple[int, ...]) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = shape


def _pack(file: BinaryIO, value: Any) -> None:
    """Write MessagePack as Flax does: maps within maps, an array of random numbers where a shape stands."""
    if isinstance(value, dict):
        file.write(b"\xde" + len(value).to_bytes(2, "big"))
        for name, branch in value.items():
            file.write(b"\xd9" + len(name).to_bytes(1, "big") + name.encode())
            _pack(file, branch)
        return
    count = 4 * torch.Size(value).numel()
    shape = b"\xdc" + len(value).to_bytes(2, "big") + b"".join(b"\xce" + n.to_bytes(4, "big") for n in value)
    head = b"\x93" + shape + b"\xa7float32" + b"\xc6" + count.to_bytes(4, "big")
    file.write(b"\xc9" + (len(head) + count).to_bytes(4, "big") + b"\x01" + head)
    file.write(_numbers(value).numpy().data)


if __name__ == "__main__":
    main()
