"""The files that were published, by names and shapes alone: of their real sizes, and without numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dalle import checkpoint, models, torchfile
from dalle.families import dalle_mini, mindalle, rudalle
from dalle.nn.dvae import DVAE, DVAEConfig
from dalle.nn.vqgan import VQGAN, VQGANConfig

META = torch.device("meta")
GOLDEN = Path(__file__).parents[1] / "golden"
MALEVICH = {"depth": 24, "width": 2048, "heads": 16, "grid": (32, 32), "text_vocab": 16512, "image_vocab": 8192}
KANDINSKY = MALEVICH | {"depth": 64, "width": 3840, "heads": 60}
MINDALLE = {"depth": 42, "width": 1536, "heads": 24, "grid": (16, 16), "image_vocab": 16384}


def named(manifest: str) -> dict[str, Tensor]:
    """A file's tensors by their names; as many numbers as its authors count."""
    held = json.loads((GOLDEN / f"{manifest}.json").read_text())
    tensors = {
        name: torch.empty(shape, dtype=getattr(torch, kind), device=META)
        for name, (kind, shape) in held["tensors"].items()
    }
    assert len(tensors) == held["n_tensors"]
    return tensors


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Put files at a place, by their names; what each holds need not be written for that."""
    held: dict[str, Any] = {}

    def read(path: Path, *_: object) -> Any:
        return held[path.name]

    for module in (checkpoint, torchfile):
        for name in ("read", "look", "peek"):
            monkeypatch.setattr(module, name, read)

    def put(**files: Any) -> Path:
        for name, content in files.items():
            held[f"{name}.bin"] = content
            (tmp_path / f"{name}.bin").touch()
        return tmp_path

    return put


@pytest.mark.parametrize(
    ("transformer", "sizes"),
    [("rudalle_1.3B_transformer", MALEVICH), ("rudalle_kandinsky_12B_transformer", KANDINSKY)],
)
@pytest.mark.parametrize(("vqgan", "pixels"), [("vqgan_gumbel_f8", 256), ("vqgan_gumbel_f8_dwt", 512)])
@pytest.mark.parametrize("version", ["v2", "v3"])
def test_rudalle(publish, transformer, sizes, vqgan, pixels, version):
    place = publish(
        weights=named(f"rudalle/manifests/{transformer}"), vqgan={"state_dict": named(f"rudalle/manifests/{vqgan}")}
    )
    (place / "config.json").write_text(json.dumps({"hf_version": version}))
    assert models.family_of(place) is rudalle
    parts = rudalle.load(place, META)
    assert {name: getattr(parts.model.config, name) for name in sizes} == sizes
    assert parts.model.config.text_len == {"v2": 129, "v3": 128}[version]
    assert (parts.images.size, parts.images.vocab, parts.images.grid) == (pixels, 8192, (32, 32))


@pytest.mark.parametrize(
    ("model", "width", "pixels", "patch", "layers"),
    [("ruclip_vit_base_patch32_384", 512, 384, 32, 12), ("ruclip_vit_large_patch14_336", 768, 336, 14, 24)],
)
def test_ruclip(model, width, pixels, patch, layers):
    sizes = rudalle.ClipSizes(
        embed_dim=width,
        image_resolution=pixels,
        vision_layers=layers,
        vision_width=3 * width // 2 if layers == 12 else 1024,
        vision_patch_size=patch,
        context_length=77,
        vocab_size=49408,
        transformer_width=width,
        transformer_heads=width // 64,
        transformer_layers=12,
    )
    with META:
        checkpoint.check(rudalle._clip(sizes), named(f"rudalle/manifests/{model}"), model)


def test_mindalle(publish):
    place = publish(
        stage1={"state_dict": named("mindalle/manifests/stage1_vqgan_f16")},
        stage2={"state_dict": named("mindalle/manifests/stage2_transformer1d_1.3B")},
    )
    assert models.family_of(place) is mindalle
    parts = mindalle.load(place, META)  # without config.yaml all is as published
    assert {name: getattr(parts.model.config, name) for name in MINDALLE} == MINDALLE
    assert (parts.images.size, parts.images.grid) == (256, (16, 16))


@pytest.mark.parametrize(("kind", "classes"), [("clscond", 1000), ("uncond", 1)])
def test_mindalle_transferred(publish, kind, classes):
    place = publish(stage2={"state_dict": named(f"mindalle/manifests/igpt_{kind}_stage2")})
    (place / "config.yaml").write_text("stage2: {type: igpt}")
    assert mindalle.load(place, META).model.config.text_vocab == classes


def half(decoder: bool, depth: int, width: int, hidden: int, rows: int) -> dict[str, Tensor]:
    """The encoder or the decoder of the PyTorch port, in float16."""

    def norm(name: str) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (width,), f"{name}.bias": (width,)}

    shapes: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (rows, width), "final_ln.bias": (width,)}
    shapes |= {"embed_positions.weight": (256 if decoder else 64, width), **norm("layernorm_embedding")}
    shapes |= {"lm_head.weight": (rows, width)} if decoder else {}
    for layer in range(depth):
        at = f"layers.{layer}"
        for name in ("self", "encoder") if decoder else ("self",):
            shapes |= {f"{at}.{name}_attn.{part}_proj.weight": (width, width) for part in ("q", "k", "v", "out")}
            shapes |= {f"{at}.pre_{name}_attn_layer_norm.bias": (width,), **norm(f"{at}.{name}_attn_layer_norm")}
        shapes |= {f"{at}.glu.ln0.bias": (width,), f"{at}.glu.ln1.bias": (hidden,)}
        shapes |= {f"{at}.glu.fc{part}.weight": (hidden, width) for part in (0, 1)}
        shapes |= {f"{at}.glu.fc2.weight": (width, hidden)}
    return {name: torch.empty(shape, dtype=torch.float16, device=META) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("sizes", "text", "image", "counts", "numbers"),
    [
        ((12, 1024, 2730), 50264, 16385, (149, 234), (202_591_224, 235_242_488)),
        ((24, 2048, 4096), 50272, 16416, (293, 462), (1_110_022_144, 1_477_498_880)),
    ],
    ids=["mini", "mega"],
)
def test_dalle_mini(publish, sizes, text, image, counts, numbers):
    halves = half(False, *sizes, text), half(True, *sizes, image)
    assert tuple(map(len, halves)) == counts
    assert tuple(sum(tensor.numel() for tensor in tensors.values()) for tensors in halves) == numbers
    place = publish(encoder=halves[0], decoder=halves[1])
    stated = {f"{side}_attention_heads": sizes[1] // 64 for side in ("encoder", "decoder")}
    stated |= {"d_model": sizes[1], "image_vocab_size": image - 1, "decoder_start_token_id": 16384}
    for _ in range(2):  # without a config.json, which the port's own cache lacks, and with one
        config = dalle_mini.load(place, META).model.config
        assert (config.text_vocab, config.image_vocab, config.width) == (text, 16384, sizes[1])
        assert config.encoder == config.decoder and config.encoder.heads == sizes[1] // 64
        (place / "config.json").write_text(json.dumps(stated))


def test_image_tokenizers_have_as_many_numbers_as_their_authors_count():
    f8 = {"code_dim": 256, "latent": 256, "stem": 128, "blocks": 2}
    nets = {
        76_073_859: VQGANConfig(256, 16384, widths=(128, 128, 256, 256, 512), attention=(4,), **f8),
        68_995_971: VQGANConfig(256, 8192, widths=(128, 128, 256, 512), attention=(3,), gumbel=True, **f8),
        53_786_240 + 43_829_766: DVAEConfig(256, 8192, width=256, code_dim=128, blocks=2),
    }
    for count, config in nets.items():
        with META:
            net = DVAE(config) if isinstance(config, DVAEConfig) else VQGAN(config)
        assert sum(parameter.numel() for parameter in net.parameters()) == count
