"""An encoder-decoder that reads a sentence and writes image tokens: BART (Lewis et al. 2019, arXiv 1910.13461) with
the norms of NormFormer (Shleifer et al. 2021, arXiv 2110.09456) and gated MLPs (Shazeer 2020, arXiv 2002.05202).

Letters: B sequences, T text tokens, I = h*w image tokens, S positions, D channels, V image codes, H heads,
K channels of a head. Row p of the decoder predicts image token p; row 0 is the start, row p the token before it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dalle.nn.attention import Attention
from dalle.nn.cache import LANES, LANES_OF_GPU, KeyValues
from dalle.nn.transformer import MLPS


@dataclass(frozen=True)
class StackConfig:
    """Sizes of the encoder or of the decoder."""

    depth: int
    heads: int
    hidden: int  # width of the MLPs


@dataclass(frozen=True)
class Seq2SeqConfig:
    """Sizes of both halves."""

    text_vocab: int  # padding included
    text_len: int  # T
    image_vocab: int  # V
    grid: tuple[int, int]  # (h, w)
    width: int  # D
    encoder: StackConfig
    decoder: StackConfig
    padding: int = 1  # the text token that nobody looks at

    @property
    def image_len(self) -> int:
        return self.grid[0] * self.grid[1]


@dataclass
class Seq2SeqState:
    """What a `Seq2Seq` remembers of B sequences."""

    position: int  # image tokens read so far
    layers: list[KeyValues]  # of the image; filled up to the position, the start included
    text: list[KeyValues]  # of the sentence, whole from the beginning
    mask: Tensor  # (B, 1, 1, T) bool: the text that is no padding

    def repeat(self, n: int) -> Self:
        """Each sequence n times, in order: prefill a prompt once, then draw n candidates of it."""
        layers, text = ([cache.repeat(n) for cache in caches] for caches in (self.layers, self.text))
        return type(self)(self.position, layers, text, self.mask.repeat_interleave(n, 0))


class GatedMlp(nn.Module):
    """Norm, gated layer, norm, layer."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * hidden, bias=False)
        self.hidden_norm = nn.LayerNorm(hidden)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.hidden_norm(MLPS["geglu"](self.up(self.norm(x)))))


class CrossAttention(nn.Module):
    """Image positions look at the sentence."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def read(self, text: Tensor) -> KeyValues:
        """(B, T, D) from the encoder -> keys and values for all image positions."""
        keys, values = self.kv(text).chunk(2, dim=-1)
        return KeyValues(self._split(keys), self._split(values))

    def forward(self, x: Tensor, text: KeyValues, mask: Tensor) -> Tensor:
        """(B, S, D), and the (B, 1, 1, T) text that may be looked at -> (B, S, D)."""
        y = F.scaled_dot_product_attention(self._split(self.q(x)), text.keys, text.values, attn_mask=mask)
        return self.out(y.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """(B, S, D) -> (B, H, S, K)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Attention between two norms, then the MLP, each added to the stream."""

    def __init__(self, width: int, stack: StackConfig):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, stack.heads, width // stack.heads, bias=False)
        self.attention_post_norm = nn.LayerNorm(width)
        self.mlp = GatedMlp(width, stack.hidden)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention_post_norm(self.attention(self.attention_norm(x), mask))
        return x + self.mlp(x)


class DecoderLayer(nn.Module):
    """As an encoder's, with a look at the sentence between the two."""

    def __init__(self, width: int, stack: StackConfig):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, stack.heads, width // stack.heads, bias=False)
        self.attention_post_norm = nn.LayerNorm(width)
        self.cross_norm = nn.LayerNorm(width)
        self.cross = CrossAttention(width, stack.heads)
        self.cross_post_norm = nn.LayerNorm(width)
        self.mlp = GatedMlp(width, stack.hidden)

    def forward(
        self, x: Tensor, cache: KeyValues, text: KeyValues, mask: Tensor, position: int | None = None
    ) -> Tensor:
        """(B, S, D) rows from the first one, or (B, 1, D) the row of a position -> the same; fills the cache."""
        y = self.attention_norm(x)
        y = self.attention(y, None, cache) if position is None else self.attention.step(y, position, None, cache)
        x = x + self.attention_post_norm(y)
        x = x + self.cross_post_norm(self.cross(self.cross_norm(x), text, mask))
        return x + self.mlp(x)


