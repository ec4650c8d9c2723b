"""The models from Python, with the calls that their authors' package has; the README tells where they differ.

Letters: B captions, T caption tokens, I image tokens, n of them given, N rows of the text vocabulary, V image codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from dalle import sampling
from dalle.contracts import ImageTokenizer, SamplingOptions
from dalle.errors import ModelError, PictureError, PromptError, SettingError
from dalle.families import Parts
from dalle.families.dalle_pytorch.captions import PAD, Captions, pad, place
from dalle.nn.contrastive import Contrastive
from dalle.nn.strided_vae import StridedVAE
from dalle.nn.transformer import Transformer, TransformerConfig

PRIMED = 0.4375  # share of a priming picture's tokens that are kept by default
MASKED = -torch.finfo(torch.float32).max  # logit of a token that cannot be


def top_k(filter_thres: float, config: TransformerConfig) -> int:
    """How many image codes a filter leaves; 0: all. It counts text tokens too, as the authors' own does."""
    count = max(int((1 - filter_thres) * (config.text_vocab + config.image_vocab)), 1)
    return count if count < config.image_vocab else 0


@dataclass(frozen=True)
class DALLE:
    """A transformer and its image tokenizer. Captions are (B, T) int64 ids, 0 for padding; see `tokenize`."""

    model: Transformer
    images: ImageTokenizer
    text: Captions | None = None

    @classmethod
    def of(cls, parts: Parts) -> Self:
        """The model of a checkpoint that this family has loaded. Raises ModelError where it is not whole."""
        if not isinstance(parts.model, Transformer) or parts.images is None:
            raise ModelError("There is no whole model: it needs a transformer and an image tokenizer.")
        return cls(parts.model, parts.images, parts.text if isinstance(parts.text, Captions) else None)

    @property
    def text_len(self) -> int:
        """T."""
        return self.model.config.text_len - 1

    def tokenize(self, *prompts: str) -> Tensor:
        """B sentences -> (B, T), cut or padded. Raises ModelError where there is no text tokenizer."""
        if self.text is None:
            raise ModelError("This model lies there without its text tokenizer. Put its file beside the checkpoint.")
        return torch.stack([pad(self.text.pieces.encode(prompt), self.text_len) for prompt in prompts])

    def __call__(
        self, text: Tensor, image: Tensor | None = None, return_loss: bool = False, null_cond_prob: float = 0.0
    ) -> Tensor:
        """Logits of what each row predicts, or the training loss.

        Args:
            text: (B, T) captions.
            image: (B, 3, H, W) pixels in [0, 1], or (B, n) codes; all I of them for the loss.
            null_cond_prob: the probability of replacing a caption by the empty one, to learn guidance.

        Returns: (B, T + n + 1, N + V) logits, one row less where n is I; those of text in image rows, and of images in
            text rows, are the smallest float32. Or the loss. Raises InputError for tensors of other shapes.
        """
        text = self._checked(text)
        dropped = torch.rand(len(text), 1, device=text.device) < null_cond_prob
        stream = place(text.masked_fill(dropped, PAD), self.model.config)
        codes = text[:, :0] if image is None else self._codes(text, image)
        if return_loss:
            if codes.shape[1] < self.model.config.image_len:
                raise PictureError("The loss is that of captions with whole pictures.")
            return self.model(stream, codes, return_loss=True).total
        of_text, of_image = self.model.logits(stream, codes)
        of_text = F.pad(of_text.float(), (0, of_image.shape[2]), value=MASKED)
        of_image = F.pad(of_image.float(), (self.model.config.text_vocab, 0), value=MASKED)
        return torch.cat([of_text, of_image], dim=1)

    forward = __call__

    def generate_tokens(
        self,
        text: Tensor,
        *,
        img: Tensor | None = None,
        num_init_img_tokens: int | None = None,
        filter_thres: float = 0.5,
        temperature: float = 1.0,
        cond_scale: float = 1.0,
        seed: int = 0,
    ) -> Tensor:
        """(B, T) captions -> (B, I) image tokens; row i of a seed is the same, whatever the other rows are.

        Args:
            img: (B, 3, S, S) pictures in [0, 1] of the model's size, whose first tokens are kept.
            num_init_img_tokens: how many of them; 7/16 by default.
            filter_thres: the share of the whole vocabulary that is left out; 1 takes the likeliest token.
            cond_scale: how far to go from the logits of the empty caption to those of this one; 1 is none.

        Raises InputError for a picture or a number that cannot be used.
        """
        text, config = self._checked(text), self.model.config
        options = SamplingOptions(cond_scale, temperature, top_k(filter_thres, config))
        options = sampling.check(options, can_guide=True)
        prefix = self._prefix(text, img, num_init_img_tokens)  # (B, r)
        stream = place(text, config)
        null = place(torch.zeros_like(text[:1]), config)[0]
        out = torch.cat([prefix, prefix.new_zeros(len(text), config.image_len - prefix.shape[1])], dim=1)
        for members in _alike(torch.cat([stream, prefix], dim=1)):
            first = members[0]
            kept = F.pad(prefix[first], (0, config.image_len - prefix.shape[1]), value=-1)
            drawn = sampling.draw(self.model, stream[first], null, seed, members, options, kept)
            for position, tokens in enumerate(drawn, start=prefix.shape[1]):
                out[members, position] = tokens
        return out

    def generate_images(
        self, text: Tensor, *, clip: Contrastive | None = None, **settings: Any
    ) -> Tensor | tuple[Tensor, Tensor]:
        """(B, T) captions -> (B, 3, S, S) pictures in [0, 1]; with `clip` also its (B,) scores.

        The settings are those of `generate_tokens`.
        """
        tokens = self.generate_tokens(text, **settings)
        pictures = self.images.decode(tokens.unflatten(1, self.model.config.grid))
        return pictures if clip is None else (pictures, clip(text.to(pictures.device), pictures))

    @torch.inference_mode()
    def generate_texts(
        self, text: Tensor | None = None, *, filter_thres: float = 0.5, temperature: float = 1.0, seed: int = 0
    ) -> Tensor:
        """(B, n) first tokens of captions -> (B, T), completed; `decode` spells them. None: one, from nothing.

        The models learn captions only behind a first token; as in the authors' package, it is missing here.
        """
        config = self.model.config
        text = torch.zeros(1, 1, dtype=torch.long) if text is None else text
        text = text.to(self._device)
        count = max(int((1 - filter_thres) * (config.text_vocab + config.image_vocab)), 1)
        options = sampling.check(SamplingOptions(1.0, temperature, count), can_guide=False)
        table = sampling.uniforms(seed, range(len(text)), self.text_len).to(text.device)
        while text.shape[1] < self.text_len:
            rows = self.model.trunk(self.model.embed(text, text[:, :0]))
            logits = self.model.text_head(rows[:, -1])
            tokens = sampling.choose(*sampling.filter_logits(logits, options), table[:, text.shape[1]])
            text = torch.cat([text, tokens[:, None]], dim=1)
        return text

    def decode(self, text: Tensor) -> list[str]:
        """(B, T) -> B sentences, without paddings. Raises ModelError where there is no text tokenizer."""
        if self.text is None:
            raise ModelError("This model lies there without its text tokenizer. Put its file beside the checkpoint.")
        pieces = self.text.pieces
        return [pieces.decode([piece for piece in row if piece < pieces.size]) for row in text.tolist()]

    @property
    def _device(self) -> torch.device:
        return self.model.position.device

    def _checked(self, text: Tensor) -> Tensor:
        if text.dim() != 2 or text.shape[1] != self.text_len:
            raise PromptError(f"Captions should be (B, {self.text_len}) tokens, not {tuple(text.shape)}.")
        return text.to(self._device)

    def _prefix(self, text: Tensor, img: Tensor | None, count: int | None) -> Tensor:
        """The tokens that are kept of each picture: (B, r)."""
        length = self.model.config.image_len
        if img is None:
            return text[:, :0]
        count = int(PRIMED * length) if count is None else count
        if not 0 <= count < length:
            raise SettingError(f"Between 0 and {length - 1} tokens of a picture can be kept.")
        return self._codes(text, img)[:, :count]

    def _codes(self, text: Tensor, image: Tensor) -> Tensor:
        """Pictures or first codes of them, one for each caption -> (B, n) codes. Raises PictureError."""
        size, length = self.images.size, self.model.config.image_len
        codes = image.to(self._device)
        if image.is_floating_point():
            channels = {3, self.images.config.channels if isinstance(self.images, StridedVAE) else 3}
            if image.shape not in [(len(text), count, size, size) for count in channels]:
                raise PictureError(f"The pictures should be (B, 3, {size}, {size}), one for each caption.")
            codes = self.images.encode(codes).clone()  # an inference tensor could not be learned from
        if len(codes) != len(text) or codes.flatten(1).shape[1] > length:
            raise PictureError(f"There should be at most {length} codes of a picture for each caption.")
        return codes.flatten(1)


def _alike(rows: Tensor) -> list[list[int]]:
    """The numbers of the rows of (B, n), those of equal rows together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, row in enumerate(rows.tolist()):
        groups.setdefault(tuple(row), []).append(index)
    return list(groups.values())
