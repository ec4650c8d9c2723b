"""The allocator keeps what training frees."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from dalle.train import heap
if sys.argv[1] == "held":
    heap.hold()
faults = [0]
for _ in range(16):
    torch.ones(1 << 25)  # 128 MiB
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[-5])  # glibc takes a while until such blocks fit into one another
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have no such switch")
def test_memory_that_was_freed_is_used_again_and_not_cleared_page_by_page():
    usual, held = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("usual", "held")
    )
    assert held < usual / 10
