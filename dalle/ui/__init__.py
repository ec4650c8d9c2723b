"""The page in the browser: one file per panel, and no torch in any of them."""

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before Gradio is imported; no request leaves the machine

from dalle.ui.page import build
from dalle.ui.studios import Studios

__all__ = ["Studios", "build"]
