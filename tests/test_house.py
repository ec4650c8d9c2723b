"""The rules of the house: imports go downward, families keep to their files, ruff and mypy are content."""

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "app": 7,
    "dalle": 6,  # the public face
    "dalle.ui": 6,
    "dalle.train": 6,
    "dalle.bench": 6,
    "dalle.space": 5,
    "dalle.evaluate": 6,
    "dalle.judging": 6,
    "dalle.__main__": 6,
    "dalle.engine": 5,
    "dalle.models": 4,
    "dalle.families": 3,
    "dalle.checkpoint": 2,
    "dalle.mapped": 2,
    "dalle.torchfile": 2,
    "dalle.flaxfile": 2,
    "dalle.hub": 2,
    "dalle.judge": 2,
    "dalle.lexicon": 2,
    "dalle.native": 2,
    "dalle.chart": 2,
    "dalle.sampling": 2,
    "dalle.ranking": 2,
    "dalle.agreement": 2,
    "dalle.text": 2,
    "dalle.quotes": 2,
    "dalle.yttm": 2,
    "dalle.languages": 0,
    "dalle.measured": 0,
    "dalle.modelcard": 0,
    "dalle.prompts": 2,
    "dalle.images": 2,
    "dalle.share": 2,
    "dalle.worlds": 2,
    "dalle.nn": 1,
    "dalle.nn.attention": 0,
    "dalle.nn.patterns": 0,
    "dalle.nn.cache": 0,
    "dalle.nn.rotary": 0,
    "dalle._torchvision": 0,
    "dalle.contracts": 0,
    "dalle.config": 0,
    "dalle.errors": 0,
}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {name_of(path): path for path in [*ROOT.glob("app.py"), *sorted((ROOT / "dalle").rglob("*.py"))]}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def floor(module: str) -> int | None:
    """That of the longest name on the plan: `dalle.nn.dvae` lives in `dalle.nn`. The face has only itself."""
    if module in FLOORS:
        return FLOORS[module]
    parent = module.rpartition(".")[0]
    return None if parent in ("", "dalle") else floor(parent)


def imports(node: ast.AST) -> Iterator[str]:
    """Modules of this project that the code below `node` imports, but for those that only type hints need."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name in SOURCES)
        elif isinstance(child, ast.ImportFrom):
            inner = (f"{child.module}.{alias.name}" for alias in child.names)
            yield from (name if name in SOURCES else child.module or "" for name in inner if child.module in SOURCES)
        yield from imports(child)


@pytest.mark.parametrize("module", SOURCES)
def test_imports_go_only_downward(module):
    own = floor(module)
    assert own is not None, f"{module} is on no floor of the plan"
    upward = {target for target in imports(TREES[module]) if (floor(target) or 0) > own}
    assert not upward


def test_no_imports_run_in_a_circle():
    graph = {module: set(imports(tree)) - {module} for module, tree in TREES.items()}
    graphlib.TopologicalSorter(graph).prepare()


def test_imports_are_absolute():
    relative = {m for m, t in TREES.items() for n in ast.walk(t) if isinstance(n, ast.ImportFrom) and n.level}
    assert not relative


FAMILIES = sorted({name.split(".")[2] for name in SOURCES if name.startswith("dalle.families.")})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_named_nowhere_above_its_file(family):
    """But for our own layout, which training and `convert` write, and where programs are compared."""
    word = re.compile(rf"(?<!dalle\.)\b{family.replace('_', '[-_ ]?')}\b", re.IGNORECASE)  # dalle.native is none
    above = {name for name in SOURCES if (floor(name) or 0) > FLOORS["dalle.families"]}
    above = {name for name in above if not name.startswith("dalle.bench")}
    above -= {"dalle.train.stages", "dalle.models"} if family == "native" else set()
    assert {name for name in above if word.search(SOURCES[name].read_text(encoding="utf-8"))} == set()


def test_the_page_and_the_command_line_start_without_torch():
    light = [name for name in SOURCES if name.startswith("dalle.ui") or name in ("dalle", "dalle.__main__")]
    code = f"import {', '.join(light)}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("tool", [["ruff", "check"], ["mypy"]], ids=lambda tool: tool[0])
def test_tools_are_content(tool):
    result = subprocess.run([sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
