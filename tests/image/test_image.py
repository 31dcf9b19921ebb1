"""The image itself: what is in it, who it runs as, and that its labels tell the truth."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.containers import composed, is_bare, is_cuda
from tools.bench.peers.known import PEERS, ImagePeer
from tools.engine.docker import run_docker
from tools.facts.images import CudaImages, load_images
from tools.facts.models import load_models
from tools.facts.paths import COMPOSE_FILE, CUDA_COMPOSE_FILE
from tools.images.labels import (
    CUDA_LICENCE,
    LABEL_PREFIX,
    NO_PATCHES,
    PATCHES_LABEL,
    TOOLCHAIN_LABEL,
    short_commit,
)
from tools.images.recipe import patch_names

OCI = "org.opencontainers.image"


def shell(image: str, script: str, *options: str) -> str:
    """Run a script in a container of the image, as its own user, and return what it printed."""
    run = ["run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", *options]
    result = run_docker([*run, image, "-euc", script], timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout


def serve(image: str, *arguments: str) -> tuple[int, str]:
    """Run the image with arguments until it ends by itself; its exit code and all it printed."""
    result = run_docker(["run", "--rm", "--network", "none", image, *arguments], timeout=60)
    return result.returncode, result.stdout + result.stderr


@pytest.fixture(scope="module")
def config(image: str) -> dict[str, Any]:
    inspected = run_docker(["image", "inspect", image], timeout=30)
    return dict(json.loads(inspected.stdout)[0]["Config"])


@pytest.fixture(scope="module")
def labels(config: dict[str, Any]) -> dict[str, str]:
    return dict(config["Labels"])


def test_commit_is_the_same_in_label_binary_and_catalogue(
    image: str, labels: dict[str, str]
) -> None:
    origins = {origin.name: origin for origin in load_images().llama_cpp}
    origin = origins[labels[f"{LABEL_PREFIX}.llama-cpp.origin"]]
    _, version = serve(image, "--version")
    assert labels[f"{LABEL_PREFIX}.llama-cpp.commit"] == origin.commit
    assert labels[f"{LABEL_PREFIX}.llama-cpp.repository"] == origin.repository
    assert re.search(rf"\b{short_commit(origin)}\b", version), version


def test_labels_name_source_revision_version_and_licences(
    image: str, labels: dict[str, str]
) -> None:
    images = load_images()
    # Where the checkout has no remote on the web, there is none.
    assert labels.get(f"{OCI}.source", "https://").startswith("https://")
    licences = [images.licence, "MIT", *([CUDA_LICENCE] if is_cuda(image) else [])]
    assert labels[f"{OCI}.licenses"] == " AND ".join(licences)
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels[f"{OCI}.revision"])
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", labels[f"{OCI}.version"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", labels[f"{OCI}.created"])


def test_labels_name_the_compiler_that_the_server_names(image: str, labels: dict[str, str]) -> None:
    _, version = serve(image, "--version")
    name, number = labels[TOOLCHAIN_LABEL].split()
    assert name == "gcc"
    assert re.search(rf"built with .*\b{re.escape(number)}\b", version), version


def test_labels_name_the_base_and_its_origin(labels: dict[str, str]) -> None:
    images = load_images()
    names = {origin.name for origin in images.base}
    names |= {each.runtime.name for each in images.cuda if isinstance(each, CudaImages)}
    assert labels[f"{LABEL_PREFIX}.base.origin"] in names
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", labels[f"{OCI}.base.digest"])


def test_labels_list_the_patches(image: str, labels: dict[str, str]) -> None:
    listed = labels[PATCHES_LABEL]
    assert listed == (NO_PATCHES if is_bare(image) else ",".join(patch_names()))


def test_runs_as_a_numeric_user_that_is_not_root(image: str, config: dict[str, Any]) -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"])
    assert shell(image, "id -u").strip() == config["User"].partition(":")[0]


def test_app_belongs_to_root_and_cannot_be_written(image: str) -> None:
    listing = shell(image, "stat -c '%u:%g %A %n' /app /app/*")
    for line in listing.splitlines():
        owner, mode, name = line.split(" ", 2)
        assert owner == "0:0", line
        assert mode.startswith("l") or "w" not in mode[4:], line
        assert name.startswith("/app")
    refused = run_docker(
        ["run", "--rm", "--entrypoint", "/bin/sh", image, "-c", "touch /app/x"], timeout=60
    )
    assert refused.returncode != 0


def test_carries_nothing_that_serving_does_not_need(image: str) -> None:
    tools = "gcc g++ cc cmake ninja ccache curl wget python3 git make"
    script = f"for tool in {tools}; do command -v $tool || true; done"
    assert shell(image, script).split() == []
    caches = "find /var/lib/apt/lists /var/cache/apt -type f ! -name lock"
    assert shell(image, caches, "--user", "0").split() == []


def test_every_library_is_found(image: str) -> None:
    output = shell(image, "for f in /app/llama-server /app/*.so; do ldd $f; done")
    missing = set(re.findall(r"(\S+) => not found", output))
    # The driver's library comes into the container together with the GPU.
    assert missing == ({"libcuda.so.1"} if is_cuda(image) else set())


def test_only_a_cuda_image_carries_cuda(image: str, config: dict[str, Any]) -> None:
    # As root, from whom no folder is hidden.
    script = "find / -xdev '(' -name 'libcu*' -o -name 'libggml-cuda*' ')' -type f"
    libraries = shell(image, script, "--user", "0")
    variables = [entry for entry in config["Env"] if re.match("NV|CUDA|JINA_REQUIRE_GPU", entry)]
    if is_cuda(image):
        assert "/app/libggml-cuda.so" in libraries.split()
        # As in NVIDIA's own images; their container toolkit reads them. The driver that is asked
        # for is any of CUDA 12, which docs/serve/gpu.md promises as 525 or newer.
        assert {
            "NVIDIA_VISIBLE_DEVICES=all",
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
            "NVIDIA_REQUIRE_CUDA=cuda>=12.0",
            "JINA_REQUIRE_GPU=0",
        } <= set(variables)
    else:
        assert libraries.split() == []
        assert variables == []


def test_environment_holds_no_secrets(config: dict[str, Any]) -> None:
    names = [entry.partition("=")[0] for entry in config["Env"]]
    assert [n for n in names if re.search(r"KEY|TOKEN|SECRET|PASS|PROXY", n, re.I)] == []


def test_clock_is_utc(image: str) -> None:
    assert shell(image, "date +%Z").strip() == "UTC"


def test_no_weights_are_shipped(image: str) -> None:
    assert shell(image, "find / -xdev -name '*.gguf' 2>/dev/null || true").split() == []


def test_arguments_reach_the_server(image: str) -> None:
    code, output = serve(image, "--help")
    assert code == 0
    assert "--embedding" in output


def test_without_a_model_it_ends_and_names_the_file(image: str) -> None:
    code, output = serve(image)
    assert code not in (0, 124)
    assert "/models/model.gguf" in output


def test_a_variable_overrides_what_the_image_sets(image: str) -> None:
    result = run_docker(
        ["run", "--rm", "--network", "none", "--env", "LLAMA_ARG_MODEL=/elsewhere.gguf", image],
        timeout=60,
    )
    assert result.returncode != 0
    assert "/elsewhere.gguf" in result.stdout + result.stderr


def test_every_variable_the_image_sets_is_one_the_server_knows(
    image: str, config: dict[str, Any]
) -> None:
    names = {entry.partition("=")[0] for entry in config["Env"]} - {"PATH"}
    if is_cuda(image):  # what NVIDIA's images set is for its container toolkit and the linker
        names = {
            name for name in names if not re.match("NV|CUDA|LD_LIBRARY_PATH|LIBRARY_PATH", name)
        }
    assert names
    assert unread(image, names) == set()


def test_every_variable_that_peers_of_the_benchmark_set_is_one_the_server_knows(image: str) -> None:
    """Whatever it does not know it ignores, as it did the first setup's batches."""
    peers = [peer for peer in PEERS.values() if isinstance(peer, ImagePeer)]
    names = {name for peer in peers for each in peer.settings.values() for name in each}
    assert "LLAMA_ARG_UBATCH" in names
    assert unread(image, names) == set()
    assert unread(image, {"LLAMA_ARG_UBATCH_SIZE"}) == {"LLAMA_ARG_UBATCH_SIZE"}


def unread(image: str, names: set[str]) -> set[str]:
    """Those of the variables that the shipped server does not read.

    Its own help lists llama.cpp's. Those of our patches and of OpenMP stand in the binaries; built
    without patches it has none of ours, and ignores them.
    """
    _, text = serve(image, "--help")
    files = "/app/llama-server /app/*.so $(find /usr/lib -name 'libgomp.so.*')"
    found = shell(image, f"grep -aohE '(JINA|GOMP|LLAMA_ARG)_[A-Z_]+' {files} || true").split()
    unknown = names - set(re.findall(r"\bLLAMA_[A-Z0-9_]+\b", text)) - set(found)
    ours = ("JINA_", "LLAMA_ARG_API_KEY_FILE")
    return {name for name in unknown if not (name.startswith(ours) and is_bare(image))}


def test_every_variable_that_compose_sets_is_one_the_server_knows(image: str) -> None:
    for model in load_models().models:
        service = composed(model, COMPOSE_FILE, CUDA_COMPOSE_FILE)
        names = set(service["environment"])
        assert "LLAMA_ARG_N_GPU_LAYERS" in names
        assert unread(image, names) == set(), model
