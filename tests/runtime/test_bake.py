"""Images with a model inside: they serve by themselves what the compose profile serves."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract.checks.inputs import token_array
from tests.contract.checks.numbers import BARS, reference
from tests.support.client import Client
from tests.support.containers import base_url, docker, started, wait_for_health
from tests.support.vectors import cosine
from tests.unit.serving.test_compose import COMPOSE, default
from tools.engine.docker import run_docker
from tools.facts.models import Model, load_models
from tools.images.labels import LABEL_PREFIX
from tools.serving.bake import SERVER, bake, baked_name, model_labels, model_service, recipe
from tools.weights.hub import models_dir
from tools.weights.synthetic import ensure_synthetic

MODELS = load_models()


@dataclass(frozen=True)
class Baked:
    model: Model
    file: Path
    image: str


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in MODELS.models],
)
def baked(request: pytest.FixtureRequest, image: str) -> Iterator[Baked]:
    """The image under test with synthetic weights inside, under a name of its own."""
    model = MODELS.models[request.param]
    file = ensure_synthetic(models_dir(), model, "tiny", "Q8_0")
    name = f"{baked_name(model, synthetic=True)}-{secrets.token_hex(4)}"
    bake(MODELS, model, file, image, name, synthetic=True)
    try:
        yield Baked(model, file, name)
    finally:
        run_docker(["image", "rm", "--force", name], timeout=60)


def config(image: str) -> dict[str, Any]:
    return dict(json.loads(docker("image", "inspect", image))[0]["Config"])


def test_settings_are_those_of_the_compose_profile(baked: Baked) -> None:
    service = COMPOSE["services"][baked.model.name]
    expected = {key: default(value) for key, value in service["environment"].items() if value}
    expected["LLAMA_ARG_MODEL"] = f"/models/{baked.file.name}"
    expected["LLAMA_ARG_ALIAS"] += "-synthetic"
    found = config(baked.image)
    environment = dict(entry.split("=", 1) for entry in found["Env"])
    assert {key: environment.get(key) for key in expected} == expected
    assert found["Entrypoint"] == [*SERVER, *service.get("command", [])]
    assert not found["Cmd"]


def test_it_serves_without_a_volume(baked: Baked) -> None:
    with started(baked.image, options=["--read-only"]) as container:
        wait_for_health(container, "healthy")
        with Client(base_url(container)) as client:
            assert client.models() == [f"jina-embeddings-v5-text-{baked.model.name}-synthetic"]
            tokens = token_array(client, 64)
            expected = reference(baked.file).embed_tokens(tokens)
            assert cosine(client.embed([tokens])[0], expected) >= BARS["Q8_0"]


def test_it_is_healthy_without_a_network(baked: Baked) -> None:
    container = docker("run", "--detach", "--network", "none", baked.image)
    try:
        wait_for_health(container, "healthy")
    finally:
        run_docker(["rm", "--force", container], timeout=60)


def test_arguments_are_added_to_the_models_own(baked: Baked) -> None:
    with started(baked.image, arguments=["--alias", "by-argument"]) as container:
        wait_for_health(container, "healthy")
        with Client(base_url(container)) as client:
            assert client.models() == ["by-argument"]
        arguments = json.loads(docker("inspect", "--format", "{{json .Args}}", container))
    own = COMPOSE["services"][baked.model.name].get("command", [])
    assert arguments == [*own, "--alias", "by-argument"]


def test_labels_say_what_is_inside(baked: Baked) -> None:
    labels = config(baked.image)["Labels"]
    assert labels[f"{LABEL_PREFIX}.model"] == baked.model.name
    assert labels[f"{LABEL_PREFIX}.model.revision"] == "synthetic"
    assert "CC-BY-NC" not in labels["org.opencontainers.image.licenses"]
    assert f"{LABEL_PREFIX}.llama-cpp.commit" in labels


def test_labels_of_real_weights_name_revision_and_licence() -> None:
    nano = MODELS.models["nano"]
    labels = model_labels(MODELS, nano, Path(nano.files["Q8_0"].name), synthetic=False)
    assert labels[f"{LABEL_PREFIX}.model.revision"] == nano.revision
    assert labels[f"{LABEL_PREFIX}.model.licence"] == "CC-BY-NC-4.0"
    assert labels["org.opencontainers.image.licenses"].endswith("AND CC-BY-NC-4.0")


def test_no_setting_of_a_person_gets_into_the_image(
    engine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_API_KEY", "my-secret")
    monkeypatch.setenv("JINA_PARALLEL", "3")
    nano = MODELS.models["nano"]
    service = model_service(nano, Path("/anywhere/weights.gguf"), synthetic=False)
    text = recipe(service, Path("weights.gguf"))
    assert "LLAMA_API_KEY" not in text
    assert f'LLAMA_ARG_N_PARALLEL="{nano.serve.parallel}"' in text
    assert 'LLAMA_ARG_MODEL="/models/weights.gguf"' in text
