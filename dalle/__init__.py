"""A DALL·E that fits in a browser tab: a discrete VAE, one transformer over text and image tokens, and CLIP ranking.

import dalle
studio = dalle.load("emoji")
for update in studio.generate(dalle.Request("a red bird", samples=8)):
    ...
"""

from typing import TYPE_CHECKING, Any

from dalle.contracts import Candidate, Request, SamplingOptions, Update
from dalle.errors import DalleError

if TYPE_CHECKING:
    from dalle.engine import Studio

__all__ = ["Candidate", "DalleError", "Request", "SamplingOptions", "Studio", "Update", "load"]
__version__ = "0.1.0"


def load(model: str = "emoji", device: str = "auto", dtype: str = "float32") -> "Studio":
    """A `Studio` that draws with a registered model, or with that in a file or directory. Raises ModelError."""
    from dalle.engine import Studio  # torch takes seconds to import: not before it is needed

    return Studio.load(model, device, dtype)


def __getattr__(name: str) -> Any:
    if name == "Studio":
        from dalle.engine import Studio

        return Studio
    raise AttributeError(f"module 'dalle' has no attribute {name!r}")
