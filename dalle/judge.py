"""An independent judge of pictures of the training world: it names what a picture shows, and was never told why.

The facts that a picture was drawn from fill in a form, question by question (`answers`). A small classifier learns to
fill in the same form from the picture alone; a drawn picture is right where the judge reads out of it what its caption
says. It shares nothing with the CLIP that ranks, nor with the critic: another one, trained apart, whose feedback the
transformer learns from.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from dalle import checkpoint, config
from dalle.nn.classifier import Classifier, ClassifierConfig
from dalle.ranking import resize
from dalle.worlds.birds import COLORED_PARTS
from dalle.worlds.relations import INVERSE
from dalle.worlds.scene import Facts, Thing

NAME = "judge"  # of its files
LETTERS = 8  # that are read of a word
_DOUBT = math.log(0.02)  # the least log-probability that an answer counts with
Answers = Mapping[str, str]

QUESTIONS: dict[str, str] = {
    **dict.fromkeys(("noun", "noun2", "material", "outline", "worn"), "noun"),
    **dict.fromkeys(("color", "color2", *COLORED_PARTS), "color"),
    **{kind: kind for kind in ("count", "relation", "surface", "style", "period", "action")},
    **{f"letter{place}": "letter" for place in range(1, LETTERS + 1)},
}
"""Everything that is asked about a picture -> the kind of its answers."""


def answers(family: str, facts: Facts) -> Answers:
    """The right answers to those questions that make sense of a picture of this family; perhaps to none."""
    return _FORMS[family](facts) if family in _FORMS else {}


def _thing(item: Thing, ending: str = "") -> Answers:
    color = {f"color{ending}": item["color"]} if item["color"] else {}
    return {f"noun{ending}": item["noun"], **color}


def _first_thing(facts: Facts) -> Answers:
    return _thing(facts["things"][0])


def _counted(facts: Facts) -> Answers:
    return {**_first_thing(facts), "count": str(facts["count"])}


def _pair(facts: Facts) -> Answers:
    """One order of each pair: what is to the right of a thing has it to its left."""
    (first, second), relation = facts["things"], facts["relation"]
    if relation in ("right of", "below", "behind"):
        first, second, relation = second, first, INVERSE[relation]
    return {**_thing(first), **_thing(second, "2"), "relation": relation}


def _figure(facts: Facts) -> Answers:
    roles = {item["role"]: item["noun"] for item in facts["things"]}
    named = {"noun": "body", "worn": "worn", "noun2": "partner"}
    return {
        **{question: roles[role] for question, role in named.items() if role in roles},
        "action": facts["action"] or "none",
    }


def _blend(facts: Facts) -> Answers:
    (item,) = facts["things"]
    return {**_thing(item), **{part: item[part] for part in ("material", "outline") if part in item}}


def _pictured(facts: Facts) -> Answers:
    return {**_thing(facts["content"]), "surface": facts["surface"]}


def _written(facts: Facts) -> Answers:
    return {"surface": facts["surface"], **spelling(facts["word"])}


def spelling(word: str) -> Answers:
    """A word letter by letter, blanks after it; nothing is asked about one that is too long."""
    places = range(1, LETTERS + 1) if len(word) <= LETTERS else ()
    return {f"letter{place}": letter for place, letter in zip(places, word.ljust(LETTERS), strict=False)}


def _styled(facts: Facts) -> Answers:
    subject = _first_thing(facts) if facts["subject"] == "object" else _FORMS[facts["subject"]](facts)
    return {**subject, "style": facts["style"]}


def _dated(facts: Facts) -> Answers:
    return {**_first_thing(facts), "period": facts["period"]}


def _bird(facts: Facts) -> Answers:
    return {part: facts["bird"][part] for part in COLORED_PARTS if facts["bird"][part]}


_FORMS: dict[str, Callable[[Facts], Answers]] = {
    "object": _first_thing,
    "count": _counted,
    "relation": _pair,
    "wearing": _figure,
    "made_of": _blend,
    "in_shape_of": _blend,
    "surface": _pictured,
    "word": _written,
    "style": _styled,
    "period": _dated,
    "bird": _bird,
}


class Judge:
    """A trained classifier, asked in words."""

    def __init__(self, net: Classifier) -> None:
        self.net = net

    @classmethod
    def load(cls, place: Path, device: torch.device) -> Self:
        """The judge in a folder, `judge.json` and `judge.safetensors`. Raises CheckpointError."""
        sizes = config.load(ClassifierConfig, place / f"{NAME}.json")
        tensors = checkpoint.read_tensors(place, NAME)
        return cls(checkpoint.build(lambda: Classifier(sizes), tensors, f"{NAME}.safetensors", device, torch.float32))

    @torch.inference_mode()
    def read(self, images: Tensor) -> list[Answers]:
        """(B, 3, H, W) in [0, 1] -> the likeliest answer to every question, for each picture."""
        sizes = self.net.config
        chosen = {name: logits.argmax(1).tolist() for name, logits in self.net(self._prepared(images)).items()}
        rows = zip(*chosen.values(), strict=True)
        kinds = [sizes.answers[kind] for kind in sizes.questions.values()]
        return [{question: names[i] for question, names, i in zip(chosen, kinds, row, strict=True)} for row in rows]

    @torch.inference_mode()
    def belief(self, images: Tensor, wanted: Sequence[Answers]) -> Tensor:
        """How sure it is that (B, 3, H, W) pictures in [0, 1] show what is wanted of each: (B,) in [0, 1].

        It is the geometric mean of the probabilities of all wanted answers, of which none counts below one in fifty,
        nor does one that it never learned; 1 where nothing is wanted.
        """
        kinds, places = self.net.config.questions, self.net.config.places
        found = self.net(self._prepared(images)).items()
        odds = {question: logits.log_softmax(1).clamp_min(_DOUBT).tolist() for question, logits in found}

        def sure(row: int, question: str, answer: str) -> float:
            place = places[kinds[question]].get(answer) if question in kinds else None
            return _DOUBT if place is None else odds[question][row][place]

        beliefs = [[sure(row, *told) for told in asked.items()] for row, asked in enumerate(wanted)]
        return torch.tensor([sum(row) / max(1, len(row)) for row in beliefs]).exp()

    def _prepared(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 3, size, size) on the device of the net."""
        return resize(images.to(next(self.net.parameters()).device), self.net.config.size, "bilinear")
