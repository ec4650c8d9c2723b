"""The decoder-only transformer of DALL·E (paper §2.2): text and image tokens as one stream.

Letters: B sequences, T text tokens, I = h*w image tokens, S positions, D channels, V image codes.
Row p of the stream predicts row p+1, so the last image token is never an input.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dalle.contracts import ImageTokenizer
from dalle.nn.attention import Attention
from dalle.nn.cache import LANES, LANES_OF_GPU, DecoderState, Index, ShiftRing
from dalle.nn.gate import SpatialGate
from dalle.nn.patterns import BLOCK, visible, visible_blocks, visible_keys
from dalle.nn.shift import shift_ahead, shift_all, shift_step


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes and closed choices of a decoder."""

    text_vocab: int  # padding tokens included
    text_len: int  # T
    image_vocab: int  # V
    grid: tuple[int, int]  # (h, w)
    width: int  # D
    depth: int
    heads: int
    head_dim: int | None = None  # None: width / heads
    hidden: int | None = None  # width of the MLP; None: 4 * width
    patterns: tuple[str, ...] = ("full",)  # attention patterns, cycled; or "blocks" (stored), "gate" (no attention)
    pattern_start: int | None = None  # stream position of cell (0, 0) of the patterns; None: text_len
    shift: bool = False  # token shift: a quarter of the channels from the pixel above, a quarter from the left
    mlp: str = "gelu"  # what lies between the two layers of an MLP: a key of `MLPS`
    sandwich: bool = False  # norms also behind attention and MLP (Ding et al. 2021)
    rotary: int = 0  # channels of a head whose queries, keys and values turn by stored angles
    reversible: bool = False  # two streams, each fed by the other (Gomez et al. 2017)
    divide_by_max: bool = False  # each row by its largest channel, before the last norm
    head_norm: bool = False  # a second norm before the heads
    hidden_token: int | None = None  # a text token that nobody looks at, but for the first of the stream
    uncounted_token: int | None = None  # a text token that the loss leaves out
    seam_to_text: bool = False  # the text head learns the first image token, as if it were text; not the image head
    embedding_gradient: float = 1.0  # share of the gradient that reaches the embeddings (Ding et al. 2021)
    image_weight: float | None = 7.0  # of the image part of the loss, the text part has 1; None: one mean over all

    @property
    def image_len(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def stream_len(self) -> int:
        return self.text_len + self.image_len


class SoftTargets(NamedTuple):
    """Which codes an image token might as well have been, and how likely each is: rows that sum to 1."""

    codes: Tensor  # (B, I, K) int64
    weights: Tensor  # (B, I, K)


class Loss(NamedTuple):
    """Cross entropies in nats to a token; `total` is 1/8 text + 7/8 image (paper §2.2) unless configured."""

    total: Tensor
    text: Tensor
    image: Tensor


def _geglu(x: Tensor) -> Tensor:
    """(B, S, 2 * hidden), values and then gates -> (B, S, hidden) (Shazeer 2020)."""
    values, gates = x.chunk(2, dim=-1)
    return values * F.gelu(gates)


def _quick_gelu(x: Tensor) -> Tensor:
    """An approximation of GELU by a sigmoid (Hendrycks & Gimpel 2016)."""
    return x * torch.sigmoid(1.702 * x)


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


MLPS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": _gelu_tanh,
    "quick_gelu": _quick_gelu,
    "geglu": _geglu,
}


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int, kind: str):
        super().__init__()
        self.up = nn.Linear(width, 2 * hidden if kind == "geglu" else hidden)
        self.down = nn.Linear(hidden, width)
        self.kind, self.activate = kind, MLPS[kind]

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activate(self.up(x)))


