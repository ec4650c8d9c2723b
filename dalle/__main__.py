"""The command line: `python -m dalle COMMAND --help` tells what each command takes.

Commands import what they need when they run, so that `--help` and mistakes are answered at once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalle.errors import DalleError, SettingError
from dalle.train import JUDGE, STAGES

if TYPE_CHECKING:
    import numpy as np

    from dalle.contracts import Request, SamplingOptions, Update
    from dalle.engine import Studio
    from dalle.worlds import WorldConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked, 2 after an error, 130 after Ctrl-C."""
    chosen = _parser().parse_args(arguments)
    try:
        chosen.run(chosen)
    except DalleError as error:
        return _complain(str(error), 2)
    except OSError as error:
        return _complain(f"A file cannot be read or written: {error.strerror or error}.", 2)
    except KeyboardInterrupt:
        return _complain("Stopped.", 130)
    return 0


def generate(chosen: argparse.Namespace) -> None:
    """Draw pictures of a prompt, keep the best, write them and a grid of them."""
    from dalle.engine import Studio
    from dalle.images import grid, metadata, save_png
    from dalle.languages import hint

    studio = Studio.load(chosen.model, chosen.device, chosen.dtype, chosen.lookahead)
    bundle = studio.bundle
    request = _request(chosen, studio)
    if advice := hint(request.prompt, bundle.languages):
        print(advice, file=sys.stderr)
    done = _last(studio, request)
    chosen.out.mkdir(parents=True, exist_ok=True)
    files: list[dict[str, Any]] = []
    for rank, candidate in enumerate(done.candidates, start=1):
        path = chosen.out / f"{rank:03}_seed{request.seed}_i{candidate.index}.png"
        save_png(candidate.picture, path, metadata(request, candidate, bundle))
        files.append({"rank": rank, "score": candidate.score, "index": candidate.index, "file": str(path)})
    sheet = chosen.out / "grid.png"
    save_png(grid([c.picture for c in done.candidates]), sheet, {"prompt": request.prompt, "model": bundle.name})
    if chosen.json:
        about = {"prompt": request.prompt, "model": bundle.name, "seed": request.seed}
        _print_json({**about, "seconds": done.seconds, "timings": done.timings, "grid": str(sheet), "pictures": files})
    else:
        _print_table(files)
        print(f"{sheet}  ({done.seconds:.1f} s)")


def sheet(chosen: argparse.Namespace) -> None:
    """Draw several prompts: the best picture of each on one captioned sheet."""
    from dalle.contracts import Request
    from dalle.engine import Studio
    from dalle.worlds import Example, contact_sheet

    studio = Studio.load(chosen.model, chosen.device, chosen.dtype)
    best = []
    for prompt in chosen.prompts:
        done = _last(studio, Request(prompt, chosen.samples, keep=1, seed=chosen.seed, previews=0))
        best.append(Example(done.candidates[0].picture, prompt, "", {}))
    contact_sheet(best, chosen.columns).save(chosen.out, format="PNG")
    print(chosen.out)


def models(chosen: argparse.Namespace) -> None:
    """List the models that can be named with --model."""
    from dalle.models import registered

    cards = [{**asdict(card), "available": card.available()} for card in registered()]
    if chosen.json:
        _print_json(cards)
    else:
        shown = ("name", "title", "grid", "pixels", "languages", "size", "available", "licence")
        _print_table([{name: card[name] for name in shown} for card in cards])


def world(chosen: argparse.Namespace) -> None:
    """Draw a sheet of captioned pictures of the training world."""
    from tqdm import trange

    from dalle.worlds import World, WorldConfig, contact_sheet

    drawn = World(WorldConfig(seed=chosen.seed, vocabulary=chosen.vocabulary, split=chosen.split))
    sheet = contact_sheet([drawn[index] for index in trange(chosen.show, desc="drawing", disable=None)])
    sheet.save(chosen.out, format="PNG")
    print(chosen.out)


def train(chosen: argparse.Namespace) -> None:
    """Train one stage, or all of them one after the other; a run that was stopped goes on."""
    from dalle.train import heap, run

    heap.hold()
    more = chosen.start, chosen.first, chosen.steps
    run(chosen.stage, chosen.recipe, chosen.data, chosen.out, chosen.minutes, *more)


def evaluate(chosen: argparse.Namespace) -> None:
    """Measure what a model draws of held-out captions of the training world."""
    from dalle.engine import Studio
    from dalle.evaluate import evaluate as recall
    from dalle.evaluate import heldout_world

    studio = Studio.load(chosen.model, chosen.device)
    world = heldout_world(chosen.model, studio.bundle.images.size)
    if chosen.by == "judge":
        return _examine(chosen, studio, world.config)
    report = recall(studio, world, chosen.captions or 200, chosen.samples, chosen.out)
    if chosen.json:
        _print_json(asdict(report))
    else:
        print(report.table())


