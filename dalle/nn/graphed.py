"""A decoder whose step is recorded once on a GPU, as a CUDA graph, and then only replayed.

Between the hundreds of small kernels of a step, a GPU waits longer for Python than it computes. A recorded step takes
no time to start, but its shapes and places in memory are those that it was recorded with. So the position lies on the
device, what a layer sees is looked up there, and a drawing borrows a room: buffers, and the steps that are bound to
them. Anywhere else than on a GPU, the very same code runs without being recorded.

Letters: B sequences, T text tokens, I image tokens, S = T + I positions, H heads, K channels of a head, V image codes,
n positions that a layer sees.
"""

import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dalle.nn.cache import DecoderState, Index, KeyValues, ShiftRing
from dalle.nn.patterns import visible_keys
from dalle.nn.transformer import Transformer, TransformerConfig

EXTENT = 128  # positions by which the part of the cache grows that layers look over which see all
ALIGNED = 16  # masks of so many positions, or of multiples, are taken by PyTorch's kernels as they are
KEPT = 2  # rooms of drawings that are over, for the next one: as many as the groups of a request's candidates

_log = logging.getLogger(__name__)
_recording = threading.Lock()  # one at a time in this process


def supports(config: TransformerConfig) -> bool:
    """Whether static shapes are known for all choices of a net."""
    return not {"blocks", "gate"} & {*config.patterns}


class Recording(Protocol):
    """A step that can be taken again."""

    def replay(self) -> None: ...


class StaticKeyValues(KeyValues):
    """Keys and values whose position only the device knows."""

    def write(self, start: Index, keys: Tensor, values: Tensor) -> None:
        """Fill position (1,) `start` from (B, H, 1, K)."""
        assert isinstance(start, Tensor)
        self.keys.index_copy_(2, start, keys)
        self.values.index_copy_(2, start, values)


class StaticRing(ShiftRing):
    """A ring whose place only the device knows."""

    def write(self, index: Index, above: Tensor, left: Tensor) -> None:
        """Store the channels of image token (1,) `index`, each (B, c)."""
        assert isinstance(index, Tensor)
        slot = index % self.above.shape[1]
        self.above.index_copy_(1, slot, above[:, None])
        self.left.index_copy_(1, slot, left[:, None])

    def read(self, index: Index) -> tuple[Tensor, Tensor]:
        """What token (1,) `index` gets from the pixel above and from the one to its left; zeros outside the grid."""
        assert isinstance(index, Tensor)
        width = self.above.shape[1]
        above = self.above.index_select(1, index % width)[:, 0]
        left = self.left.index_select(1, (index - 1) % width)[:, 0]
        return above.masked_fill(index < width, 0), left.masked_fill(index % width == 0, 0)


class Room:
    """Buffers of B sequences that take their steps together, and the steps that are recorded on them."""

    def __init__(self, net: Transformer, rows: int):
        fresh, size = net.fresh_state(rows, 0, net.position), net.config.stream_len
        layers = [StaticKeyValues(cache.keys, cache.values) for cache in fresh.layers if isinstance(cache, KeyValues)]
        rings = [StaticRing(ring.above, ring.left) for ring in fresh.rings]
        hides = net.config.hidden_token is not None
        hidden = net.position.new_zeros(rows, size, dtype=torch.bool) if hides else None
        self.rows = rows
        self.state = DecoderState(0, [*layers], [*rings], hidden)
        self.index = net.position.new_zeros(1, dtype=torch.int64)  # image tokens read so far
        self.tokens = net.position.new_zeros(rows, dtype=torch.int64)  # in: (B,)
        self.logits = net.position.new_zeros(rows, net.vocab)  # out: (B, V)
        self.recorded: dict[int, Recording] = {}  # by extent

    def fill(self, start: DecoderState, copies: int) -> None:
        """Begin where another state stands, each of its sequences so many times."""
        self.index.fill_(start.position)
        for ours, theirs in zip(_tensors(self.state), _tensors(start), strict=True):
            ours.unflatten(0, (-1, copies)).copy_(theirs[:, None])


