"""The fact files load, and a fault in either is refused with its file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.origins import first_of
from tools.common.errors import ToolError
from tools.facts.images import FROM_REGISTRY, GitOrigin, ImageOrigin, SdistOrigin, load_images
from tools.facts.models import FROM_HUB, OTHER_TASKS, RETRIEVAL, load_models
from tools.facts.paths import IMAGES_FILE, MODELS_FILE

IMAGES, MODELS = load_images(), load_models()
FORK = first_of(GitOrigin, IMAGES.llama_cpp)
SDIST = first_of(SdistOrigin, IMAGES.llama_cpp)
BASE = first_of(ImageOrigin, IMAGES.base)
WATCHER = IMAGES.monitoring[0]
NANO = MODELS.models["nano"]
Q8_0 = NANO.files["Q8_0"]
VARIANT = NANO.for_task("text-matching")


def changed(tmp_path: Path, original: Path, old: str, new: str) -> Path:
    """A copy of a fact file with the first ``old`` replaced."""
    text = original.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / original.name
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_every_model_has_its_default_quantisation_with_a_known_hash() -> None:
    models = load_models()
    for model in models.models.values():
        file = model.files[models.default_quantisation]
        assert file.sha256 != FROM_HUB
        assert file.bytes


def test_every_model_has_a_variant_for_each_other_task() -> None:
    for model in MODELS.models.values():
        assert tuple(model.variants) == OTHER_TASKS
        for task, variant in model.variants.items():
            assert variant == model.for_task(task)
            assert variant.served_as == f"{model.served_as}-{task}"
            assert task in variant.repository
            assert task in variant.files[MODELS.default_quantisation].name
            assert variant.shape == model.shape
        assert model.for_task(RETRIEVAL) is model


def test_a_task_that_is_none_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ToolError, match="no nano for 'code'; there are retrieval, text-matching"):
        NANO.for_task("code")


def test_mainline_by_git_is_what_the_source_distribution_carries() -> None:
    mainline = next(each for each in IMAGES.llama_cpp if each.name == "mainline")
    assert isinstance(mainline, GitOrigin)
    assert not mainline.auto
    assert (mainline.repository, mainline.commit) == (SDIST.repository, SDIST.commit)


def test_first_origins_are_pinned_upstream_ones() -> None:
    images = load_images()
    assert images.llama_cpp[0].name == "fork"
    assert images.base[0].name == "registry"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("dims = 768", "dims = 760", "models.nano.dims"),
        ("dims = 768", "dims = '768'", "models.nano.dims"),
        ("dims = 768", "dims = true", "models.nano.dims"),
        ("dims = 768", "dimms = 768", "models.nano.dims"),
        ("dims = 768", "dims = 768\ncolour = 'red'", "models.nano.colour"),
        ("matryoshka = [32, 64", "matryoshka = [64, 32", "models.nano.matryoshka"),
        ("matryoshka = [32, 64", "matryoshka = ['32', 64", "models.nano.matryoshka"),
        ("context = 8192", "context = 0", "models.nano.context"),
        ("ctx_size = 8192", "ctx_size = 4096", "models.nano.serve.ctx_size"),
        ('pooling = "last"', 'pooling = "mean"', "models.nano.pooling"),
        (f'sha256 = "{Q8_0.sha256}', 'sha256 = "86b', "models.nano.files.Q8_0.sha256"),
        (f'sha256 = "{Q8_0.sha256}"', "", "models.nano.files.Q8_0.sha256"),
        (f"bytes = {Q8_0.bytes}", "", "models.nano.files.Q8_0.bytes"),
        (f"bytes = {Q8_0.bytes}", 'bytes = "from-hub"', "models.nano.files.Q8_0.bytes"),
        ('bytes = "from-hub"', "bytes = 1000", "models.nano.files.F16.bytes"),
        (f'revision = "{NANO.revision}', 'revision = "main', "models.nano.revision"),
        ('architecture = "eurobert"', 'architecture = "bert"', "models.nano.shape.architecture"),
        ("kv_heads = 12", "kv_heads = 5", "models.nano.shape.kv_heads"),
        ("[models.nano.files.Q8_0]", "[models.nano.files.Q5_0]", "models.nano.files"),
        (
            f'revision = "{VARIANT.revision}',
            'revision = "main',
            "models.nano.tasks.text-matching.revision",
        ),
        ("[models.nano.tasks.clustering]", "[models.nano.tasks.code]", "models.nano.tasks"),
        ('query = "Query: "', 'query = ""', "prefixes.query"),
        ('query = "Query: "', 'query = "Query: "\nboth = "x"', "prefixes.both"),
    ],
)
def test_a_fault_in_the_models_names_the_file_and_the_key(
    tmp_path: Path, old: str, new: str, key: str
) -> None:
    path = changed(tmp_path, MODELS_FILE, old, new)
    with pytest.raises(ToolError) as fault:
        load_models(path)
    assert str(fault.value).startswith(f"models.toml: {key}: ")


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        (f'commit = "{FORK.commit}', 'commit = "9', "llama_cpp[0].commit"),
        ('kind = "git"', 'kind = "hg"', "llama_cpp[0].kind"),
        ('kind = "git"', 'kind = "git"\nauto = false', "llama_cpp"),
        (f'name = "{SDIST.name}"', 'name = "fork"', "llama_cpp[2].name"),
        (f'commit = "{SDIST.commit}', 'commit = "9', "llama_cpp[1].commit"),
        (f'sha256 = "{SDIST.sha256}', 'sha256 = "832', "llama_cpp[2].sha256"),
        (f'digest = "{BASE.digest}', 'digest = "a292', "base[0].digest"),
        (f'digest = "{BASE.digest}"', "", "base[0].digest"),
        ('include = ["ca-certificates"]', "include = []", "base[1].include"),
        ('GGML_NATIVE = "OFF"', "GGML_NATIVE = false", "cmake.GGML_NATIVE"),
        (f'digest = "{WATCHER.digest}"', 'digest = "latest"', "monitoring[0].digest"),
        (f'digest = "{BASE.digest}"', f'digest = "{FROM_REGISTRY}"', "base[0].digest"),
        ("newest = 120", "newest = 0", "cuda[0].newest"),
        (
            'name = "nvidia-devel"\nkind = "image"',
            'name = "nvidia-devel"\nkind = "git"',
            "cuda[0].devel.kind",
        ),
        ('toolkit = ["nvidia-cuda-toolkit"]', "toolkit = []", "cuda[1].toolkit"),
        ("[75, 80,", "[80, 75,", "images.cuda.cuda_architectures"),
        ('GGML_CUDA = "ON"', 'GGML_NATIVE = "ON"', "images.cuda.cmake"),
        ('platforms = ["linux/amd64", "linux/arm64"]', "", "images.cpu.platforms"),
        ('"linux/arm64"', '"linux/sparc"', "images.cpu.platforms"),
        ("released = 2025-08-09", 'released = "today"', "base[1].released"),
        ('licence = "Apache-2.0"', 'licence = "Apache-2.0"\nmotto = "x"', "motto"),
    ],
)
def test_a_fault_in_the_images_names_the_file_and_the_key(
    tmp_path: Path, old: str, new: str, key: str
) -> None:
    path = changed(tmp_path, IMAGES_FILE, old, new)
    with pytest.raises(ToolError) as fault:
        load_images(path)
    assert str(fault.value).startswith(f"images.toml: {key}: ")


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text("= nothing")
    with pytest.raises(ToolError, match=r"models\.toml: not valid TOML"):
        load_models(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"images\.toml does not exist"):
        load_images(tmp_path / "images.toml")
