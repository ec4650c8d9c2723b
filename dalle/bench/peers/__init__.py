"""Other programs that can draw such tokens; each is optional, and named as absent where it is not installed."""

from dalle.bench.contender import Entry
from dalle.bench.peers import dalle_pytorch, gpt2, openvino

PEERS: tuple[Entry, ...] = (*openvino.ENTRIES, *gpt2.ENTRIES, *dalle_pytorch.ENTRIES)
