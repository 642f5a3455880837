"""Memory that a training step frees is kept for the next one."""

from __future__ import annotations

import ctypes

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_MOST_KEPT = 2**30  # bytes at the end of the heap


def keep_freed_memory() -> None:
    """Have the C library keep large arrays that are freed, up to 1 GiB, for those that follow.

    glibc gives them back to the kernel, so that each training step takes hundreds of megabytes
    anew, which come page by page and zeroed: dear on virtual machines above all. For the whole
    process. Other C libraries are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS; Windows
        return
    mallopt(_M_MMAP_MAX, 0)  # from the heap, whatever the size: pages of mmap are never kept
    mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
