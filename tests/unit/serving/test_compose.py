"""compose.yaml cannot read the catalogue, so it is held to it here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.facts.images import load_images, local_name
from tools.facts.models import Model, load_models
from tools.facts.paths import COMPOSE_FILE, CUDA_COMPOSE_FILE, ROOT
from tools.images.recipe import comma_list
from tools.serving.profile import PROJECT

MODELS = load_models()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
CUDA: dict[str, Any] = yaml.safe_load(CUDA_COMPOSE_FILE.read_text())


def default(value: object) -> str:
    """What a compose value is where no variable is set."""
    return re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", str(value))


@pytest.fixture(params=sorted(MODELS.models))
def model(request: pytest.FixtureRequest) -> Model:
    return MODELS.models[request.param]


def test_there_is_one_service_and_profile_a_model() -> None:
    assert set(COMPOSE["services"]) == set(MODELS.models)
    for name, service in COMPOSE["services"].items():
        assert service["profiles"] == [name]


def test_project_and_image_are_the_ones_that_the_tools_use() -> None:
    images = load_images()
    assert COMPOSE["name"] == PROJECT
    assert default(COMPOSE["x-server"]["image"]) == local_name(images, images.images["cpu"])


def test_settings_are_those_of_the_catalogue(model: Model) -> None:
    environment = COMPOSE["services"][model.name]["environment"]
    assert int(default(environment["LLAMA_ARG_CTX_SIZE"])) == model.serve.ctx_size
    assert int(default(environment["LLAMA_ARG_BATCH"])) == model.serve.batch
    assert int(default(environment["LLAMA_ARG_UBATCH"])) == model.serve.ubatch
    assert int(default(environment["LLAMA_ARG_N_PARALLEL"])) == model.serve.parallel
    limit = default(COMPOSE["services"][model.name]["mem_limit"])
    assert limit == f"{model.serve.memory_bytes // 2**20}m"


def test_small_serves_its_whole_context_and_no_more(model: Model) -> None:
    """llama-server serves a causal model one token less than the context length that it reads."""
    command = COMPOSE["services"][model.name].get("command", [])
    key = f"{model.shape.architecture}.context_length"
    assert command == (
        ["--override-kv", f"{key}=int:{model.context + 1}"] if model.shape.causal else []
    )


def test_prefixes_and_sizes_are_those_of_the_catalogue(model: Model) -> None:
    environment = COMPOSE["services"][model.name]["environment"]
    assert environment["JINA_QUERY_PREFIX"] == MODELS.query_prefix
    assert environment["JINA_DOCUMENT_PREFIX"] == MODELS.document_prefix
    assert environment["JINA_MATRYOSHKA"] == comma_list(model.matryoshka)


def test_default_model_file_is_the_default_quantisation(model: Model) -> None:
    environment = COMPOSE["services"][model.name]["environment"]
    file = model.files[MODELS.default_quantisation]
    assert default(environment["LLAMA_ARG_MODEL"]) == f"/models/{file.name}"


def test_the_gpu_override_says_only_what_is_different_on_a_gpu(model: Model) -> None:
    images = load_images()
    assert set(CUDA["services"]) == set(MODELS.models)
    service = CUDA["services"][model.name]
    assert set(service) == {"image", "deploy", "mem_limit", "environment"}
    assert default(service["image"]) == local_name(images, images.images["cuda"])
    assert service["environment"] == {"LLAMA_ARG_N_GPU_LAYERS": "999", "JINA_REQUIRE_GPU": "1"}
    limit = f"{model.serve.gpu_memory_bytes // 2**20}m"
    assert service["mem_limit"] == f"${{JINA_{model.name.upper()}_MEMORY:-{limit}}}"


@pytest.mark.parametrize("path", [COMPOSE_FILE, CUDA_COMPOSE_FILE], ids=lambda path: path.stem)
def test_the_settings_name_every_variable_with_its_default(path: Path) -> None:
    text = path.read_text()
    table = (ROOT / "docs" / "operate" / "settings.md").read_text()
    for name, value in set(re.findall(r"\$\{(\w+):?-([^}]*)\}", text)):
        row = next((line for line in table.splitlines() if line.startswith(f"| `{name}`")), None)
        assert row, f"settings.md has no row for {name}"
        assert f"`{value}`" in row, f"settings.md gives another default for {name} than {value}"
