"""Every family from its authors' files to a gallery: by the command line, and by the page's endpoint for programs."""

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import test_dalle_mini
import test_dalle_pytorch
import test_mindalle
import test_rudalle
import torch
from gradio_client import Client, handle_file
from PIL import Image

import dalle
from dalle import torchfile, ui
from dalle.__main__ import main
from dalle.families import openai_dvae
from dalle.images import read_picture

OWN = Path(__file__).parents[1] / "golden"
PROMPTS = {"rudalle": "рыжий кот"}
FAMILIES = ["openai_dvae", "dalle_pytorch", "rudalle", "mindalle", "dalle_mini"]

content, dalle_pytorch, mindalle, small = (  # fixtures: a small model in the layout of its authors
    test_dalle_pytorch.content,
    test_dalle_pytorch.place,
    test_mindalle.place,
    test_dalle_mini.small,
)


@pytest.fixture
def openai_dvae_inside(content, tmp_path) -> Path:
    """A model of DALLE-pytorch whose image tokenizer is OpenAI's."""
    halves = {}
    for part in ("encoder", "decoder"):
        module = torchfile.read(OWN / f"openai_dvae/dvae_hid4_blk1_zip_{part}.pkl", openai_dvae.SHELLS)
        named = torchfile.state_dict(module).items()
        halves |= {f"vae.{part[:3]}.{name}": tensor.clone() for name, tensor in named}
    codes = len(halves["vae.enc.blocks.output.conv.w"])
    shapes, dice = test_dalle_pytorch.shapes(content["hparams"], codes), torch.Generator().manual_seed(0)
    own = {n: 0.3 * torch.randn(shape, generator=dice) for n, shape in shapes.items() if not n.startswith("vae.")}
    torch.save(content | {"weights": own | halves, "vae_params": None}, tmp_path / "dalle.pt")
    shutil.copyfile(OWN / "dalle_pytorch/tokenizer_hug_bpe.json", tmp_path / "tokenizer.json")
    return tmp_path


@pytest.fixture
def rudalle(tmp_path) -> Path:
    return test_rudalle.whole(tmp_path, wavelet=True)


@pytest.fixture
def dalle_mini(small) -> Path:
    test_dalle_mini.tiny_vqgan(small)
    return small


@pytest.fixture(params=FAMILIES)
def family(request) -> str:
    return request.param


@pytest.fixture
def place(family, request) -> Path:
    return request.getfixturevalue("openai_dvae_inside" if family == "openai_dvae" else family)


@pytest.fixture
def prime(tmp_path) -> Path:
    Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 10).convert("RGB").save(tmp_path / "prime.png")
    return tmp_path / "prime.png"


@pytest.fixture
def client(place) -> Iterator[Client]:
    page, options = ui.build(ui.Studios(partial(dalle.load, device="cpu"), [str(place)]))
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, **options)
    try:
        yield Client(address, verbose=False)
    finally:
        page.close()


def test_by_the_command_line(family, place, prime, tmp_path, capsys):
    drawn = []
    for more in ([], ["--prime", str(prime), "--top", "1"]):
        arguments = ["generate", PROMPTS.get(family, "a blue bird"), "--model", str(place), "--device", "cpu", "--json"]
        arguments += ["--samples", "3", "--keep", "2", "--seed", "5", "--out", str(tmp_path / f"out{len(more)}")]
        assert main([*arguments, *more]) == 0
        pictures = json.loads(capsys.readouterr().out)["pictures"]
        assert len(pictures) == 2
        if family == "rudalle":  # it has a CLIP
            assert pictures[0]["score"] >= pictures[1]["score"]
        drawn.append([read_picture(Path(picture["file"])).tobytes() for picture in pictures])
    assert not set(drawn[0]) & set(drawn[1])


def test_by_the_page(family, place, client, prime):
    sentence = PROMPTS.get(family, "a blue bird")
    draw = partial(client.predict, sentence, samples=2, seed=5, api_name="/generate")
    free, _ = draw()
    primed, scores = draw(picture=handle_file(str(prime)), top=1)
    assert len(free) == len(primed) == len(scores) == 2
    without, with_it = ({read_picture(Path(file)).tobytes() for file in files} for files in (free, primed))
    assert not without & with_it


def test_a_tokenizer_that_only_draws_says_so(small, prime, tmp_path, capsys):
    test_dalle_mini.tiny_vqgan(small)
    shutil.rmtree(small / "flax")
    arguments = ["generate", "a blue bird", "--model", str(small), "--device", "cpu", "--samples", "1"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert main([*arguments, "--prime", str(prime)]) == 2
    assert "no encoder" in capsys.readouterr().err


def test_a_prompt_in_a_language_that_the_model_never_read_gets_a_hint(rudalle, tmp_path, capsys):
    for prompt, told in (("a red cat", True), ("рыжий кот", False)):
        arguments = ["generate", prompt, "--model", str(rudalle), "--device", "cpu", "--samples", "1"]
        assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
        assert ("learned from Russian sentences" in capsys.readouterr().err) == told