class Layer(nn.Module):
    """Attention and MLP, each behind a norm (and the token shift), each added to the stream."""

    def __init__(self, config: TransformerConfig, pattern: str):
        super().__init__()
        width = config.width
        self.attention_norm = nn.LayerNorm(width)
        self.attention = (
            SpatialGate(width, config.stream_len)
            if pattern == "gate"
            else Attention(width, config.heads, config.head_dim or width // config.heads)
        )
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = Mlp(width, config.hidden or 4 * width, config.mlp)
        self.attention_post_norm = nn.LayerNorm(width) if config.sandwich else nn.Identity()
        self.mlp_post_norm = nn.LayerNorm(width) if config.sandwich else nn.Identity()


class Transformer(nn.Module):
    """A `TokenModel` when it draws; `forward(…, return_loss=True)` when it learns."""

    rotation: Tensor | None  # (2, S, R) cosines and sines
    blocks: Tensor  # (H, n, n) bool, where a pattern is "blocks"

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.text_embedding = nn.Embedding(config.text_vocab, config.width)
        self.image_embedding = nn.Embedding(config.image_vocab, config.width)
        self.position = nn.Parameter(torch.empty(config.stream_len, config.width))
        self.layers: list[Layer] = nn.ModuleList(  # type: ignore[assignment]
            Layer(config, config.patterns[depth % len(config.patterns)]) for depth in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head_norm = nn.LayerNorm(config.width) if config.head_norm else nn.Identity()
        self.text_head = nn.Linear(config.width, config.text_vocab)
        self.image_head = nn.Linear(config.width, config.image_vocab)
        size, count = config.stream_len, config.stream_len // BLOCK
        rotation = torch.zeros(2, size, config.rotary) if config.rotary else None
        blocks = torch.zeros(config.heads, count, count, dtype=torch.bool) if "blocks" in config.patterns else None
        self.register_buffer("rotation", rotation)
        self.register_buffer("blocks", blocks)
        self.reset()

    @property
    def vocab(self) -> int:
        return self.config.image_vocab

    @property
    def lanes(self) -> int:
        return LANES if self.image_embedding.weight.device.type == "cpu" else LANES_OF_GPU

    def reset(self) -> None:
        """Small normal weights; what a layer adds to the stream starts at zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.position, std=0.02)
        for layer in self.layers:
            nn.init.zeros_(layer.attention.out.weight)
            nn.init.zeros_(layer.mlp.down.weight)

    def embed(self, text: Tensor, image: Tensor) -> Tensor:
        """(B, T) and (B, n) tokens -> (B, T + n, D)."""
        x = torch.cat([self.text_embedding(text), self.image_embedding(image)], dim=1)
        x = x + self.position[: x.shape[1]]
        share = self.config.embedding_gradient
        return x if share == 1 else share * x + (1 - share) * x.detach()

    def trunk(self, x: Tensor, state: DecoderState | None = None, hidden: Tensor | None = None) -> Tensor:
        """(B, S, D) embedded rows, (B, T + I) hidden ones -> (B, S, D) before the heads; fills a fresh state."""
        size = x.shape[1]
        rotation = None if self.rotation is None else self.rotation[:, :size]

        def attend(depth: int, layer: Layer, x: Tensor) -> Tensor:
            cache, ring, _ = _caches(state, depth)
            x = self._shift(layer.attention_norm(x), ring)
            if isinstance(layer.attention, SpatialGate):
                return layer.attention(x, cache)
            return layer.attention(x, self._mask(depth, size, x, hidden), cache, rotation)

        def feed(depth: int, layer: Layer, x: Tensor) -> Tensor:
            return layer.mlp(self._shift(layer.mlp_norm(x), _caches(state, depth)[2]))

        return self._through(x, attend, feed)

    def _through(self, x: Tensor, attend: "Branch", feed: "Branch") -> Tensor:
        """(B, S, D) through all layers, each adding what its two branches make of the stream."""
        reversible = self.config.reversible
        a = b = x
        for depth, layer in enumerate(self.layers):
            a = a + layer.attention_post_norm(attend(depth, layer, b))
            b = (b if reversible else a) + layer.mlp_post_norm(feed(depth, layer, a))
            a = a if reversible else b
        x = (a + b) / 2 if reversible else b
        x = x / x.amax(-1, keepdim=True).detach() if self.config.divide_by_max else x
        return self.head_norm(self.norm(x))

    def forward(
        self,
        text: Tensor,
        image: Tensor | None = None,
        return_loss: bool = False,
        tokenizer: ImageTokenizer | None = None,
        targets: SoftTargets | None = None,
    ) -> Tensor | Loss:
        """Logits of the image tokens, or the joint loss.

        Args:
            text: (B, T) text tokens; enough on their own outside training.
            image: (B, n) or (B, h, w) tokens, or (B, 3, H, W) pixels in [0, 1] for `tokenizer` to read.
            return_loss: the joint loss and its two parts instead of logits; needs all I image tokens.
            tokenizer: what turns pixels into tokens.
            targets: what the loss compares with in place of the image tokens (paper §2.2, footnote on sampling).

        Returns: (B, n + 1, V) logits of image tokens 0 … n (at most I of them), or a `Loss`.
        """
        tokens = _image_tokens(text, image, tokenizer)
        if return_loss and tokens.shape[1] != self.config.image_len:
            raise ValueError(f"the loss needs all {self.config.image_len} image tokens")
        text_logits, image_logits = self.logits(text, tokens)
        return self._loss(text_logits, image_logits, text, tokens, targets) if return_loss else image_logits

    def logits(self, text: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) and (B, n) tokens -> (B, T - 1, text_vocab) of text tokens 1 … T-1, (B, n + 1, V) of image ones 0 … n.

        There is no image token I: where n is I, the second holds I rows. With `seam_to_text`, the first has a row more.
        """
        x = self.trunk(self.embed(text, image[:, : self.config.image_len - 1]), hidden=self._hidden(text))
        first = self.config.text_len - 1  # this row predicts image token 0
        return self.text_head(x[:, : first + self.config.seam_to_text]), self.image_head(x[:, first:])

    def _loss(
        self, text_logits: Tensor, image_logits: Tensor, text: Tensor, tokens: Tensor, targets: SoftTargets | None
    ) -> Loss:
        skip = -1 if self.config.uncounted_token is None else self.config.uncounted_token
        seam = int(self.config.seam_to_text)
        labels = torch.cat([text[:, 1:], tokens[:, :seam]], dim=1).flatten()
        text_loss = F.cross_entropy(text_logits.flatten(0, 1).float(), labels, ignore_index=skip)
        image_logits = image_logits[:, seam:].float()  # (B, I - seam, V)
        if targets is None:
            image_loss = F.cross_entropy(image_logits.flatten(0, 1), tokens[:, seam:].flatten())
        else:
            meant = targets.weights[:, seam:] * image_logits.gather(-1, targets.codes[:, seam:])  # (B, I - seam, K)
            image_loss = (image_logits.logsumexp(-1) - meant.sum(-1)).mean()
        means = tokens[:, seam:].numel() / (labels != skip).sum()
        weight = means if self.config.image_weight is None else self.config.image_weight
        return Loss((text_loss + weight * image_loss) / (1 + weight), text_loss, image_loss)

    @torch.inference_mode()
    def prefill(self, text: Tensor, image: Tensor | None = None) -> tuple[Tensor, DecoderState]:
        """(B, T) text and (B, n) first image tokens, n < I -> (B, V) logits of token n, and the state."""
        image = text[:, :0] if image is None else image
        x = self.embed(text, image)
        state = self.fresh_state(len(text), image.shape[1], x)
        state.hidden = self._hidden(text)
        return self.image_head(self.trunk(x, state, state.hidden)[:, -1]), state

    @torch.inference_mode()
    def step(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """(B,) image tokens -> (B, V) logits of the next one; changes only `state`."""

        def sight(depth: int) -> tuple[Tensor | None, Tensor | None]:
            keys = self._keys(depth, state.position)
            return keys, self._row(depth, self.config.text_len + state.position, keys, state)

        logits = self.advance(tokens, state.position, state, sight)
        state.position += 1
        return logits

    def advance(self, tokens: Tensor, index: Index, state: DecoderState, sight: "Sight") -> Tensor:
        """(B,) image tokens at `index` -> (B, V) logits of the next one; changes only the caches of `state`.

        `sight` tells for each layer the n positions to look at (None: all so far) and their mask, as `Attention.step`
        takes them. Nothing here asks for the value of an index that is a tensor.
        """
        position = self.config.text_len + index
        x = (self.image_embedding(tokens) + self.position[position])[:, None]  # (B, 1, D)
        rotation = None if self.rotation is None else self.rotation[:, position].reshape(2, 1, -1)

        def attend(depth: int, layer: Layer, x: Tensor) -> Tensor:
            cache, ring, _ = _caches(state, depth)
            x = shift_step(layer.attention_norm(x), index, ring)
            if isinstance(layer.attention, SpatialGate):
                return layer.attention.step(x, position, cache)
            keys, mask = sight(depth)
            return layer.attention.step(x, position, keys, cache, mask, rotation)

        def feed(depth: int, layer: Layer, x: Tensor) -> Tensor:
            return layer.mlp(shift_step(layer.mlp_norm(x), index, _caches(state, depth)[2]))

        return self.image_head(self._through(x, attend, feed)[:, 0])

    @property
    def looks_ahead(self) -> bool:
        """Whether `ahead` can be asked."""
        return "gate" not in self.config.patterns

    @torch.inference_mode()
    def ahead(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """(B, k) guesses of the next image tokens, at most a row -> (B, k, V) logits of the token behind each.

        As many as turn out to be right are then kept by `state.accept`.
        """
        index, start = state.position, self.config.text_len + state.position
        stop = start + tokens.shape[1]
        x = self.image_embedding(tokens) + self.position[start:stop]  # (B, k, D)
        rotation = None if self.rotation is None else self.rotation[:, start:stop]

        def attend(depth: int, layer: Layer, x: Tensor) -> Tensor:
            cache, ring, _ = _caches(state, depth)
            assert isinstance(layer.attention, Attention)
            mask = self._mask(depth, stop, x, state.hidden)
            mask = x.new_ones(stop, stop, dtype=torch.bool).tril() if mask is None else mask
            x = shift_ahead(layer.attention_norm(x), index, ring)
            return layer.attention.ahead(x, start, mask[..., start:, :], cache, rotation)

        def feed(depth: int, layer: Layer, x: Tensor) -> Tensor:
            return layer.mlp(shift_ahead(layer.mlp_norm(x), index, _caches(state, depth)[2]))

        return self.image_head(self._through(x, attend, feed))

    def fresh_state(self, batch: int, position: int, like: Tensor) -> DecoderState:
        """An empty state of `batch` sequences, on the device and in the type of `like`."""
        config = self.config
        layers = [layer.attention.fresh_cache(batch, config.stream_len, like) for layer in self.layers]
        part = (batch, config.grid[1], -(-config.width // 4))
        count = 2 * config.depth if config.shift else 0
        rings = [ShiftRing(like.new_zeros(part), like.new_zeros(part)) for _ in range(count)]
        return DecoderState(position, layers, rings)

    def pattern(self, depth: int) -> str:
        """How a layer attends: one of the config's patterns."""
        return self.config.patterns[depth % len(self.config.patterns)]

    @property
    def pattern_start(self) -> int:
        """The stream position of cell (0, 0) of the patterns."""
        return self.config.text_len if self.config.pattern_start is None else self.config.pattern_start

    def _mask(self, depth: int, size: int, like: Tensor, hidden: Tensor | None) -> Tensor | None:
        """What S = `size` positions may look at: (S, S), with dimensions for B and H before where needed; None: all
        before.
        """
        pattern = self.pattern(depth)
        if pattern == "full" and hidden is None:
            return None
        if pattern == "blocks":
            mask = visible_blocks(self.blocks, size)
        else:
            mask = visible(pattern, self.pattern_start, self.config.grid)[:size, :size].to(like.device)
        if hidden is None:
            return mask
        keys = hidden[:, None, None, :size]
        if pattern not in ("full", "blocks"):  # there, only image tokens do not see what is hidden
            keys = keys & (torch.arange(size, device=like.device) >= self.config.text_len)[:, None]
        return _hide(pattern, mask, keys, like)

    def _keys(self, depth: int, index: int) -> Tensor | None:
        """The positions that image token `index` looks at; None: all so far, as far as `_row` lets it."""
        pattern = self.pattern(depth)
        if pattern in ("full", "blocks"):
            return None
        cell = index + self.config.text_len - self.pattern_start
        return visible_keys(pattern, self.pattern_start, self.config.grid, self.position.device)[cell]

    def _row(self, depth: int, position: int, keys: Tensor | None, state: DecoderState) -> Tensor | None:
        """The mask of one image position over its n keys: (B or 1, H or 1, 1, n); None: all of them."""
        pattern = self.pattern(depth)
        seen = slice(position + 1) if keys is None else keys
        mask = None
        if pattern == "blocks":
            mask = visible_blocks(self.blocks, position + 1)[None, :, -1:]
        if state.hidden is None:
            return mask
        hidden = state.hidden[:, None, None, seen]
        mask = torch.ones_like(hidden) if mask is None else mask
        return _hide(pattern, mask, hidden, self.position)

    def _hidden(self, text: Tensor) -> Tensor | None:
        """(B, T) -> (B, T + I) bool: the text that nobody looks at; None where there can be none."""
        if self.config.hidden_token is None:
            return None
        hidden = F.pad(text == self.config.hidden_token, (0, self.config.image_len))
        hidden[:, 0] = False
        return hidden

    def _shift(self, x: Tensor, ring: ShiftRing | None) -> Tensor:
        """Token shift; a sentence that is not whole yet is not shifted."""
        if not self.config.shift or x.shape[1] < self.config.text_len:
            return x
        return shift_all(x, self.config.text_len, self.config.grid[1], ring)


Branch = Callable[[int, Layer, Tensor], Tensor]  # depth, layer, (B, S, D) -> (B, S, D)
Sight = Callable[[int], tuple[Tensor | slice | None, Tensor | None]]  # depth -> keys, mask


def _hide(pattern: str, mask: Tensor, keys: Tensor, like: Tensor) -> Tensor:
    """Take hidden keys out of a mask. Stored blocks come from code that showed them, and favored them by 1."""
    if pattern == "blocks":
        return torch.where(mask, keys.to(like.dtype), -torch.inf)
    return mask & ~keys


def _caches(state: DecoderState | None, index: int) -> tuple[Any, ShiftRing | None, ShiftRing | None]:
    """The cache of a layer's attention, and its two rings."""
    if state is None:
        return None, None, None
    if not state.rings:
        return state.layers[index], None, None
    return state.layers[index], state.rings[2 * index], state.rings[2 * index + 1]


def _image_tokens(text: Tensor, image: Tensor | None, tokenizer: ImageTokenizer | None) -> Tensor:
    """Tokens, a grid of tokens or pixels -> (B, n) tokens."""
    if image is None:
        return text[:, :0]
    if image.is_floating_point():
        if tokenizer is None:
            raise ValueError("pixels need the tokenizer that reads them")
        image = tokenizer.encode(image).clone()  # an inference tensor could not be learned from
    return image.flatten(1).long()
