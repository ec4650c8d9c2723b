"""The transformer's step in compiled code, several times as fast as PyTorch's on a CPU.

It needs a C++ compiler once per machine; without one, or for a net that it does not know, all goes on as before.
The environment variable `DALLE_NATIVE=0` turns it off; so it does with the step that a GPU records.
"""

from dalle.native.accelerator import Accelerator
from dalle.native.decoder import NativeDecoder, supports

__all__ = ["Accelerator", "NativeDecoder", "supports"]
