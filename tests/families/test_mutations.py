"""Spoilt checkpoints: each is refused with a sentence, or draws as before. None runs code, hangs, or takes more memory
than twice its files.

`DALLE_MUTATIONS=200 pytest tests/families/test_mutations.py` spoils each layout 200 times.
"""

import os
import pickle
import random
import runpy
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import flaxwriter
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from dalle import checkpoint, flaxfile, models, torchfile
from dalle.errors import DalleError
from dalle.families import rudalle
from dalle.nn.transformer import TransformerConfig

CPU = torch.device("cpu")
GOLDEN = Path(__file__).parents[1] / "golden"
COUNT = int(os.environ.get("DALLE_MUTATIONS", "21"))
ROOM = 32 << 20  # bytes that Python and its libraries may take beside
ANY_LENGTH = ("text_emb.weight", "text_pos_emb.weight", "logits_mask")  # nothing else tells how long these should be
WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".msgpack", ".safetensors")
PLAIN = (".msgpack", ".safetensors")  # nothing but named tensors
HALVES = "dalle_mini/small/pretrained/dalle_bart_mini"
LAYOUTS = {  # files below tests/golden that make a place, and what they are called there
    "openai_dvae, zip": {
        "openai_dvae/dvae_hid4_blk1_zip_encoder.pkl": "encoder.pkl",
        "openai_dvae/dvae_hid4_blk1_zip_decoder.pkl": "decoder.pkl",
    },
    "openai_dvae, stream": {
        "openai_dvae/dvae_hid8_legacy_encoder.pkl": "encoder.pkl",
        "openai_dvae/dvae_hid8_legacy_decoder.pkl": "decoder.pkl",
    },
    "dalle_pytorch": {
        "dalle_pytorch/v166_openai_dvae.pt": "dalle.pt",
    },
    "dalle_pytorch, fork": {
        "dalle_pytorch/v071_kobiso_reversible.pt": "dalle.pt",
    },
    "dalle_pytorch, image tokenizer": {
        "dalle_pytorch/vae_rgba_smoothl1_st.pt": "vae.pt",
    },
    "dalle_pytorch, ranker": {
        "dalle_pytorch/clip_v166.pt": "clip.pt",
    },
    "rudalle": {
        "rudalle/dalle_v2/pytorch_model_v2.bin": "pytorch_model_v2.bin",
        "rudalle/dalle_v2/config.json": "config.json",
        "rudalle/tokenizer/bpe.model": "bpe.model",
    },
    "rudalle, safetensors": {
        "rudalle/dalle_v3/pytorch_model_v3.bin": "model.safetensors",
        "rudalle/dalle_v3/config.json": "config.json",
    },
    "rudalle, ranker": {
        "rudalle/ruclip/pytorch_model.bin": "pytorch_model.bin",
        "rudalle/ruclip/config.json": "config.json",
        "rudalle/ruclip/bpe.model": "bpe.model",
    },
    "dalle_mini": {
        **{f"{HALVES}/{name}": name for name in ("encoder.pt", "decoder.pt", "vocab.json", "merges.txt")},
        "dalle_mini/small/flax_unscanned_fp16/config.json": "config.json",
    },
    "dalle_mini, stream": {
        "dalle_mini/small/flax_unscanned_fp16/flax_model.msgpack": "flax_model.msgpack",
        "dalle_mini/small/flax_unscanned_fp16/config.json": "config.json",
    },
    "mindalle": {
        "mindalle/small_stage2/stage2_last.ckpt": "stage2_last.ckpt",
        "mindalle/small_stage2/config.yaml": "config.yaml",
    },
}


class Trap:
    """Calls something where it is unpickled."""

    def __init__(self, function: Callable, *arguments: object):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def traps(mark: Path) -> list[Trap]:
    """Each leaves a mark."""
    code = f"open({str(mark)!r}, 'w').close()"
    script = mark.with_name("script.py")
    script.write_text(code)
    return [
        Trap(os.system, f"touch '{mark}'"),
        Trap(subprocess.check_call, ["touch", str(mark)]),
        Trap(eval, code),
        Trap(exec, code),
        Trap(open, str(mark), "w"),
        Trap(Path.touch, mark),
        Trap(runpy.run_path, str(script)),
        Trap(torch.save, torch.ones(1), str(mark)),
        Trap(getattr, Trap(__import__, "os"), "system"),
    ]