def _examine(chosen: argparse.Namespace, studio: Studio, world: WorldConfig) -> None:
    """By an independent judge; or, with --sweep, the same captions with one setting after the other."""
    from dalle.judging import examine, judge_of
    from dalle.judging.report import comparison, save

    judge, captions = judge_of(chosen.model, studio.device), chosen.captions or 24
    if chosen.sweep:
        tried = {f"{chosen.sweep[0]} {value:g}": value for value in chosen.sweep[1]}
        reports = {
            name: examine(studio, judge, world, captions, chosen.samples, _swept(chosen, studio, value), panels=False)
            for name, value in tried.items()
        }
        if chosen.json:
            _print_json({name: asdict(report) for name, report in reports.items()})
        else:
            print(comparison(reports))
        return
    report = examine(studio, judge, world, captions, chosen.samples, out=chosen.out)
    if chosen.out is not None:
        save(report, chosen.out)
    if chosen.json:
        _print_json(asdict(report))
    else:
        print(report.table())


def _swept(chosen: argparse.Namespace, studio: Studio, value: float) -> SamplingOptions:
    name = chosen.sweep[0]
    changed: dict[str, Any] = {name: int(value) if name == "top_k" else value}
    return replace(studio.bundle.options, **changed)


def reconstruct(chosen: argparse.Namespace) -> None:
    """Show a picture as a model's image tokenizer sees it: encoded to tokens and decoded again."""
    from dalle.images import read_picture, save_png, square, to_pictures, to_tensor
    from dalle.models import load_images, pick_device

    picture = read_picture(chosen.picture)
    device = pick_device(chosen.device)
    tokenizer = load_images(chosen.model, device)
    tokens = tokenizer.encode(to_tensor([square(picture, tokenizer.size)]).to(device))  # (1, h, w)
    save_png(to_pictures(tokenizer.decode(tokens))[0], chosen.out, {"model": Path(chosen.model).name})
    print(f"{chosen.out}: {tokens.numel()} tokens, {tokens.unique().numel()} different ones")


def inspect(chosen: argparse.Namespace) -> None:
    """Tell what a file or folder holds: family, sizes, number types, and what is missing."""
    from dalle.models import inspect as look

    found = look(chosen.model)
    if chosen.json:
        _print_json(asdict(found))
        return
    print(" · ".join(filter(None, (found.title, found.family, found.version))))
    width = max((len(name) for numbers in found.sizes.values() for name in numbers), default=0)
    for part, numbers in found.sizes.items():
        print(f"\n{part}")
        for name, value in numbers.items():
            print(f"  {name:{width}}  {_cell(value)}")
    print()
    _print_table([asdict(file) for file in found.files])
    print("\nmissing: " + (", ".join(found.missing) or "nothing"))


def convert(chosen: argparse.Namespace) -> None:
    """Write a model of any family in this program's own layout: JSON and safetensors."""
    from dalle.models import convert as write
    from dalle.models import pick_dtype

    left_out = write(chosen.model, chosen.out, pick_dtype(chosen.dtype))
    print(chosen.out)
    if left_out:
        print(f"left out: {', '.join(left_out)}")


def push(chosen: argparse.Namespace) -> None:
    """Upload a model in this program's own layout to the Hugging Face Hub."""
    from dalle.models import push as upload

    print(upload(chosen.model, chosen.repository, chosen.private))


