"""`config.json` of the model and of its VQGAN: sizes must be those of the tensors, choices those of what is public."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dalle import config
from dalle.errors import CheckpointError

MODEL_CHOICES = {
    "activation_function": "gelu",
    "force_ln_scale": False,
    "head_scale": False,
    "is_encoder_decoder": True,
    "ln_positions": "normformer",
    "ln_type": "layernorm",
    "scale_embedding": False,
    "sinkhorn_iters": 1,
    "tie_word_embeddings": False,
    "use_absolute_position_embeddings": True,
    "use_alibi": False,
    "use_bias": False,
    "use_cosine_attention": False,
    "use_deepnet_scaling": False,
    "use_final_ln_decoder": True,
    "use_final_ln_encoder": True,
    "use_glu": True,
    "use_head_scale": False,
    "use_swin_position_embeddings": False,
}
VQGAN_CHOICES = {
    "double_z": False,
    "give_pre_end": False,
    "in_channels": 3,
    "out_ch": 3,
    "resamp_with_conv": True,
}
UNUSED = {  # here: training, the library's own drawing loop, the file itself
    *("_name_or_path", "architectures", "dtype", "model_type", "torch_dtype", "transformers_version"),
    *("activation_dropout", "attention_dropout", "dropout", "gradient_checkpointing", "init_std", "tau_init"),
    *("bos_token_id", "eos_token_id", "pad_token_id", "do_sample", "forced_eos_token_id", "use_cache"),
    *("max_length", "min_length", "num_resolutions", "use_scan", "use_subln_init"),
}


def beside(weights: Path, key: str, value: int) -> tuple[dict[str, Any], Path | None]:
    """The settings in a file's folder that have a key, preferably with that value, and their file; else none.

    Raises CheckpointError where one is damaged.
    """
    found = [(config.read(path), path) for path in sorted(weights.parent.glob("config*.json"))]
    found = [(settings, path) for settings, path in found if isinstance(settings, dict) and key in settings]
    return min(found, key=lambda pair: pair[0][key] != value, default=({}, None))


def check(settings: Mapping[str, Any], where: Path | None, known: Mapping[str, Any], used: set[str]) -> None:
    """Raise CheckpointError for a setting that is not as known, or that is neither known nor used elsewhere."""
    for key, value in settings.items():
        if key in known and (value != known[key] or isinstance(value, bool) != isinstance(known[key], bool)):
            raise CheckpointError(f"{_name(where)}: {key} is {value!r}, but this model needs {known[key]!r}.")
        if key not in known and key not in used | UNUSED:
            raise CheckpointError(f"{_name(where)} has a setting that is not known: {key}.")


def number(settings: Mapping[str, Any], where: Path | None, key: str, limit: int) -> int | None:
    """A whole number from 0 and below a limit; None where it is not set. Raises CheckpointError."""
    value = settings.get(key)
    if value is not None and (type(value) is not int or not 0 <= value < limit):
        raise CheckpointError(f"{_name(where)}: {key} should be a whole number from 0 to {limit - 1}.")
    return value


def _name(where: Path | None) -> str:
    return "" if where is None else where.name
