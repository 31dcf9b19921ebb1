"""A Hugging Face Hub on loopback: it lists files, and sends them from another host.

The answers are those of https://huggingface.co/docs/hub/api, as far as the tools ask for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.file_server import Answer, FileServer, file_server
from tools.common.downloads import file_sha256

_JSON = {"Content-Type": "application/json; charset=utf-8"}


@dataclass(frozen=True)
class HubRepository:
    """A repository of large files, by their names there, at its newest revision."""

    name: str
    revision: str
    files: Mapping[str, Path]


@dataclass(frozen=True)
class Hub:
    """The Hub itself, and the host that its large files are sent from."""

    api: FileServer
    cdn: FileServer

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is to be."""
        return self.api.url

    def put(self, repository: HubRepository) -> None:
        """Have the repository."""
        api = f"/api/models/{repository.name}"
        tree: list[object] = [{"type": "file", "path": "README.md", "size": 3, "oid": "0" * 40}]
        siblings: list[object] = [{"rfilename": "README.md", "size": 3, "blobId": "0" * 40}]
        for name, path in repository.files.items():
            sha256, size = file_sha256(path), path.stat().st_size
            large = {"size": size, "pointerSize": 134}
            tree.append(
                {"type": "file", "path": name, "size": size, "lfs": {"oid": sha256, **large}}
            )
            siblings.append({"rfilename": name, "size": size, "lfs": {"sha256": sha256, **large}})
            place = self.cdn.put(f"/{sha256}", Answer(path.read_bytes()))
            self.api.put(
                f"/{repository.name}/resolve/{repository.revision}/{name}",
                Answer(status=302, headers={"Location": f"{place}?signature=secret"}),
            )
        model = {"id": repository.name, "sha": repository.revision, "siblings": siblings}
        self.api.put(api, Answer(json.dumps(model).encode(), headers=_JSON))
        self.api.put(
            f"{api}/tree/{repository.revision}", Answer(json.dumps(tree).encode(), headers=_JSON)
        )


@contextmanager
def hub_server(repositories: Sequence[HubRepository]) -> Iterator[Hub]:
    with file_server() as api, file_server() as cdn:
        hub = Hub(api, cdn)
        for repository in repositories:
            hub.put(repository)
        yield hub
