"""An image that is carried to another machine in a file arrives as it was."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.archive import load, save
from tools.docker_client import run_docker
from tools.errors import ToolError


@pytest.fixture
def copy(image: str) -> Iterator[str]:
    """A name of our own for the image, so that the usual one is never touched."""
    name = f"jina-embeddings-v5:archive-{uuid.uuid4().hex[:8]}"
    assert run_docker(["image", "tag", image, name], timeout=30).returncode == 0
    yield name
    run_docker(["image", "rm", "--no-prune", name], timeout=30)


def ask(*command: str) -> str:
    answer = run_docker(command, timeout=60)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def id_of(name: str) -> str:
    return ask("image", "inspect", "--format", "{{.Id}}", name)


def tags_like(name: str) -> list[str]:
    return ask("image", "ls", "--filter", f"reference={name}*", "--format", "{{.Tag}}").split()


def test_an_image_arrives_under_its_name_with_its_id(copy: str, tmp_path: Path) -> None:
    before, file = id_of(copy), tmp_path / "image.tar"
    save(copy, file)
    assert tags_like(copy) == [copy.partition(":")[2]]
    ask("image", "rm", "--no-prune", copy)

    assert load(file) == copy

    assert id_of(copy) == before
    assert tags_like(copy) == [copy.partition(":")[2]]


def test_one_of_another_platform_does_not_take_the_usual_name(copy: str, tmp_path: Path) -> None:
    own = ask("version", "--format", "{{.Server.Arch}}")
    other = "arm64" if own == "amd64" else "amd64"
    file = tmp_path / "image.tar"
    ask("image", "tag", copy, f"{copy}-{other}")
    try:
        ask("image", "save", "--output", str(file), f"{copy}-{other}")
        before = id_of(copy)
        assert load(file) == f"{copy}-{other}"
        assert id_of(copy) == before
    finally:
        ask("image", "rm", "--no-prune", f"{copy}-{other}")


def test_a_file_that_is_cut_off_is_named(engine: None, tmp_path: Path) -> None:
    file = tmp_path / "image.tar"
    file.write_bytes(b"cut off")
    with pytest.raises(ToolError, match=r"image\.tar"):
        load(file)


def test_an_image_that_is_not_there_is_named(engine: None, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"nothing:here.*nox -s build"):
        save("nothing:here", tmp_path / "image.tar")
    assert list(tmp_path.iterdir()) == []
