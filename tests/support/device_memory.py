"""Take an NVIDIA GPU's memory away, by the driver's own library."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def filled(leave: int) -> Iterator[int]:
    """Hold all but ``leave`` bytes of the first GPU's free memory; yields how many are held."""
    driver = ctypes.CDLL("libcuda.so.1")

    def call(name: str, *arguments: object) -> None:
        code = getattr(driver, name)(*arguments)
        assert code == 0, f"{name}: CUDA driver error {code}"

    context, device = ctypes.c_void_p(), ctypes.c_int()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    address = ctypes.c_uint64()
    call("cuInit", 0)
    call("cuDeviceGet", ctypes.byref(device), 0)
    call("cuCtxCreate_v2", ctypes.byref(context), 0, device)
    try:
        call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        size = free.value - leave
        assert size > 0, f"only {free.value} bytes are free already"
        # Plain memory; freed with the context.
        call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        yield size
    finally:
        call("cuCtxDestroy_v2", context)
