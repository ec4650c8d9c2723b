"""Other programs that can draw such tokens; each is optional, and named as absent where it is not installed.

    pip install openvino transformers
    pip install einops axial-positional-embedding rotary-embedding-torch g-mlp-pytorch
    pip install --no-deps dalle-pytorch

The last of these asks for packages that no longer install; what it draws with does not need them.
"""

from dalle.bench.contender import Entry
from dalle.bench.peers import dalle_pytorch, gpt2, openvino

PEERS: tuple[Entry, ...] = (*openvino.ENTRIES, *gpt2.ENTRIES, *dalle_pytorch.ENTRIES)