class GraphedState:
    """What a `Graphed` remembers: where it begins, and from the first step on a room, until nobody needs the state."""

    def __init__(self, model: "Graphed", start: DecoderState, copies: int = 1):
        self.position = start.position  # image tokens read so far
        self._model, self._start, self._copies = model, start, copies
        self._room: Room | None = None

    def repeat(self, n: int) -> Self:
        """Each sequence n times, in order."""
        if self._room is None:
            return type(self)(self._model, self._start, self._copies * n)
        return type(self)(self._model, replace(self._room.state.repeat(1), position=self.position), n)

    def room(self) -> Room:
        """Its own as long as it lives."""
        if self._room is None:
            self._room = self._model.borrow(self._copies * len(_tensors(self._start)[0]))
            self._room.fill(self._start, self._copies)
            weakref.finalize(self, self._model.give_back, self._room).atexit = False
        return self._room


class Graphed:
    """A `TokenModel`: the same decoder by the same code, its step in static shapes and, on a GPU, recorded."""

    def __init__(self, net: Transformer, lanes: int | None = None):
        """`lanes` sequences are drawn together; None: as many as by the net itself. Raises ValueError for a net that
        is not supported.
        """
        if not supports(net.config):
            raise ValueError("static shapes are not known for this kind of net")
        self.net, self.lanes = net, lanes or net.lanes
        self.extents = _extents(net.config)
        self._sights = {pattern: _sights(net, pattern) for pattern in {*net.config.patterns} - {"full"}}
        self._free: deque[Room] = deque(maxlen=KEPT)

    @property
    def vocab(self) -> int:
        return self.net.vocab

    @property
    def starts(self) -> list[int]:
        """The first image token that is read by each of the recorded steps."""
        return [0, *(extent - self.net.config.text_len for extent in self.extents[:-1])]

    def prefill(self, text: Tensor, image: Tensor | None = None) -> tuple[Tensor, GraphedState]:
        """(B, T) text and (B, n) first image tokens, n < I -> (B, V) logits of token n, and the state."""
        logits, state = self.net.prefill(text, image)
        return logits, GraphedState(self, state)

    @torch.inference_mode()
    def step(self, tokens: Tensor, state: GraphedState) -> Tensor:
        """(B,) image tokens -> (B, V) logits of the next one; changes only `state`."""
        room = state.room()
        room.tokens.copy_(tokens)
        seen = self.net.config.text_len + state.position + 1
        extent = next(extent for extent in self.extents if extent >= seen)
        if room.recorded:
            room.recorded[extent].replay()
        else:
            self._advance(room, extent)
        state.position += 1
        return room.logits.clone()

    @torch.inference_mode()
    def prepare(self, rows: int) -> None:
        """A room of that size before it is asked for. Raises whatever keeps the device from recording a step."""
        room = Room(self.net, rows)
        self._record(room)
        self.give_back(room)

    def borrow(self, rows: int) -> Room:
        """A room of that size that nobody uses; where there is none, those of other sizes are let go for a new one."""
        for room in self._free.copy():
            with suppress(ValueError):  # another drawing was faster
                if room.rows == rows:
                    self._free.remove(room)
                    return room
        self._free.clear()
        room = Room(self.net, rows)
        try:
            self._record(room)
        except Exception as error:  # the same step without a recording is only slower
            _log.warning("A step of %s sequences is not recorded: %s", rows, error)
        return room

    def give_back(self, room: Room) -> None:
        """Keep a room for the next drawing, or let it go."""
        self._free.append(room)

    def _record(self, room: Room) -> None:
        if _can_record(room.index.device):
            room.recorded = record(lambda extent: self._advance(room, extent), self.extents, room.index)

    def _advance(self, room: Room, extent: int) -> None:
        """One step of all sequences in a room, which looks over the first `extent` positions of its caches."""
        sights = {pattern: self._sight(pattern, room, extent) for pattern in {*self.net.config.patterns}}

        def sight(depth: int) -> tuple[Tensor | slice, Tensor]:
            return sights[self.net.pattern(depth)]

        room.logits.copy_(self.net.advance(room.tokens, room.index, room.state, sight))
        room.index += 1

    def _sight(self, pattern: str, room: Room, extent: int) -> tuple[Tensor | slice, Tensor]:
        """The n positions that layers look at now, and what is added to their scores: (B or 1, 1, 1, n)."""
        keys: Tensor | slice
        if pattern == "full":
            keys = slice(extent)
            seen = torch.arange(extent, device=room.index.device) <= self.net.config.text_len + room.index[:, None]
        else:
            keys, seen = (table.index_select(0, room.index) for table in self._sights[pattern])  # (1, n) each
            keys = keys[0]
        if room.state.hidden is not None:
            seen = seen & ~room.state.hidden[:, keys]  # (B, n)
        added = torch.zeros(seen.shape, dtype=room.logits.dtype, device=seen.device).masked_fill(~seen, -torch.inf)
        return keys, added[:, None, None]


