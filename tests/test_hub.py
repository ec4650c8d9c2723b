"""Models come from the Hub and go to it; here the Hub is a folder."""

import hashlib
import json
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
import torch
from e2e.tiny_model import make
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from dalle import hub, models
from dalle.__main__ import main
from dalle.contracts import SamplingOptions
from dalle.errors import CheckpointError, DownloadError, ModelError, UnknownModelError, UploadError
from dalle.hub import Source
from dalle.models import ModelCard

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("tiny"))


class FakeHub:
    """Repositories are folders `owner/name`; offline, only files that were fetched before are there."""

    def __init__(self, root: Path):
        self.root, self.offline, self.fetched = root, False, []

    def get(self, repo: str, file: str, revision: str | None = None) -> str:
        if (repo, file) not in self.fetched:
            if self.offline:
                raise LocalEntryNotFoundError("offline")
            self.fetched.append((repo, file))
        return str(self.root / repo / file)

    def cached(self, repo: str, file: str, revision: str | None = None) -> str | None:
        return str(self.root / repo / file) if (repo, file) in self.fetched else None

    def all(self, repo: str, allow_patterns: list[str]) -> str:
        if self.offline:
            raise LocalEntryNotFoundError("offline")
        return str(self.root / repo)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch) -> FakeHub:
    there = FakeHub(tmp_path / "hub")
    monkeypatch.setattr(hub, "hf_hub_download", there.get)
    monkeypatch.setattr(hub, "snapshot_download", there.all)
    monkeypatch.setattr(hub, "try_to_load_from_cache", there.cached)
    monkeypatch.setattr(hub.constants, "HF_HOME", str(tmp_path / "home"))
    return there


@pytest.fixture
def card(tiny: Path, fake: FakeHub, monkeypatch) -> ModelCard:
    """A registered model whose files are in two repositories."""
    sources = []
    for repo, prefix in (("me/one", ("model", "transformer", "tokenizer")), ("me/two", ("dvae",))):
        (fake.root / repo).mkdir(parents=True)
        files = [path for path in tiny.iterdir() if path.name.startswith(prefix)]
        for path in files:
            (fake.root / repo / path.name).write_bytes(path.read_bytes())
        sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        sources.append(Source(repo, tuple(sorted(sums)), sha256=sums))
    own = SamplingOptions(top_k=7)
    made = ModelCard("made", "Made", ("English",), "MIT", options=own, sources=tuple(sources))
    monkeypatch.setattr(models, "registered", lambda: (made,))
    return made


def test_a_registered_model_is_fetched_once_and_drawn_as_its_authors_say(card, fake, tiny):
    assert not card.available()
    bundle = models.load("made", CPU)
    assert (bundle.name, bundle.title, bundle.options) == ("made", "Random", SamplingOptions(top_k=7))
    assert bundle.fingerprint == models.load(str(tiny), CPU).fingerprint
    assert card.available()
    fake.offline = True
    assert models.load("made", CPU).fingerprint == bundle.fingerprint
    assert models.find("me/one") == models.find("made")


def test_what_is_missing_offline_is_named(card, fake):
    fake.get("me/one", "model.json"), fake.get("me/one", "tokenizer.json")
    fake.offline = True
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is not set") as caught:
        models.load("made", CPU)
    assert "dvae.json of me/two, dvae.safetensors of me/two" in str(caught.value)
    assert "model.json" not in str(caught.value)


