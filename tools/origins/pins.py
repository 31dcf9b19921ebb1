"""Bring the pins of the two fact files up to date: `nox -s pins`.

Looked up are the newest commit of llama.cpp's branch, what the base images' tags name now, the
newest source distribution that carries llama.cpp, and each model's newest revision with its
files' sizes and hashes. Everything is looked up and checked before anything is written. Origins
with auto = false are held at an age on purpose, and stay, but for the git origin of the commit that
the source distribution carries: it goes with it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomlkit

from tools.common.console import say, table
from tools.common.errors import ToolError, run_verb
from tools.common.web import Unreachable
from tools.facts.images import GitOrigin, SdistOrigin, load_images
from tools.facts.models import FROM_HUB, load_models
from tools.facts.paths import IMAGES_FILE, MODELS_FILE
from tools.origins.git import newest_commit
from tools.origins.sdist import newest_sdist
from tools.registry.client import newest_digest
from tools.weights.hub import newest_revision


@dataclass(frozen=True)
class Change:
    """One fact that is no longer the newest; ``where`` is its file and key."""

    where: str
    pinned: object
    newest: object


def newest_images(text: str) -> str:
    """Return the text of images.toml with every origin pinned to what is newest now.

    Everything else stays byte for byte. Raises ToolError naming what cannot be looked up.
    """
    document = tomlkit.parse(text)
    for origin in _origins(document):
        if origin.get("auto", True) and origin["kind"] in _LOOK_UP:
            say(f"looking up {origin['name']}: {origin.get('reference', origin.get('repository'))}")
            before = origin.unwrap()
            _update(origin, _LOOK_UP[origin["kind"]](before))
            _follow(document, before, origin)
    return tomlkit.dumps(document)


def _follow(document: Any, before: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
    """Move the git origin of the commit that a source distribution carried to its new one."""
    if origin["kind"] != "sdist":
        return
    for other in _origins(document):
        same = other["kind"] == "git" and other["repository"] == before["repository"]
        if same and other["commit"] == before["commit"]:
            _update(other, {"commit": origin["commit"]})


def newest_models(text: str) -> str:
    """Return the text of models.toml with every model at its newest revision.

    Everything else stays byte for byte. Raises ToolError naming what cannot be looked up, or a
    file that its repository no longer has.
    """
    document = tomlkit.parse(text)
    for model in document["models"].values():
        _pin_files(model)
        for variant in model.get("tasks", {}).values():
            try:
                _pin_files(variant)
            except ToolError as error:
                if variant["revision"] != FROM_HUB or isinstance(error, Unreachable):
                    raise
                # Nobody serves it yet, so it must not stand in the way of the other pins.
                say(f"{error}. {variant['repository']} stays without a revision")
    return tomlkit.dumps(document)


def _pin_files(model: Any) -> None:
    """Bring the revision and the files of a model's table up to date."""
    repository = model["repository"]
    say(f"looking up {repository}")
    revision, found = newest_revision(repository)
    for file in model["files"].values():
        if file["name"] not in found:
            raise ToolError(
                f"{repository} has no {file['name']} at its newest revision {revision[:12]}; "
                "correct models.toml by hand, or leave that revision out"
            )
    _update(model, {"revision": revision})
    for file in model["files"].values():
        newest = found[file["name"]]
        _update(file, {"bytes": newest.size, "sha256": newest.sha256})


def changes(name: str, old: str, new: str) -> list[Change]:
    """Return what differs between two texts of the fact file ``name``, in its order."""
    before, after = (dict(_facts("", tomlkit.parse(text).unwrap())) for text in (old, new))
    return [
        Change(f"{name}: {key}", before[key], after[key])
        for key in after
        if before[key] != after[key]
    ]


def _origins(tree: Any) -> Iterator[Any]:
    """Yield every table that says its kind, wherever it is."""
    if isinstance(tree, Mapping):
        if "kind" in tree:
            yield tree
        for value in tree.values():
            yield from _origins(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _origins(value)


def _git(origin: dict[str, Any]) -> dict[str, Any]:
    return {"commit": newest_commit(GitOrigin(auto=True, **_fields(origin)))}


def _image(origin: dict[str, Any]) -> dict[str, Any]:
    return {"digest": newest_digest(origin["reference"])}


def _sdist(origin: dict[str, Any]) -> dict[str, Any]:
    newest = asdict(newest_sdist(SdistOrigin(auto=True, **_fields(origin))))
    return {key: newest[key] for key in ("name", "commit", "version", "bytes", "sha256")}


def _fields(origin: dict[str, Any]) -> dict[str, Any]:
    """Return what the catalogue's dataclass of the origin has beside ``auto``."""
    return {key: value for key, value in origin.items() if key not in ("kind", "auto")}


#: A bootstrapped base has no pin: its release is named, and the archive's signatures are checked.
_LOOK_UP = {"git": _git, "image": _image, "sdist": _sdist}


def _update(written: Any, newest: Mapping[str, Any]) -> None:
    """Set the keys whose values differ; the others keep even their way of being written."""
    for key, value in newest.items():
        if written[key] != value:
            written[key] = value


def _facts(where: str, tree: Any) -> Iterator[tuple[str, object]]:
    """Yield each value of a tree of tables with its key, dotted."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _facts(f"{where}.{key}" if where else key, value)
    elif isinstance(tree, list) and tree and isinstance(tree[0], dict):
        for number, value in enumerate(tree):
            yield from _facts(f"{where}[{number}]", value)
    else:
        yield where, tree


def _short(value: object) -> str:
    """Return a value as a table shows it: of a hash, what tells it apart."""
    text = str(value)
    return text if len(text) <= 24 else f"{text[:19]}..."


def refresh(images_file: Path, models_file: Path, *, check: bool) -> None:
    """Show which pins are old and, unless asked to ``check`` only, rewrite both fact files.

    Raises ToolError, with nothing written, when something cannot be looked up, when what was
    found does not load, and with ``check`` when a pin is old.
    """
    old = {path: path.read_text(encoding="utf-8") for path in (images_file, models_file)}
    try:
        new = {
            images_file: newest_images(old[images_file]),
            models_file: newest_models(old[models_file]),
        }
    except ToolError as error:
        raise ToolError(f"{error}. No pin was changed") from None
    found = [change for path in old for change in changes(path.name, old[path], new[path])]
    if not found:
        say("every pin is the newest")
        return
    rows = [(each.where, _short(each.pinned), "->", _short(each.newest)) for each in found]
    table(rows, ["fact", "pinned", "", "newest"])
    if check:
        raise ToolError(f"{len(found)} facts are old; `nox -s pins` rewrites them")
    with tempfile.TemporaryDirectory(dir=models_file.parent, prefix=".pins-") as folder:
        drafts = {path: Path(folder) / path.name for path in new}
        for path, draft in drafts.items():
            draft.write_text(new[path], encoding="utf-8")
        load_images(drafts[images_file])
        load_models(drafts[models_file])
        for path, draft in drafts.items():
            draft.replace(path)
    say("rewritten; `nox -s build test` proves the new pins")


def main(arguments: Sequence[str]) -> None:
    """Refresh the pins, as the command line says."""
    parser = argparse.ArgumentParser(prog="nox -s pins --", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail when a pin is old"
    )
    options = parser.parse_args(arguments)
    refresh(IMAGES_FILE, MODELS_FILE, check=options.check)


if __name__ == "__main__":
    sys.exit(run_verb(main))
