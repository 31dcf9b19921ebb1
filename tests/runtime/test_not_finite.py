"""Weights that are broken give no vectors, and the server says so from then on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.boots import MODELS, each_model, plain, tiny
from tests.support.broken_weights import with_weight
from tests.support.client import describe
from tests.support.containers import inspect, logs, with_model
from tests.support.crowds import get, post
from tools.engine.docker import run_docker


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=["nan", "infinity"])
@pytest.mark.parametrize(
    "fields",
    [{}, {"encoding_format": "base64"}, {"dimensions": 64}, {"embd_normalize": -1}],
    ids=["float", "base64", "dimensions", "as it is"],
)
@each_model
def test_what_is_not_finite_is_not_answered(
    patched: str, model: str, value: float, fields: dict[str, Any], tmp_path: Path
) -> None:
    file = with_weight(tiny(MODELS[model]), tmp_path, value)
    with plain(patched, options=with_model(file)) as server:
        assert get(server.base_url, "/ready").status_code == 200
        for _ in range(2):
            response = post(server.base_url, input=["a text", "another"], **fields)
            assert response.status_code == 500, describe(response)
            message = response.json()["error"]["message"]
            assert "finite" in message, message
            assert "file" in message, message
        ready = get(server.base_url, "/ready")
        assert ready.status_code == 503, describe(ready)
        assert ready.json()["error"]["message"]
        assert get(server.base_url, "/health").status_code == 200
        with server.client() as client:
            assert client.samples().total("jina_ready") == 0
        check = run_docker(["exec", server.container, "/app/healthcheck"], timeout=30)
        assert check.returncode != 0
        assert "finite" in logs(server.container)
        assert inspect(server.container)["State"]["Running"]