def test_a_changed_file_is_refused(card, fake):
    (fake.root / "me/two/dvae.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"^dvae\.json of me/two is damaged"):
        models.load("made", CPU)


def test_a_repository_that_is_not_registered_is_a_model_too(card, fake, tiny):
    (fake.root / "you").mkdir()
    (fake.root / "you/whole").symlink_to(tiny)
    assert models.load("you/whole", CPU).name == "you--whole"
    fake.offline = True
    with pytest.raises(DownloadError, match="the files of you/whole"):
        models.load("you/whole", CPU)


def test_the_real_library_answers_offline_with_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("nobody/nothing", "nobody/a--b..c"):
        with pytest.raises(DownloadError, match="nobody/"):
            models.find(name)
    with pytest.raises(DownloadError, match=r"flax_model\.msgpack of dalle-mini/dalle-mini"):
        models.find("dalle-mini")
    with pytest.raises(UnknownModelError):
        models.find("a/b/c")


class CutOnce(BaseHTTPRequestHandler):
    """The Hub with one file; the first time, the connection ends in the middle of it."""

    content = bytes(range(256)) * 400
    asked: ClassVar[list[str | None]] = []

    def do_HEAD(self) -> None:
        self._head(200, len(self.content))

    def do_GET(self) -> None:
        if not self.path.endswith("/weights.bin"):  # the library asks for other things too
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        part = self.content[start:]
        self._head(206 if wanted else 200, len(part))
        self.wfile.write(part if len(self.asked) > 1 else part[: len(part) // 2])

    def _head(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", '"e7a9"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quietly."""


def test_a_download_goes_on_where_it_was_stopped(monkeypatch, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), CutOnce)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(hub.constants, "ENDPOINT", address)
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + template)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub.constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(hub.constants, "DOWNLOAD_CHUNK_SIZE", 1024)  # what is written at once; the rest is lost
    monkeypatch.setattr(CutOnce, "asked", [])
    source = Source("me/one", ("weights.bin",), sha256={"weights.bin": hashlib.sha256(CutOnce.content).hexdigest()})
    try:
        folder = hub.gather("made", [source])
    finally:
        server.shutdown()
        server.server_close()
    assert (folder / "weights.bin").read_bytes() == CutOnce.content
    assert CutOnce.asked[0] is None and CutOnce.asked[1:] == [f"bytes={len(CutOnce.content) // 2}-"]
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)  # from here on, from the library's cache
    assert (hub.gather("again", [source]) / "weights.bin").read_bytes() == CutOnce.content
    assert (hub.snapshot("me/one") / "weights.bin").read_bytes() == CutOnce.content
    with pytest.raises(CheckpointError, match=r"weights\.bin of me/one is damaged, or was changed"):
        hub.gather("changed", [replace(source, sha256={"weights.bin": "0" * 64})])
    with pytest.raises(DownloadError, match=r"Still to be fetched: more\.bin of me/one\. "):
        hub.gather("more", [replace(source, files=("weights.bin", "more.bin"))])


def test_models_that_are_elsewhere_say_where():
    with pytest.raises(DownloadError, match=r"https://.*tar\.gz into one folder.*Not for commercial use"):
        models.find("mindalle")
    assert not next(card for card in models.registered() if card.name == "mindalle").available()


RUSSIAN = {"language": "Russian", "grid": (32, 32), "top_k": 2048, "top_p": 0.995}
UTILS = "ai-forever/rudalle-utils"
PUBLIC = {  # name -> files by their repositories, and what else is known of it
    "dalle-mini": {"dalle-mini/dalle-mini": "flax_model.msgpack", "guidance": 10, "licence": "Apache-2.0"},
    "dalle-mega": {"dalle-mini/dalle-mega": "flax_model.msgpack", "guidance": 10, "licence": "Apache-2.0"},
    "min-dalle-mini": {"kuprel/min-dalle": "encoder_mini.pt", "guidance": 16, "top_k": 256, "licence": "MIT"},
    "min-dalle-mega": {"kuprel/min-dalle": "decoder.pt", "guidance": 16, "top_k": 256, "licence": "MIT"},
    "malevich": RUSSIAN | {"ai-forever/rudalle-Malevich": "pytorch_model_v3.bin", "version": "v3"},
    "malevich-v2": RUSSIAN | {"ai-forever/rudalle-Malevich": "pytorch_model_v2.bin", "version": "v2"},
    "malevich-512": RUSSIAN | {UTILS: "vqgan.gumbelf8-sber-dwt.model.ckpt", "pixels": 512, "version": "v3"},
    "emojich": RUSSIAN | {"ai-forever/rudalle-Emojich": "pytorch_model.bin", "version": "v2"},
    "surrealist-xl": RUSSIAN | {"shonenkov-AI/rudalle-xl-surrealist": "pytorch_model.bin", "version": "v3"},
    "kandinsky-12b": RUSSIAN
    | {"ai-forever/rudalle-Kandinsky": "pytorch_model.bin", "version": "v3", "top_k": 768, "top_p": 0.99},
    "mindalle": {"at": "57b008f02ceaa02b779c8b7463143315/1.3B.tar.gz", "licence": "CC-BY-NC-SA 4.0", "top_k": 256},
    "openai-dvae": {"at": "cdn.openai.com/dall-e/decoder.pkl", "language": None, "grid": (32, 32)},
    "dalle-pytorch-birds": {"at": "kobiso/DALLE-reproduction"},
    "dalle-pytorch-cc12m": {"at": "johnpaulbin/DALLE-models"},
    "dalle-pytorch-cc12m-756": {"at": "kShC2QjR", "grid": None},
    "dalle-pytorch-cc12m-64-layers": {"at": "5PhBUCSD", "grid": None},
    "dalle-pytorch-cc12m-8-layers": {"at": "3bwiteds", "grid": None},
    "dalle-pytorch-blog": {"at": "x9gbxiartrqaewf"},
    "dalle-pytorch-royalty-free": {"at": "royalty_free_illustrations", "grid": None},
    "dalle-pytorch-coco": {"at": "COCO512_16_16D_16H_80TSL", "grid": None},
    "dalle-pytorch-cars": {"at": "rom1504/laion_car_subset", "grid": None},
}


@pytest.mark.parametrize("name", PUBLIC)
def test_the_registry_holds_every_public_model(name):
    known = {"language": "English", "grid": (16, 16), "pixels": 256, "at": "", "licence": "none stated"} | PUBLIC[name]
    card = next(card for card in models.registered() if card.name == name)
    assert card.languages == (() if known["language"] is None else (known["language"],))
    assert card.grid == known["grid"] and card.pixels == (known["pixels"] if card.grid else None)
    assert known["licence"] in card.licence
    assert any(known["at"] in address for address in card.addresses) or not known["at"]
    held = {source.repo: source.files for source in card.sources}
    assert all(file in held[repo] for repo, file in known.items() if "/" in repo)
    for setting in known.keys() & {"guidance", "top_k", "top_p"}:
        assert getattr(card.options, setting) == known[setting]
    assert card.settings == ({"hf_version": known["version"]} if "version" in known else {})  # the files do not tell


def test_every_public_entry_says_what_its_reader_needs():
    assert {card.name for card in models.registered() if not card.directory} == set(PUBLIC)
    for card in models.registered():
        assert sum(map(bool, (card.directory, card.sources, card.addresses))) == 1
        assert card.directory or (card.size and card.memory)
        for source in card.sources:
            assert hub.is_name(source.repo) and source.files and source.revision
            assert set(source.sha256) <= set(source.files)
            assert all(Path(file).suffix in hub.SUFFIXES for file in source.files)
        names = [(source.folder, file) for source in card.sources for file in source.files]
        assert len(set(names)) == len(names)
        if "-NC" in card.licence:
            assert "Not for commercial use" in card.note


def test_what_the_files_do_not_tell_lies_beside_them(card, fake, monkeypatch):
    monkeypatch.setattr(models, "registered", lambda: (replace(card, settings={"hf_version": "v2"}),))
    assert json.loads((models.find("made") / "config.json").read_text()) == {"hf_version": "v2"}


class FakeApi:
    def __init__(self):
        self.made, self.sent = [], []

    def create_repo(self, repo: str, private: bool, exist_ok: bool) -> str:
        if repo.count("/") != 1:
            raise HFValidationError(repo)
        if repo == "off/line":
            raise OfflineModeIsEnabled("offline")
        self.made.append((repo, private))
        return f"https://hub/{repo}"

    def upload_folder(self, repo_id: str, folder_path: Path, allow_patterns: list[str]) -> None:
        self.sent += [(repo_id, name, (folder_path / name).stat().st_size) for name in allow_patterns]


@pytest.fixture
def api(monkeypatch) -> FakeApi:
    there = FakeApi()
    monkeypatch.setattr(hub, "HfApi", lambda: there)
    return there


def test_a_model_is_pushed_without_what_training_left(tiny: Path, tmp_path: Path, api: FakeApi, capsys):
    assert main(["convert", str(tiny), str(tmp_path / "model")]) == 0
    (tmp_path / "model" / "transformer.last.pt").write_bytes(b"half a run")
    assert main(["push", str(tmp_path / "model"), "me/model", "--private"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "https://hub/me/model"
    names = {name for _, name, _ in api.sent}
    assert api.made == [("me/model", True)] and "transformer.last.pt" not in names
    assert {path.name for path in (tmp_path / "model").iterdir()} - names == {"transformer.last.pt"}
    assert json.loads((tmp_path / "model" / "model.json").read_text())["title"] == "Random"


def test_what_the_hub_does_not_take_is_said(tiny: Path, tmp_path: Path, api: FakeApi):
    with pytest.raises(UploadError, match="is no name of a repository"):
        models.push(str(tiny), "a/b/c")
    with pytest.raises(UploadError, match="hf auth login"):
        models.push(str(tiny), "off/line")
    with pytest.raises(ModelError, match="is not in our own layout: convert it first"):
        models.push(str(tmp_path), "me/model")
    (tmp_path / "model.json").write_bytes((tiny / "model.json").read_bytes())
    with pytest.raises(CheckpointError, match="is missing"):
        models.push(str(tmp_path), "me/model")
    assert not api.made