def record(advance: Callable[[int], None], extents: Sequence[int], index: Tensor) -> dict[int, Recording]:
    """A recording of the step for each extent; what lies in the buffers is lost, but for the index, which is 0 then.

    Each is first taken as it is, as kernels are chosen and loaded by their first use.
    """
    with _recording, torch.cuda.device(index.device):
        here, beside = torch.cuda.current_stream(), _beside(index.device)
        beside.wait_stream(here)
        try:
            with torch.cuda.stream(beside):
                for extent in extents:
                    index.zero_()
                    advance(extent)
                index.zero_()
                pool = torch.cuda.graph_pool_handle()
                return {extent: _recorded(advance, extent, pool, beside) for extent in extents}
        finally:
            here.wait_stream(beside)


def _recorded(advance: Callable[[int], None], extent: int, pool: Any, beside: torch.cuda.Stream) -> Recording:
    """The recording of one step; all of one room share the memory in between. Other threads may go on meanwhile."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool, beside, capture_error_mode="thread_local"):
        advance(extent)
    return graph


@cache
def _beside(device: torch.device) -> torch.cuda.Stream:
    """The stream of all recordings: each stream that has ever multiplied keeps memory for it."""
    return torch.cuda.Stream(device)


def _can_record(device: torch.device) -> bool:
    return device.type == "cuda"


def _extents(config: TransformerConfig) -> list[int]:
    """How many positions layers that see all may look over: the steps to record, one for each stretch of a picture."""
    size, first = config.stream_len, config.text_len + 1  # of which the last image token is never read
    if "full" not in config.patterns:
        return [size]
    return [min(extent, size) for extent in range(-(-first // EXTENT) * EXTENT, size - 1 + EXTENT, EXTENT)]


def _sights(net: Transformer, pattern: str) -> tuple[Tensor, Tensor]:
    """For every image token, n positions and which of them are seen: (I, n) int64 and (I, n) bool, on the net's device.

    As many for each, so rows are filled up with what is not seen.
    """
    rows = visible_keys(pattern, net.pattern_start, net.config.grid)[net.config.text_len - net.pattern_start :]
    keys = pad_sequence([*rows], batch_first=True)
    keys = F.pad(keys, (0, -keys.shape[1] % ALIGNED))
    lengths = torch.tensor([len(row) for row in rows])
    seen = torch.arange(keys.shape[1]) < lengths[:, None]
    return keys.to(net.position.device), seen.to(net.position.device)


def _tensors(state: DecoderState) -> list[Tensor]:
    """All that a state remembers of its sequences, which are the first dimension of each."""
    layers = [tensor for cache in state.layers if isinstance(cache, KeyValues) for tensor in (cache.keys, cache.values)]
    rings = [tensor for ring in state.rings for tensor in (ring.above, ring.left)]
    return [*layers, *rings, *([] if state.hidden is None else [state.hidden])]