class Seq2Seq(nn.Module):
    """A `TokenModel`."""

    def __init__(self, config: Seq2SeqConfig):
        super().__init__()
        self.config = config
        width = config.width
        self.text_embedding = nn.Embedding(config.text_vocab, width)
        self.text_position = nn.Parameter(torch.randn(config.text_len, width))
        self.text_norm = nn.LayerNorm(width)
        self.encoder: Iterable[EncoderLayer] = nn.ModuleList(  # type: ignore[assignment]
            EncoderLayer(width, config.encoder) for _ in range(config.encoder.depth)
        )
        self.encoder_norm = nn.LayerNorm(width)
        self.start = nn.Parameter(torch.randn(width))
        self.image_embedding = nn.Embedding(config.image_vocab, width)
        self.image_position = nn.Parameter(torch.randn(config.image_len, width))
        self.image_norm = nn.LayerNorm(width)
        self.decoder: Iterable[DecoderLayer] = nn.ModuleList(  # type: ignore[assignment]
            DecoderLayer(width, config.decoder) for _ in range(config.decoder.depth)
        )
        self.decoder_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.image_vocab, bias=False)

    @property
    def vocab(self) -> int:
        return self.config.image_vocab

    @property
    def lanes(self) -> int:
        return LANES if self.image_embedding.weight.device.type == "cpu" else LANES_OF_GPU

    def encode(self, text: Tensor) -> Tensor:
        """(B, T) tokens -> (B, T, D), what the decoder sees of a sentence."""
        x = self.text_norm(self.text_embedding(text) + self.text_position)
        for layer in self.encoder:
            x = layer(x, self._mask(text))
        return self.encoder_norm(x)

    def forward(self, text: Tensor, image: Tensor) -> Tensor:
        """(B, T) text and (B, n) first image tokens, n < I -> (B, n + 1, V) logits of image tokens 0 … n."""
        return self.head(self._decode(image, self.read(text)))

    @torch.inference_mode()
    def prefill(self, text: Tensor, image: Tensor | None = None) -> tuple[Tensor, Seq2SeqState]:
        """(B, T) text and (B, n) first image tokens, n < I -> (B, V) logits of token n, and the state."""
        state = self.read(text)
        x = self._decode(text[:, :0] if image is None else image, state)
        return self.head(x[:, -1]), state

    @torch.inference_mode()
    def step(self, tokens: Tensor, state: Seq2SeqState) -> Tensor:
        """(B,) image tokens -> (B, V) logits of the next one; changes only `state`."""
        state.position += 1
        row = self.image_embedding(tokens) + self.image_position[state.position]  # (B, D)
        x = self._through(self.image_norm(row)[:, None], state, state.position)
        return self.head(x[:, 0])

    def read(self, text: Tensor) -> Seq2SeqState:
        """(B, T) tokens -> the state before the first row of the decoder."""
        x = self.encode(text)
        layers = [layer.attention.fresh_cache(len(text), self.config.image_len, x) for layer in self.decoder]
        return Seq2SeqState(-1, layers, [layer.cross.read(x) for layer in self.decoder], self._mask(text))

    def _decode(self, image: Tensor, state: Seq2SeqState) -> Tensor:
        """The start and (B, n) tokens, on a state before the first row -> (B, n + 1, D) before the head."""
        x = torch.cat([self.start.expand(len(image), 1, -1), self.image_embedding(image)], dim=1)
        state.position = image.shape[1]
        return self._through(self.image_norm(x + self.image_position[: x.shape[1]]), state)

    def _through(self, x: Tensor, state: Seq2SeqState, position: int | None = None) -> Tensor:
        """(B, S, D) through all layers of the decoder."""
        for layer, cache, text in zip(self.decoder, state.layers, state.text, strict=True):
            x = layer(x, cache, text, state.mask, position)
        return self.decoder_norm(x)

    def _mask(self, text: Tensor) -> Tensor:
        """(B, T) -> (B, 1, 1, T) bool: the text that is no padding."""
        return (text != self.config.padding)[:, None, None]
