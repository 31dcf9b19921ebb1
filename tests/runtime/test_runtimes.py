"""What the GPU checks read of a container, seen on the CPU."""

from __future__ import annotations

import re

from tests.support.containers import docker, inspect, memory_peak
from tests.support.runtimes import CPU_ONLY, TALKATIVE, Runtime
from tools.facts.models import load_models
from tools.native.gpu import mib_on_devices, parse_log
from tools.weights.hub import models_dir
from tools.weights.synthetic import ensure_synthetic


def test_memory_and_log_of_a_container_are_read(image: str) -> None:
    model = load_models().models["nano"]
    file = ensure_synthetic(models_dir(), model, "tiny", "Q8_0")
    settings = {**TALKATIVE, **CPU_ONLY}
    with Runtime("cpu", image).boot(model, file, gpu=False, settings=settings) as server:
        assert server.container is not None
        limit = inspect(server.container)["HostConfig"]["Memory"]
        said = parse_log(server.log())
        status = docker("exec", server.container, "cat", "/proc/1/status")
        resident = re.search(r"RssAnon:\s+(\d+) kB", status)
        assert resident
        assert int(resident.group(1)) * 1024 <= memory_peak(server.container) <= limit
    assert said.model_mib
    assert mib_on_devices(said.model_mib) == 0