def bench(chosen: argparse.Namespace) -> None:
    """Measure how fast it draws, against what the machine allows and against other programs that are installed."""
    from dalle.bench import footprint, journey, profile, speed
    from dalle.bench.report import Part, Report
    from dalle.models import pick_device, pick_dtype

    plan, shape = speed.usual(str(pick_device(chosen.device)))
    plan = replace(plan, peers=chosen.peers, repeats=chosen.repeats)
    plan = replace(plan, grids=chosen.grid or plan.grids, candidates=chosen.candidates or plan.candidates)
    shape = replace(shape, dtype=str(pick_dtype(chosen.dtype or shape.dtype)).removeprefix("torch."))
    parts: dict[str, Part] = {}
    if chosen.profile:
        parts["profile"] = profile.measure(replace(shape, grid=plan.grids[0], candidates=max(plan.candidates)))
    if chosen.end_to_end:
        parts["end_to_end"] = journey.measure(device=shape.device)
    if chosen.memory:
        parts["memory"] = footprint.measure()
    if not parts:
        parts["speed"] = speed.measure(plan, shape, say=lambda text: print(text, file=sys.stderr))
    report = Report.of(parts)
    if chosen.out:
        chosen.out.write_text(json.dumps(report.json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if chosen.json:
        _print_json(report.json())
    else:
        print(report.table())


def space(chosen: argparse.Namespace) -> None:
    """Write a folder that can be pushed to Hugging Face Spaces as it is: the page and one model."""
    from dalle.space import write

    files = write(chosen.out, chosen.model)
    size = sum(file.stat().st_size for file in files)
    print(f"{chosen.out}: {len(files)} files, {size / 1e6:.1f} MB")


def _request(chosen: argparse.Namespace, studio: Studio) -> Request:
    from dalle.contracts import Request

    return Request(
        prompt=chosen.prompt,
        samples=chosen.samples,
        keep=min(8, chosen.samples) if chosen.keep is None else chosen.keep,
        seed=chosen.seed,
        options=_options(chosen, studio.bundle.options),
        kept=_kept(chosen, studio),
        previews=0,
    )


def _kept(chosen: argparse.Namespace, studio: Studio) -> np.ndarray | None:
    """The tokens of the priming picture inside the borders that were named, or in the upper half."""
    from dalle.contracts import Borders
    from dalle.images import read_picture

    h, w = studio.bundle.images.grid
    named = {side: getattr(chosen, side) for side in ("top", "bottom", "left", "right")}
    wanted = {side: count for side, count in named.items() if count is not None}
    if chosen.prime is None:
        if wanted:
            raise SettingError("--top, --bottom, --left, --right keep parts of a picture: name it with --prime.")
        return None
    if any(not 0 <= count < (h if side in ("top", "bottom") else w) for side, count in wanted.items()):
        raise SettingError(f"Between 0 and {h - 1} rows and 0 and {w - 1} columns of the picture can be kept.")
    borders = Borders(**wanted or {"top": h * 15 // 32})  # the paper keeps 15 rows of 32
    picture = read_picture(chosen.prime)
    return studio.read_strips(picture, borders) if chosen.strips else borders.of(studio.read(picture))


def _options(chosen: argparse.Namespace, own: SamplingOptions) -> SamplingOptions:
    """The model's own settings, but for those that were named."""
    named = {name: getattr(chosen, name) for name in ("guidance", "temperature", "top_k", "top_p")}
    return replace(own, **{name: value for name, value in named.items() if value is not None})


def _last(studio: Studio, request: Request) -> Update:
    """Draw, with a progress bar on a terminal."""
    from tqdm import tqdm

    with tqdm(desc="drawing", unit="row", disable=None) as bar:
        for update in studio.generate(request):
            bar.total = update.rows
            bar.update(update.row - bar.n)
            bar.set_description(update.stage)
    return update


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Columns as wide as their widest cell."""
    lines = [tuple(rows[0]), *(tuple(map(_cell, row.values())) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4f}"
        case str():
            return value
        case (int(height), int(width)):
            return f"{height}×{width}"
        case Iterable():
            return ", ".join(map(str, value))
    return str(value)


def _complain(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)
    return code


def _whole(text: str) -> int:
    """An argument that is a whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _count(text: str) -> int:
    """An argument that counts something there is at least one of."""
    if not _whole(text):
        raise argparse.ArgumentTypeError("at least 1 is needed")
    return int(text)


def _counts(text: str) -> tuple[int, ...]:
    """An argument that is a list of counts."""
    return tuple(map(_count, text.split(",")))


def _sweep(text: str) -> tuple[str, list[float]]:
    """A setting, and the values to try: "top-k=64,128"."""
    name, _, values = text.partition("=")
    name = name.replace("-", "_")
    try:
        tried = [float(value) for value in values.split(",")]
    except ValueError:
        tried = []
    if name not in ("guidance", "temperature", "top_k", "top_p") or not tried:
        raise argparse.ArgumentTypeError(f"{text!r} is no setting with values, such as guidance=1,2,4")
    return name, tried


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m dalle", description="Pictures from sentences.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(run: Any) -> argparse.ArgumentParser:
        added = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
        added.set_defaults(run=run)
        return added

    _add_generate(command(generate))
    _add_sheet(command(sheet))
    command(models).add_argument("--json", action="store_true", help="for machines")
    _add_world(command(world))
    _add_train(command(train))
    _add_evaluate(command(evaluate))
    _add_reconstruct(command(reconstruct))
    _add_inspect(command(inspect))
    _add_convert(command(convert))
    _add_push(command(push))
    _add_space(command(space))
    _add_bench(command(bench))
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="emoji", help="a registered name, a path, or owner/name on the Hub")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps")


def _add_drawing(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("--dtype", default="float32", help="of the weights: float32, bfloat16, float16")
    parser.add_argument("--samples", type=_count, default=16, help="pictures to draw of a prompt (16)")
    parser.add_argument("--seed", type=_whole, default=1, help="the same seed draws the same pictures (1)")


def _add_sheet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompts", nargs="+", metavar="PROMPT", help="what to draw")
    _add_drawing(parser)
    parser.add_argument("--columns", type=_count, default=4, help="pictures beside one another (4)")
    parser.add_argument("--out", type=Path, default=Path("sheet.png"), help="the PNG to write (sheet.png)")


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", help="what to draw")
    _add_drawing(parser)
    parser.add_argument("--keep", type=_count, help="pictures to keep, those of the best scores (8)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the pictures (out)")
    parser.add_argument("--lookahead", type=_count, default=1, help="tokens to read at once: faster for one sample (1)")
    parser.add_argument("--prime", type=Path, help="a picture to complete; without borders its top half is kept")
    for side, what in (("top", "rows"), ("bottom", "rows"), ("left", "columns"), ("right", "columns")):
        parser.add_argument(f"--{side}", type=_whole, metavar="N", help=f"token {what} of it to keep at its {side}")
    parser.add_argument("--strips", action="store_true", help="read each border alone: nothing else shows in it")
    parser.add_argument("--guidance", type=float, help="classifier-free guidance scale; 1 is none")
    parser.add_argument("--temperature", type=float, help="below 1 safer, above 1 wilder; 0 takes the likeliest token")
    parser.add_argument("--top-k", type=_whole, help="choose among the k likeliest tokens; 0 is all")
    parser.add_argument("--top-p", type=float, help="choose among the likeliest tokens of this total probability")
    parser.add_argument("--json", action="store_true", help="for machines")


def _add_world(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="the PNG to write")
    parser.add_argument("--show", type=_count, default=64, help="how many pictures (64)")
    parser.add_argument("--vocabulary", default="full", help="full, small or unseen (full)")
    parser.add_argument("--split", default="train", help="train or heldout (train)")
    parser.add_argument("--seed", type=_whole, default=0, help="another seed, another world (0)")


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stage", choices=(*STAGES, JUDGE, "all"))
    parser.add_argument("--out", type=Path, required=True, help="the model's directory; it then serves as --model")
    parser.add_argument("--data", default="world", help="world, or a folder of pictures with captions (world)")
    parser.add_argument("--recipe", default="small", help="sizes and lengths of the stages (small)")
    parser.add_argument("--minutes", type=float, help="stop after this long; the same command goes on from there")
    parser.add_argument("--start", help="a model whose nets go on, with its tokenizers (none)")
    parser.add_argument("--first", type=_whole, default=0, help="the number of the first picture to learn from (0)")
    parser.add_argument("--steps", type=_count, help="of the stage, in place of the recipe's")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("--by", choices=("judge", "clip"), default="judge", help="who says what is right (judge)")
    parser.add_argument("--captions", type=_count, help="held-out captions: for each kind (24), for clip in all (200)")
    parser.add_argument("--samples", type=_count, default=16, help="pictures drawn for each (16)")
    parser.add_argument("--sweep", type=_sweep, help="try a setting on the same captions: guidance=1,2,4 (judge only)")
    parser.add_argument("--out", type=Path, help="folder for the figures, contact sheets and the best-of-k curve")
    parser.add_argument("--json", action="store_true", help="for machines")


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a file, a folder, or a name from the list of models")
    parser.add_argument("--json", action="store_true", help="for machines")


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a file, a folder, or a name from the list of models")
    parser.add_argument("out", type=Path, help="the folder to write; it then serves as --model")
    parser.add_argument("--dtype", default="float32", help="of the transformer: float32, bfloat16, float16")


def _add_push(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="its folder, or a name from the list of models")
    parser.add_argument("repository", help="owner/name; it is made where there is none")
    parser.add_argument("--private", action="store_true", help="if it is made: for yourself only")


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="cpu; cuda for a model of 1.2 billion weights (cpu)")
    parser.add_argument("--dtype", help="of the weights (float32; on a GPU bfloat16)")
    parser.add_argument("--grid", type=_counts, help="token rows of a picture (16,32; on a GPU 32)")
    parser.add_argument("--candidates", type=_counts, help="drawn together (1,8,16,32; on a GPU 16,64)")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="other programs too (yes)")
    parser.add_argument("--repeats", type=_count, default=5, help="medians are of so many (5)")
    parser.add_argument("--profile", action="store_true", help="instead: the costliest operators of a step")
    parser.add_argument("--end-to-end", action="store_true", help="instead: the parts of a request, with the own model")
    parser.add_argument("--memory", action="store_true", help="instead: memory of a request, start of the page")
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    parser.add_argument("--json", action="store_true", help="for machines")


def _add_space(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("--model", default="emoji", help="a registered name, a path, or owner/name on the Hub")


def _add_reconstruct(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("picture", type=Path)
    _add_model(parser)
    parser.add_argument("--out", type=Path, default=Path("reconstruction.png"), help="the PNG to write")


if __name__ == "__main__":
    sys.exit(main())
