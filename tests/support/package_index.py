"""A package index on loopback that knows one source distribution."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.file_server import Answer, file_server
from tools.facts.images import SdistOrigin

_JSON = {"Content-Type": "application/vnd.pypi.simple.v1+json"}


@contextmanager
def package_index(origin: SdistOrigin) -> Iterator[str]:
    """Yield the address of an index, for PIP_INDEX_URL, where the pinned release is the newest.

    It lists the file, for who asks what is newest, and does not have it.
    """
    name = f"{origin.project.replace('-', '_')}-{origin.version}.tar.gz"
    file = {
        "filename": name,
        "url": f"/files/{name}",
        "hashes": {"sha256": origin.sha256},
        "size": origin.bytes,
    }
    page = {"meta": {"api-version": "1.1"}, "name": origin.project, "files": [file]}
    with file_server() as server:
        server.put(f"/simple/{origin.project}/", Answer(json.dumps(page).encode(), headers=_JSON))
        yield f"{server.url}/simple"
