"""The image itself: what is in it, who it runs as, and that its labels tell the truth."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.containers import is_bare
from tools.build import patch_names
from tools.catalog import load_images, load_models
from tools.docker_client import run_docker
from tools.tags import LABEL_PREFIX, NO_PATCHES, PATCHES_LABEL, short_commit

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


def test_labels_name_source_revision_version_and_licences(labels: dict[str, str]) -> None:
    images = load_images()
    assert labels[f"{OCI}.source"] == images.source
    assert labels[f"{OCI}.licenses"] == f"{images.licence} AND MIT"
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels[f"{OCI}.revision"])
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", labels[f"{OCI}.version"])


def test_labels_name_the_base_and_its_origin(labels: dict[str, str]) -> None:
    names = {origin.name for origin in load_images().base}
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
    assert "not found" not in output


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
    assert names
    assert unread(image, names) == set()


def unread(image: str, names: set[str]) -> set[str]:
    """Those of the variables that the shipped server does not read.

    Its own help lists llama.cpp's. Those of our patches stand in its binaries; built without
    patches it has none of them, and ignores them.
    """
    _, text = serve(image, "--help")
    ours = shell(image, "grep -aohE 'JINA_[A-Z_]+' /app/llama-server /app/*.so || true").split()
    unknown = names - set(re.findall(r"\bLLAMA_[A-Z0-9_]+\b", text)) - set(ours)
    return {name for name in unknown if not (name.startswith("JINA_") and is_bare(image))}


def test_every_variable_that_compose_sets_is_one_the_server_knows(image: str) -> None:
    for model in load_models().models:
        rendered = run_docker(
            [
                "compose",
                "-f",
                "compose/compose.yaml",
                "--profile",
                model,
                "config",
                "--format",
                "json",
            ],
            timeout=60,
        )
        assert rendered.returncode == 0, rendered.stderr
        names = set(json.loads(rendered.stdout)["services"][model]["environment"])
        assert names
        assert unread(image, names) == set(), model
