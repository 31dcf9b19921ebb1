"""The path of a machine with a normal connection: every input from its first origin.

The verbs run as a person types them, in a clone whose first origins are on loopback.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import tomlkit

from tests.contract.checks.numbers import BARS
from tests.support.client import Client
from tests.support.containers import docker
from tests.support.first_origins import FirstOrigins
from tests.support.git_server import git
from tests.support.reference import Reference
from tests.support.scratch import Ran, Scratch
from tests.support.vectors import cosine
from tools.common.downloads import file_sha256
from tools.engine.docker import engine_platform
from tools.facts.images import load_images, local_name
from tools.facts.models import FROM_HUB, load_models

# One set of servers.
pytestmark = [pytest.mark.xdist_group("online"), pytest.mark.timeout(1800)]

IMAGES, MODELS = load_images(), load_models()
NANO = MODELS.models["nano"]


def succeeded(ran: Ran) -> None:
    """Nothing went wrong, and nothing had to take another's place."""
    assert ran.code == 0, ran.said
    assert ran.loud == [], ran.said


def from_first_origins(ran: Ran) -> None:
    """The inputs of an image came from where they come first."""
    succeeded(ran)
    assert f"llama.cpp is from origin {IMAGES.llama_cpp[0].name}" in ran.said, ran.said
    base = f"the base image for {engine_platform()} is from origin {IMAGES.base[0].name}"
    assert base in ran.said, ran.said


def test_the_demo(scratch: Scratch) -> None:
    ran = scratch.nox("demo", timeout=1500)
    from_first_origins(ran)
    assert f"{NANO.dims} dimensions, norms 1.0000 to 1.0000" in ran.said, ran.said


def test_up_serves_the_model_and_down_stops_it(scratch: Scratch) -> None:
    try:
        ran = scratch.nox("up", "nano", timeout=1500)
        from_first_origins(ran)
        assert f"nano answers at {scratch.url}/v1/embeddings" in ran.said
        with Client(scratch.url) as client:
            assert client.models() == ["jina-embeddings-v5-text-nano"]
            tokens = client.tokenize(f"{MODELS.query_prefix}why was my pod killed?")
            vector = client.embed([tokens])[0]
    finally:
        ended = scratch.nox("down")
    succeeded(ended)
    file = scratch.folder / "models" / NANO.files["Q8_0"].name
    assert cosine(vector, Reference(file).embed_tokens(tokens)) >= BARS["Q8_0"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{scratch.url}/health", trust_env=False)


def test_the_models_come_from_the_hub(
    scratch: Scratch, origins: FirstOrigins, tmp_path: Path
) -> None:
    ran = scratch.nox(
        "models", "nano", "small", JINA_MODELS_DIR=str(tmp_path), HF_TOKEN="hf_of_the_tests"
    )
    succeeded(ran)
    for name, model in MODELS.models.items():
        file = model.files[MODELS.default_quantisation].name
        assert file_sha256(tmp_path / file) == origins.facts.models[name][file].sha256
    assert origins.hub.api.tokens[-1] == "Bearer hf_of_the_tests"
    # The host that sends the files is another, and the token is not for it.
    assert set(origins.hub.cdn.tokens) == {None}


def test_the_pins_are_the_newest(scratch: Scratch, origins: FirstOrigins) -> None:
    ran = scratch.nox("pins", "--check", PIP_INDEX_URL=origins.index_url)
    succeeded(ran)
    assert "every pin is the newest" in ran.said


def test_a_hash_that_only_the_hub_knows_is_asked_for_and_pinned(
    scratch: Scratch, origins: FirstOrigins, tmp_path: Path
) -> None:
    path = scratch.folder / "models" / "models.toml"
    pinned = path.read_text()
    facts: Any = tomlkit.parse(pinned)
    file = facts["models"]["nano"]["files"]["F16"]
    file["bytes"] = file["sha256"] = FROM_HUB
    path.write_text(tomlkit.dumps(facts))
    try:
        succeeded(scratch.nox("models", "nano", "--quant", "F16", JINA_MODELS_DIR=str(tmp_path)))
        succeeded(scratch.nox("pins", PIP_INDEX_URL=origins.index_url))
        assert path.read_text() == pinned
    finally:
        path.write_text(pinned)
    found = origins.facts.models["nano"][NANO.files["F16"].name]
    assert file_sha256(tmp_path / NANO.files["F16"].name) == found.sha256


def test_publishing_has_a_plan(scratch: Scratch, tmp_path: Path) -> None:
    """What is published has first origins only, so there is a name for its commit.

    The image of the platform that is not this machine's is an empty one with the same labels.
    """
    from_first_origins(scratch.nox("build", "cpu", "--origin", "first-only", timeout=1500))
    image = IMAGES.images["cpu"]
    (other,) = set(image.platforms) - {engine_platform()}
    name = local_name(IMAGES, image).replace(IMAGES.repository, scratch.name)
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", name))
    lines = ["FROM scratch", "COPY Dockerfile /"]
    lines += [f"LABEL {json.dumps(key)}={json.dumps(value)}" for key, value in labels.items()]
    (tmp_path / "Dockerfile").write_text("\n".join(lines) + "\n")
    other_name = local_name(IMAGES, image, other).replace(IMAGES.repository, scratch.name)
    options = ["--provenance=false", "--load", "--platform", other, "--tag", other_name]
    docker("buildx", "build", *options, str(tmp_path))

    assert git(scratch.folder, "status", "--porcelain") == ""
    ran = scratch.nox(
        "publish", "cpu", "--dry-run", JINA_REPOSITORY="ghcr.io/somebody/jina-embeddings-v5"
    )
    succeeded(ran)
    for tag in (f"0.0.0-dev.{scratch.commit[:12]}-cpu", f"sha-{scratch.commit}-cpu"):
        assert tag in ran.said, ran.said
