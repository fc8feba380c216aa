"""When this process gives memory back to the system."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
MOST_TRIM, MOST_MMAP = 2**31 - 1, 32 << 20  # the largest that glibc takes


def keep_freed_memory() -> None:
    """Let glibc keep the memory that CPU tensors free, so that the system need not clear new pages for the next.

    The largest use of memory stays the same. Without glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MOST_MMAP)
        mallopt(M_TRIM_THRESHOLD, MOST_TRIM)
