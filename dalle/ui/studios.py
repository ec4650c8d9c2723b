"""The models that a visitor chooses from: each is loaded when it is first asked for, the latest few stay."""

import logging
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from dalle.errors import DalleError, ModelError, UnknownModelError

if TYPE_CHECKING:
    from dalle.engine import Studio

_log = logging.getLogger(__name__)
_STAY = 2  # models in memory at most


@dataclass(frozen=True)
class Offer:
    """A line of the model picker."""

    name: str
    title: str
    licence: str = ""
    languages: tuple[str, ...] = ()
    note: str = ""
    size: str = ""  # of what is still to be fetched
    here: bool = True  # whether it can be chosen


class Studios:
    """Studios by the names of their models. `places` are names, files or folders; the first one is loaded first."""

    def __init__(self, load: "Callable[[str], Studio]", places: Sequence[str]) -> None:
        self._load = load
        self._places = {Path(place).name: place for place in places}  # a page shows no paths
        self._studios: OrderedDict[str, Future[Studio]] = OrderedDict()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._lock = Lock()
        self.first = next(iter(self._places))

    def start(self, name: str) -> "Future[Studio]":
        """Begins to load a model, unless it is here; one that failed is tried again."""
        with self._lock:
            studio = self._studios.get(name)
            if studio is None or (studio.done() and studio.exception()):
                studio = self._studios[name] = self._worker.submit(self._fetch, name)
            self._studios.move_to_end(name)
            while len(self._studios) > _STAY:
                self._studios.popitem(last=False)
        return studio

    def get(self, name: str) -> "Studio":
        """Waits until the model is here. Raises ModelError."""
        return self.start(name).result()

    def ready(self, name: str) -> "Studio | None":
        """The studio of a model that is here now."""
        studio = self._studios.get(name)
        return studio.result() if studio and studio.done() and not studio.exception() else None

    def offers(self) -> list[Offer]:
        """What can be chosen, and what could be if it were fetched; slow before the first model is here."""
        from dalle.models import registered  # torch

        named = {
            c.name: Offer(c.name, c.title, c.licence, c.languages, c.note, c.size, c.available())
            for c in registered()
            if c.languages  # an image tokenizer alone draws nothing
        }
        given = [named.pop(name, Offer(name, name)) for name in self._places]
        return given + sorted(named.values(), key=lambda offer: not offer.here)

    def _fetch(self, name: str) -> "Studio":
        try:
            if name not in self._places and not any(offer.here for offer in self.offers() if offer.name == name):
                raise UnknownModelError("There is no such model here. Please choose another one.")
            return self._load(self._places.get(name, name))
        except DalleError as error:
            print(error, file=sys.stderr)
            raise
        except Exception as error:
            _log.exception("the model did not load")
            raise ModelError("The model could not be loaded; the server's log says why.") from error
