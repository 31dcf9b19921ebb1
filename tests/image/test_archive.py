"""An image that is carried to another machine in a file arrives as it was."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.common.errors import ToolError
from tools.engine.docker import run_docker
from tools.images.archive import load, save


@pytest.fixture
def name(engine: None) -> Iterator[str]:
    """A name of our own for what is carried, so that the usual ones are never touched."""
    made = f"jina-embeddings-v5:archive-{uuid.uuid4().hex[:8]}"
    yield made
    for tag in tags_like(made):
        run_docker(["image", "rm", "--no-prune", f"jina-embeddings-v5:{tag}"], timeout=30)


def ask(*command: str) -> str:
    answer = run_docker(command, timeout=60)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def id_of(name: str) -> str:
    return ask("image", "inspect", "--format", "{{.Id}}", name)


def tag_of(name: str) -> str:
    return name.partition(":")[2]


def tags_like(name: str) -> list[str]:
    return ask("image", "ls", "--filter", f"reference={name}*", "--format", "{{.Tag}}").split()


def carried(name: str, folder: Path) -> tuple[str, str]:
    """Save an image, take it away, load it; the name it arrives under and the id it had."""
    before, file = id_of(name), folder / "image.tar"
    save(name, file)
    assert tags_like(name) == [tag_of(name)]
    ask("image", "rm", "--no-prune", name)
    return load(file), before


def test_an_image_arrives_with_its_id(image: str, name: str, tmp_path: Path) -> None:
    """Under its own name, which is longer where it is for another platform than this."""
    ask("image", "tag", image, name)
    architecture = ask("image", "inspect", "--format", "{{.Architecture}}", image)
    own = architecture == ask("version", "--format", "{{.Server.Arch}}")

    found, before = carried(name, tmp_path)

    assert found == (name if own else f"{name}-{architecture}")
    assert id_of(found) == before
    assert tags_like(name) == [tag_of(found)]


def test_one_of_another_platform_does_not_take_the_usual_name(name: str, tmp_path: Path) -> None:
    """Nothing of it is run, so one that holds a single file is enough."""
    own = ask("version", "--format", "{{.Server.Arch}}")
    other = "arm64" if own == "amd64" else "amd64"
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    options = ["--provenance=false", "--load", "--platform", f"linux/{other}", "--tag", name]
    ask("buildx", "build", *options, str(tmp_path))

    found, before = carried(name, tmp_path)

    assert found == f"{name}-{other}"
    assert id_of(found) == before
    assert tags_like(name) == [tag_of(found)]


def test_a_file_that_is_cut_off_is_named(engine: None, tmp_path: Path) -> None:
    file = tmp_path / "image.tar"
    file.write_bytes(b"cut off")
    with pytest.raises(ToolError, match=r"image\.tar"):
        load(file)


def test_an_image_that_is_not_there_is_named(engine: None, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"nothing:here.*nox -s build"):
        save("nothing:here", tmp_path / "image.tar")
    assert list(tmp_path.iterdir()) == []
