"""Reading nvidia-smi and llama-server's log.

CPU_LOG was recorded from llama-server booted natively on a machine without a GPU (small's profile
on tiny weights; the lines about devices and buffers, the folder shortened). No GPU was at hand when
the others were written: GPU_LOG puts numbers into the format strings of the pinned llama.cpp
(src/llama.cpp, src/llama-model.cpp, src/llama-kv-cache.cpp, src/llama-context.cpp and
ggml/src/ggml-cuda/ggml-cuda.cu), and the tables follow the form that nvidia-smi documents for
--format=csv,noheader,nounits.
"""

from __future__ import annotations

import pytest

from tests.support.runtimes import compiled_for
from tools.common.errors import ToolError
from tools.images.cuda import cmake_flag
from tools.native.gpu import (
    Device,
    mib_on_devices,
    parse_devices,
    parse_log,
    parse_processes,
    read_devices,
)

MIB = 2**20

CPU_LOG = """\
0.00.191.026 I load_backend: loaded CPU backend from /app/libggml-cpu-haswell.so
0.00.191.157 I cmn  common_param: device_info:
0.00.191.172 I cmn  common_param:   - CPU     : AMD EPYC (24105 MiB, 24105 MiB free)
0.00.214.613 I cmn  common_init_: fitting params to device memory ...
0.00.261.231 I load_tensors:   CPU_Mapped model buffer size =     6.90 MiB
0.00.262.251 I llama_context:        CPU  output buffer size =     0.19 MiB
0.00.263.882 I llama_kv_cache:        CPU KV buffer size =    64.50 MiB
0.00.734.313 I sched_reserve:        CPU compute buffer size =    40.76 MiB
0.02.640.425 I srv  llama_server: listening on http://127.0.0.1:36373
"""

GPU_LOG = """\
ggml_cuda_init: found 1 CUDA devices (Total VRAM: 81079 MiB):
  Device 0: NVIDIA H100 80GB HBM3, compute capability 9.0, VMM: yes, VRAM: 81079 MiB
load_backend: loaded CUDA backend from /app/libggml-cuda.so
llama_prepare_model_devices: using device CUDA0 (NVIDIA H100 80GB HBM3) (0000:19:00.0) - 80559 MiB free
load_tensors: offloading output layer to GPU
load_tensors: offloading 27 repeating layers to GPU
load_tensors: offloaded 29/29 layers to GPU
load_tensors:   CPU_Mapped model buffer size =   157.36 MiB
load_tensors:        CUDA0 model buffer size =   446.09 MiB
llama_kv_cache:      CUDA0 KV buffer size =  3612.00 MiB
sched_reserve:      CUDA0 compute buffer size =   298.75 MiB
sched_reserve:  CUDA_Host compute buffer size =    71.01 MiB
"""  # noqa: E501


def test_a_log_without_a_gpu_shows_none() -> None:
    found = parse_log(CPU_LOG)
    assert found.devices == ()
    assert found.offloaded is found.layers is None
    assert found.model_mib == {"CPU_Mapped": 6.9}
    assert found.kv_mib == {"CPU": 64.5}
    assert found.compute_mib == {"CPU": 40.76}


def test_a_log_of_a_gpu_is_read() -> None:
    found = parse_log(GPU_LOG)
    assert found.devices == ("CUDA0",)
    assert (found.offloaded, found.layers) == (29, 29)
    assert found.model_mib == {"CPU_Mapped": 157.36, "CUDA0": 446.09}
    assert found.kv_mib == {"CUDA0": 3612.0}
    assert found.compute_mib == {"CUDA0": 298.75, "CUDA_Host": 71.01}


def test_only_what_is_on_a_device_counts_as_there() -> None:
    found = parse_log(GPU_LOG)
    assert mib_on_devices(found.model_mib) == 446.09
    assert mib_on_devices(found.compute_mib) == 298.75
    assert mib_on_devices({"CUDA0": 1.0, "CUDA1": 2.0, "CUDA_Host": 4.0, "CPU": 8.0}) == 3.0
    assert mib_on_devices(parse_log(CPU_LOG).model_mib) == 0


def test_a_native_builds_flags_say_what_it_has_code_for() -> None:
    flag = cmake_flag([75, 80, 90, 120])
    assert compiled_for(f"-DGGML_CUDA=ON {flag} -DLLAMA=1") == {75, 80, 90, 120}
    assert compiled_for(cmake_flag([90])) == {90}


def test_a_partial_offload_is_seen() -> None:
    found = parse_log(GPU_LOG.replace("offloaded 29/29", "offloaded 12/29"))
    assert (found.offloaded, found.layers) == (12, 29)


def test_several_buffers_on_one_device_are_added_up() -> None:
    line = "load_tensors:        CUDA0 model buffer size =   100.50 MiB\n"
    assert parse_log(line * 2).model_mib == {"CUDA0": 201.0}


H100 = "GPU-5a1c, NVIDIA H100 80GB HBM3, 570.86.15, 9.0, 81559, 4\n"


def test_a_device_is_read() -> None:
    assert parse_devices(H100) == [
        Device("GPU-5a1c", "NVIDIA H100 80GB HBM3", "570.86.15", "9.0", 81559 * MIB, 4 * MIB)
    ]


def test_several_devices_are_read_in_order() -> None:
    assert [each.uuid for each in parse_devices(H100 + H100.replace("5a1c", "6b2d"))] == [
        "GPU-5a1c",
        "GPU-6b2d",
    ]


def test_a_process_on_two_devices_is_added_up() -> None:
    assert parse_processes("4711, 512\n4712, 100\n4711, 8\n") == {
        4711: 520 * MIB,
        4712: 100 * MIB,
    }


@pytest.mark.parametrize(
    "listing", ["", "\n", "4711, [N/A]\n", "4711, [Not Supported]\n", "No running processes found"]
)
def test_a_size_that_is_not_told_is_left_out(listing: str) -> None:
    assert parse_processes(listing) == {}


def test_a_line_of_another_form_is_an_error() -> None:
    with pytest.raises(ToolError, match="not understood: NVIDIA-SMI has failed"):
        parse_devices("NVIDIA-SMI has failed\n")


def test_a_machine_without_a_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ToolError, match="no NVIDIA driver"):
        read_devices()
