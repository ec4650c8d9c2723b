"""Filtered logits against those that the authors of a family make of the same numbers."""

import json
from pathlib import Path

import numpy as np
import torch

from dalle import sampling
from dalle.contracts import SamplingOptions


def compare(folder: Path) -> None:
    """All cases of a folder, but for codes that tie for the last place of top-k.

    Theirs keep them all, ours as many as there is room for.
    """
    with np.load(folder / "expected.npz") as held:
        arrays = {name: torch.from_numpy(held[name]) for name in held}
    logits, ties, same = arrays["logits"], 0, 0
    for case in json.loads((folder / "cases.json").read_text()):
        stated = {name: value for name, value in case.items() if name != "name" and value is not None}
        options = SamplingOptions(**stated)
        if options.top_p == 0:
            continue  # refused here
        left, codes = sampling.filter_logits(logits, options)
        shares = left.softmax(1)
        shares = shares if codes is None else torch.zeros_like(logits).scatter(1, codes, shares)
        for row, ours, theirs in zip(logits, shares, arrays[f"{case['name']}_probs"], strict=True):
            if options.top_k and (row >= row.sort().values[-options.top_k :][0]).sum() > options.top_k:
                assert (ours > 0).sum() <= (theirs > 0).sum() and (theirs[ours > 0] > 0).all()
                ties += 1
            else:  # of equal logits, top-p may leave another one
                ours, theirs = (sorted(zip(row.tolist(), shares.tolist(), strict=True)) for shares in (ours, theirs))
                torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
                same += 1
    assert same > ties