def flip(path: Path, dice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(dice.choice((1, 1, 8))):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(data)


def flip_near_the_start_or_end(path: Path, dice: random.Random) -> None:
    """Where pickles and tables of contents are."""
    data = bytearray(path.read_bytes())
    place = dice.randrange(min(len(data), 8000))
    data[dice.choice((place, -1 - place))] = dice.randrange(256)
    path.write_bytes(data)


def cut(path: Path, dice: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: dice.randrange(path.stat().st_size)])


def rewritten(path: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    """Change the tensors by their names; a whole module becomes a state dict."""
    if path.suffix in PLAIN:
        read = flaxfile.read if path.suffix == ".msgpack" else checkpoint.read
        tensors = {name: tensor.clone() for name, tensor in read(path).items()}
        change(tensors)
        pickled = {name: pickle.dumps(value) for name, value in tensors.items() if not isinstance(value, Tensor)}
        if path.suffix == ".msgpack":
            flaxwriter.write(path, tensors | pickled)
        else:
            numbers = {name: torch.frombuffer(bytearray(value), dtype=torch.uint8) for name, value in pickled.items()}
            save_file(tensors | numbers, path)
        return
    content = torchfile.read(path, torchfile.ANY)
    if isinstance(content, torchfile.Shell):
        content = torchfile.state_dict(content)
    inner = next((name for name in ("state_dict", "weights") if name in content), None)
    tensors = {name: tensor.clone() for name, tensor in (content[inner] if inner else content).items()}
    change(tensors)
    torch.save(content | {inner: tensors} if inner else tensors, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)  # the old one may still be mapped


def rename(path: Path, dice: random.Random) -> None:
    def change(tensors):
        name = dice.choice(sorted(tensors))
        tensors[dice.choice((name + "_", name.replace("1", "7") + "x", name[:-1]))] = tensors.pop(name)

    rewritten(path, change)


def reshape(path: Path, dice: random.Random) -> None:
    def change(tensors):
        shaped = [name for name, tensor in sorted(tensors.items()) if tensor.dim() and name not in ANY_LENGTH]
        name = dice.choice(shaped)
        tensor = tensors[name]
        tensors[name] = dice.choice((tensor[None], tensor[:-1], torch.cat([tensor, tensor]), torch.zeros(())))

    rewritten(path, change)


def retype(path: Path, dice: random.Random) -> None:
    def change(tensors):
        name = dice.choice(sorted(tensors))
        tensors[name] = dice.choice((tensors[name].tolist(), None, "x", [tensors[name]]))

    if path.suffix not in PLAIN:
        rewritten(path, change)
    else:
        reshape(path, dice)


def trap(path: Path, dice: random.Random) -> None:
    def change(tensors):
        tensors["more"] = dice.choice(traps(path.parent / "mark"))

    rewritten(path, change)


MUTATIONS = [flip, flip_near_the_start_or_end, cut, rename, reshape, trap, retype]
BYTES = MUTATIONS[:3]  # of any file; the others of weights


def forget_the_peak() -> bool:
    """Let the highest use of memory so far count no more; False on systems that cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def memory(kind: str) -> int:
    """Bytes of this process: "VmRSS" now, "VmHWM" at the highest."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(kind)]
    return int(line.split()[1]) << 10


def draws(place: Path) -> list[Tensor]:
    """What the parts at a place make of the same picture and tokens."""
    parts = models.family_of(place).load(place, CPU)
    outputs = []
    if parts.images is not None:
        outputs.append(parts.images.decode(torch.arange(16).view(1, 4, 4)))
        outputs.append(parts.images.encode(torch.linspace(0, 1, 3 * 32 * 32).view(1, 3, 32, 32)))
    if parts.model is not None:
        outputs.append(parts.model.prefill(torch.ones(1, parts.model.config.text_len, dtype=torch.long))[0])
    return outputs


@pytest.mark.parametrize("layout", LAYOUTS)
def test_spoilt_checkpoints(layout, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    for file, name in LAYOUTS[layout].items():
        if name.endswith(".safetensors"):
            save_file({n: t.clone() for n, t in torchfile.read(GOLDEN / file).items()}, whole / name)
        else:
            shutil.copyfile(GOLDEN / file, whole / name)
    wanted = draws(whole)
    dice = random.Random(7)
    for number in range(COUNT):
        place = tmp_path / str(number)
        shutil.copytree(whole, place)
        mutate = MUTATIONS[number % len(MUTATIONS)]
        file = dice.choice([file for file in sorted(place.iterdir()) if mutate in BYTES or file.suffix in WEIGHTS])
        mutate(file, dice)
        size = sum(file.stat().st_size for file in place.iterdir())
        measured, before = forget_the_peak(), memory("VmRSS") if os.path.exists("/proc") else 0
        began = time.perf_counter()
        try:
            outputs = draws(place)
        except DalleError as error:
            assert str(error).endswith(".") and str(tmp_path) not in str(error)
        else:
            assert mutate in BYTES, f"{number}: what was missing or wrong was not seen"
            if file.suffix in WEIGHTS and not layout.endswith(("stream", "safetensors")):  # which have no checksums
                assert all(torch.equal(a, b) for a, b in zip(outputs, wanted, strict=True))
        assert time.perf_counter() - began < 30
        assert not (place / "mark").exists()
        assert not measured or memory("VmHWM") - before < 2 * size + ROOM, number
        shutil.rmtree(place)


LARGE = TransformerConfig(
    text_vocab=80, text_len=16, image_vocab=64, grid=(8, 8), width=512, depth=12, heads=4, sandwich=True, head_norm=True
)


def large(path: Path, dtype: torch.dtype) -> None:
    """A transformer of ruDALL-E, large enough to see what it takes."""
    width, both = LARGE.width, LARGE.text_vocab + LARGE.image_vocab
    tensors = {
        "text_embeddings.weight": torch.ones(LARGE.text_vocab, width),
        "image_embeddings.weight": torch.ones(LARGE.image_vocab, width),
        "text_pos_embeddings.weight": torch.ones(LARGE.text_len + 1, width),
        "image_row_embeddings.weight": torch.ones(8, width),
        "image_col_embeddings.weight": torch.ones(8, width),
        "to_logits.1.weight": torch.ones(both, width),
        "to_logits.1.bias": torch.ones(both),
    }
    norms = ["to_logits.0", "transformer.final_layernorm"]
    for layer in range(LARGE.depth):
        start = f"transformer.layers.{layer}."
        norms += [start + name for name in rudalle.LAYER.values() if "norm" in name]
        for name, rows, columns in (
            ("attention.query_key_value", 3 * width, width),
            ("attention.dense", width, width),
            ("mlp.dense_h_to_4h", 4 * width, width),
            ("mlp.dense_4h_to_h", width, 4 * width),
        ):
            tensors |= {f"{start}{name}.weight": torch.ones(rows, columns), f"{start}{name}.bias": torch.ones(rows)}
    tensors |= {f"{name}.{kind}": torch.ones(width) for name in norms for kind in ("weight", "bias")}
    torch.save({name: tensor.to(dtype) for name, tensor in tensors.items()}, path)


@pytest.mark.parametrize("mutate", [None, flip, cut, rename, reshape, trap, retype])
def test_large_checkpoints_take_no_more_than_twice_their_size(mutate, tmp_path):
    path = tmp_path / "weights.bin"
    large(path, torch.float32)
    (tmp_path / "config.json").write_text('{"num_attention_heads": 4}')
    if mutate is not None:
        mutate(path, random.Random(1))
    if not forget_the_peak():
        pytest.skip("this system does not tell")
    before, size = memory("VmRSS"), path.stat().st_size
    if mutate is None:
        assert size > 3 * ROOM
        models.family_of(tmp_path).load(tmp_path, CPU)
    else:
        with pytest.raises(DalleError):
            models.family_of(tmp_path).load(tmp_path, CPU)
    assert memory("VmHWM") - before < 2 * size
