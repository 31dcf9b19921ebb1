"""The memory limit of a profile survives one request of the model's full context.

On weights of the true shape, so on two cores it takes about a minute for nano and ten for small, or
more: `nox -s test -- -m slow tests/runtime/test_memory.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from tests.contract.checks.inputs import token_array
from tests.support.client import Client
from tests.support.containers import docker, inspect
from tools.catalog import Model, load_models
from tools.fetch import models_dir
from tools.stack import booted
from tools.synthetic import ensure_synthetic

#: Seconds for one request of 32768 tokens through 28 layers on two slow cores, with a margin.
LONGEST_REQUEST = 7200.0


@pytest.mark.slow
@pytest.mark.timeout(LONGEST_REQUEST)
@pytest.mark.parametrize("model", load_models().models.values(), ids=lambda model: model.name)
def test_memory_limit_survives_a_full_context(
    model: Model, image: str, record_property: Callable[[str, object], None]
) -> None:
    file = ensure_synthetic(models_dir(), model, "full", "Q8_0")
    with booted(model, file, image=image, synthetic=True) as running:
        with Client(running.base_url, timeout=LONGEST_REQUEST) as client:
            vector = client.embed([token_array(client, model.context)])[0]
            # The next request must find the same process well.
            client.embed(["hello"])
        status = docker("exec", running.container_id, "cat", "/proc/1/status")
        state = inspect(running.container_id)
    assert vector.shape == (model.dims,)
    assert np.isfinite(vector).all()
    assert not state["State"]["OOMKilled"]
    assert state["RestartCount"] == 0
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak
    record_property("peak_resident_mb", int(peak.group(1)) // 1024)
    print(f"\n{model.name}: peak resident {int(peak.group(1)) / 1e6:.2f} GB")
