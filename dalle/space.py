"""The page as a folder that Hugging Face Spaces runs as it is, on a CPU, a GPU or ZeroGPU: the program, one model,
and nothing else.
"""

import ast
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from dalle import hub, modelcard, models
from dalle.errors import SettingError

ROOT = Path(__file__).resolve().parents[1]
_START = "app.py"
_LAUNCHER = "start.py"
_MODEL = "emoji"  # what the page draws with unless it is told otherwise
_TORCH = "2.12"  # the first release that ZeroGPU does not take
_DYNAMIC = "dalle/families"  # imported by what is found in it
_ALWAYS = ("requirements.txt", "LICENSE", "assets/models.toml", "assets/prompts.toml", "assets/page", "assets/fonts")


def write(out: Path, model: str = _MODEL) -> list[Path]:
    """Write the folder and return its files.

    A model of files that are here goes along; one of the Hub is fetched by the Space itself when it is built.
    Raises SettingError where `out` holds something already, ModelError.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(f"'{out.name}' is there already. Choose an empty folder, or one that is yet to be made.")
    remote = _remote(model)
    name, own = (model, {}) if remote else _local(model)
    files = {path.relative_to(ROOT).as_posix(): path for path in (*_modules(), *_beside())} | own
    for target, source in files.items():
        (out / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, out / target)
    if name != _MODEL:
        (out / _LAUNCHER).write_text(_launcher(name), encoding="utf-8")
    start = _START if name == _MODEL else _LAUNCHER
    card = "" if remote else modelcard.read(models.find(model))
    (out / "README.md").write_text(_readme(start, remote, card), encoding="utf-8")
    (out / "requirements.txt").write_text(_requirements(), encoding="utf-8")
    (out / ".gitattributes").write_text(_attributes(out), encoding="utf-8")
    return sorted(path for path in out.rglob("*") if path.is_file())


def _modules() -> list[Path]:
    """The files that `app.py` imports, and what these import, and so on."""
    found: dict[Path, None] = {}
    waiting = [ROOT / _START, *sorted((ROOT / _DYNAMIC).rglob("*.py"))]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = None
            waiting += _imports(path)
    return list(found)


def _imports(path: Path) -> Iterator[Path]:
    """The files of this project that a file imports, at any place, and the packages that they lie in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            for depth in range(1, len(parts) + 1):
                module = ROOT.joinpath(*parts[:depth])
                yield from filter(Path.is_file, (module.with_suffix(".py"), module / "__init__.py"))


def _beside() -> Iterator[Path]:
    """What these files read: assets, and the sources that a package compiles for itself."""
    for name in _ALWAYS:
        path = ROOT / name
        yield from (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for folder in {path.parent for path in _modules()} - {ROOT}:
        yield from (file for file in folder.iterdir() if file.suffix in (".cpp", ".h"))


def _remote(model: str) -> list[str]:
    """Where a model of the Hub comes from, as a Space's configuration says it; empty for files that are here."""
    for card in models.registered():
        if card.name == model:
            return [" ".join(filter(None, (s.repo, ",".join(s.files), s.revision))) for s in card.sources]
    return [model] if hub.is_name(model) and not Path(model).exists() else []


def _local(model: str) -> tuple[str, dict[str, Path]]:
    """The name of a model for the launcher, and its files by where they go."""
    place, names = models.files(model)
    card = next((card for card in models.registered() if card.name == model and card.directory), None)
    folder = f"assets/{card.directory}" if card else f"models/{place.name}"
    name = model if card else folder
    return name, {f"{folder}/{file}": place / file for file in names}


def _launcher(model: str) -> str:
    return (
        '"""Opens the page with the model of this Space."""\n\n'
        "import sys\n\nfrom app import main\n\n"
        f'sys.argv[1:] = ["--model", {model!r}]\nmain()\n'
    )


def _readme(start: str, remote: Sequence[str], card: str) -> str:
    """The configuration of the Space, after that of this project, and its model card."""
    head, _ = modelcard.parts((ROOT / "README.md").read_text(encoding="utf-8"))
    settings: Mapping[str, Any] = yaml.safe_load(head) | {"sdk_version": version("gradio"), "app_file": start}
    if remote:
        settings = {**settings, "models": sorted({line.split()[0] for line in remote}), "preload_from_hub": [*remote]}
    told = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{told}---\n\n# {settings['title']}\n\n{settings['short_description']}.\n\n{card}".rstrip() + "\n"


def _requirements() -> str:
    """Those of this project, with a torch that Spaces of every kind take."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    return re.sub(r"^(torch>=[\d.]+),<[\d.]+", rf"\1,<{_TORCH}", text, flags=re.MULTILINE)


def _attributes(out: Path) -> str:
    """Every kind of file that is not text goes to large file storage: a Space takes no such files in plain git."""
    kinds = {path.suffix for path in out.rglob("*") if path.is_file() and b"\0" in path.read_bytes()[:8192]}
    return "".join(f"*{kind} filter=lfs diff=lfs merge=lfs -text\n" for kind in sorted(kinds))
