"""The decoder-only transformer of DALL·E (paper §2.2): text and image tokens as one stream.

Letters: B sequences, T text tokens, I = h*w image tokens, S positions, D channels, V image codes.
Row p of the stream predicts row p+1, so the last image token is never an input.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dalle.contracts import ImageTokenizer
from dalle.nn.attention import Attention
from dalle.nn.cache import DecoderState, KeyValues, ShiftRing
from dalle.nn.patterns import visible, visible_keys


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
    patterns: tuple[str, ...] = ("full",)  # attention patterns, cycled over the layers
    shift: bool = False  # token shift: a quarter of the channels from the pixel above, a quarter from the left

    @property
    def image_len(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def stream_len(self) -> int:
        return self.text_len + self.image_len


class Loss(NamedTuple):
    """Cross entropies in nats to a token; `total` is 1/8 text + 7/8 image (paper §2.2)."""

    total: Tensor
    text: Tensor
    image: Tensor


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class Layer(nn.Module):
    """Attention and MLP, each behind a norm (and the token shift), each added to the stream."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config.width, config.heads, config.head_dim or config.width // config.heads)
        self.mlp_norm = nn.LayerNorm(config.width)
        self.mlp = Mlp(config.width, config.hidden or 4 * config.width)


class Transformer(nn.Module):
    """A `TokenModel` when it draws; `forward(…, return_loss=True)` when it learns."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.text_embedding = nn.Embedding(config.text_vocab, config.width)
        self.image_embedding = nn.Embedding(config.image_vocab, config.width)
        self.position = nn.Parameter(torch.empty(config.stream_len, config.width))
        self.layers: list[Layer] = nn.ModuleList(Layer(config) for _ in range(config.depth))  # type: ignore[assignment]
        self.norm = nn.LayerNorm(config.width)
        self.text_head = nn.Linear(config.width, config.text_vocab)
        self.image_head = nn.Linear(config.width, config.image_vocab)
        self.reset()

    @property
    def vocab(self) -> int:
        return self.config.image_vocab

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
        return x + self.position[: x.shape[1]]

    def trunk(self, x: Tensor, state: DecoderState | None = None) -> Tensor:
        """(B, S, D) embedded rows -> (B, S, D) before the heads; fills a fresh state, if given."""
        for index, layer in enumerate(self.layers):
            caches = (None, None, None) if state is None else _caches(state, index)
            h = self._shift(layer.attention_norm(x), caches[1])
            x = x + layer.attention(h, self._mask(index, x), caches[0])
            x = x + layer.mlp(self._shift(layer.mlp_norm(x), caches[2]))
        return self.norm(x)

    def forward(
        self,
        text: Tensor,
        image: Tensor | None = None,
        return_loss: bool = False,
        tokenizer: ImageTokenizer | None = None,
    ) -> Tensor | Loss:
        """Logits of the image tokens, or the joint loss.

        Args:
            text: (B, T) text tokens; enough on their own outside training.
            image: (B, n) or (B, h, w) tokens, or (B, 3, H, W) pixels in [0, 1] for `tokenizer` to read.
            return_loss: the joint loss and its two parts instead of logits; needs all I image tokens.
            tokenizer: what turns pixels into tokens.

        Returns: (B, n + 1, V) logits of image tokens 0 … n (at most I of them), or a `Loss`.
        """
        tokens = _image_tokens(text, image, tokenizer)
        inputs = tokens[:, : self.config.image_len - 1]
        x = self.trunk(self.embed(text, inputs))  # (B, T + n, D)
        first = self.config.text_len - 1  # this row predicts image token 0
        image_logits = self.image_head(x[:, first:])
        if not return_loss:
            return image_logits
        text_logits = self.text_head(x[:, :first])
        text_loss = F.cross_entropy(text_logits.flatten(0, 1).float(), text[:, 1:].flatten())
        image_loss = F.cross_entropy(image_logits.flatten(0, 1).float(), tokens.flatten())
        return Loss((text_loss + 7 * image_loss) / 8, text_loss, image_loss)

    @torch.inference_mode()
    def prefill(self, text: Tensor, image: Tensor | None = None) -> tuple[Tensor, DecoderState]:
        """(B, T) text and (B, n) first image tokens, n < I -> (B, V) logits of token n, and the state."""
        image = text[:, :0] if image is None else image
        x = self.embed(text, image)
        state = self.fresh_state(len(text), image.shape[1], x)
        return self.image_head(self.trunk(x, state)[:, -1]), state

    @torch.inference_mode()
    def step(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """(B,) image tokens -> (B, V) logits of the next one; changes only `state`."""
        index, position = state.position, self.config.text_len + state.position
        x = (self.image_embedding(tokens) + self.position[position])[:, None]  # (B, 1, D)
        for depth, layer in enumerate(self.layers):
            cache, *rings = _caches(state, depth)
            h = _shift_step(layer.attention_norm(x), index, rings[0])
            x = x + layer.attention.step(h, position, self._keys(depth, index), cache)
            x = x + layer.mlp(_shift_step(layer.mlp_norm(x), index, rings[1]))
        state.position += 1
        return self.image_head(self.norm(x[:, 0]))

    def fresh_state(self, batch: int, position: int, like: Tensor) -> DecoderState:
        """An empty state of `batch` sequences, on the device and in the type of `like`."""
        config = self.config
        head_dim = config.head_dim or config.width // config.heads
        shape = (batch, config.heads, config.stream_len, head_dim)
        layers = [KeyValues(like.new_zeros(shape), like.new_zeros(shape)) for _ in self.layers]
        part = (batch, config.grid[1], -(-config.width // 4))
        count = 2 * config.depth if config.shift else 0
        rings = [ShiftRing(like.new_zeros(part), like.new_zeros(part)) for _ in range(count)]
        return DecoderState(position, layers, rings)

    def _pattern(self, depth: int) -> str:
        return self.config.patterns[depth % len(self.config.patterns)]

    def _mask(self, depth: int, x: Tensor) -> Tensor | None:
        pattern = self._pattern(depth)
        if pattern == "full":
            return None
        size = x.shape[1]
        return visible(pattern, self.config.text_len, self.config.grid)[:size, :size].to(x.device)

    def _keys(self, depth: int, index: int) -> Tensor | None:
        pattern = self._pattern(depth)
        if pattern == "full":
            return None
        return visible_keys(pattern, self.config.text_len, self.config.grid)[index].to(self.position.device)

    def _shift(self, x: Tensor, ring: ShiftRing | None) -> Tensor:
        return _shift_all(x, self.config.text_len, self.config.grid[1], ring) if self.config.shift else x


def _caches(state: DecoderState, index: int) -> tuple[KeyValues, ShiftRing | None, ShiftRing | None]:
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
        image = tokenizer.encode(image)
    return image.flatten(1).long()


def _shift_all(x: Tensor, text_len: int, width: int, ring: ShiftRing | None) -> Tensor:
    """Token shift of whole sequences from their start (B, S, D); remembers the last grid row in the ring.

    Text: half of the channels come from the row before. Image: a quarter from the pixel above, a quarter from the
    one to the left, zeros at the border.
    """
    text, image = x[:, :text_len], x[:, text_len:]
    half = -(-text.shape[2] // 2)
    text = torch.cat([F.pad(text[:, :-1, :half], (0, 0, 1, 0)), text[:, :, half:]], dim=2)
    count, quarter = image.shape[1], -(-x.shape[2] // 4)
    above, left, rest = image.split([quarter, quarter, image.shape[2] - 2 * quarter], dim=2)
    if ring is not None:
        for index in range(max(0, count - width), count):
            ring.write(index, above[:, index], left[:, index])
    above = F.pad(above, (0, 0, width, 0))[:, :count]
    inner = torch.arange(count, device=x.device)[:, None] % width != 0  # (n, 1): not the first column
    left = F.pad(left, (0, 0, 1, 0))[:, :count] * inner
    return torch.cat([text, torch.cat([above, left, rest], dim=2)], dim=1)


def _shift_step(x: Tensor, index: int, ring: ShiftRing | None) -> Tensor:
    """Token shift of image token `index` alone: (B, 1, D) -> (B, 1, D)."""
    if ring is None:
        return x
    quarter = ring.above.shape[2]
    above, left = ring.read(index)
    own_above, own_left, rest = x[:, 0].split([quarter, quarter, x.shape[2] - 2 * quarter], dim=1)
    shifted = torch.cat([above, left, rest], dim=1)[:, None]
    ring.write(index, own_above, own_left)
    return shifted
