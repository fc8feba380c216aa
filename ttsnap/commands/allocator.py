"""How this process gives memory back."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
MOST_TRIM, MOST_MMAP = 2**31 - 1, 32 << 20  # the largest that glibc takes


def keep_freed_memory() -> None:
    """Let glibc keep what tensors on the CPU free, instead of having the system clear new pages for each.

    Only the way of it: the largest use of memory stays the same. Nothing happens where there is no glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MOST_MMAP)
        mallopt(M_TRIM_THRESHOLD, MOST_TRIM)
