"""Download the real weights, pinned and verified: `nox -s models -- nano small --quant Q8_0`.

The address, the token and the offline mode are huggingface_hub's (HF_ENDPOINT, HF_TOKEN or
`hf auth login`, HF_HUB_OFFLINE), and a file that its cache already holds is taken from there. The
bytes are brought by tools/common/downloads.py: hf_hub_download begins an interrupted download anew.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from huggingface_hub import constants, get_token, hf_hub_url, try_to_load_from_cache

from tools.common.cache import locked
from tools.common.console import say, table
from tools.common.downloads import download, file_sha256
from tools.common.errors import ToolError, run_verb
from tools.common.files import expanded, let_the_server_read
from tools.common.web import Refused, Unreachable, client, get, shown
from tools.facts.models import (
    FROM_HUB,
    OTHER_TASKS,
    RETRIEVAL,
    Model,
    ModelFile,
    Models,
    load_models,
)
from tools.facts.paths import ROOT


@dataclass(frozen=True)
class HubFile:
    """What a file must be, or is at some revision; ``size`` is in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class _Stamp:
    """What was verified last: kept beside the file, so that it is not hashed at every start."""

    revision: str
    sha256: str
    size: int
    mtime_ns: int


def models_dir() -> Path:
    """Return the folder of the model files: ``JINA_MODELS_DIR``, else the checkout's ``models``."""
    return expanded(os.environ.get("JINA_MODELS_DIR") or str(ROOT / "models"))


def fetch_from_hub(models: Models, model: str, quantisation: str, task: str = RETRIEVAL) -> Path:
    """Return the path of a model's verified file, downloaded unless it is there.

    A file put there by hand is verified too. Raises ToolError for an unknown model, task or
    quantisation, and, saying what to do, when the file is not pinned, cannot be had, or is not the
    pinned one.
    """
    if model not in models.models:
        raise ToolError(f"no model {model!r}; there are {', '.join(models.models)}")
    known = models.models[model].for_task(task)
    if not known.is_pinned:
        raise ToolError(
            f"models.toml has no revision of {known.repository} yet, so no file of it can be "
            "verified; `nox -s pins` looks it up and writes it there, with the hashes"
        )
    if quantisation not in known.files:
        raise ToolError(
            f"no {quantisation!r} of {model}; there are {', '.join(known.files)} (models.toml)"
        )
    file = known.files[quantisation]
    path = models_dir() / file.name
    stamp_path = path.with_name(f"{path.name}.verified")
    with locked(stamp_path):
        stamp = _read_stamp(stamp_path)
        pin = _pin(known, file, stamp)
        if not path.exists() or stamp != _stamp(known, pin, path):
            _bring(models, known, file, pin, path)
            _write_stamp(stamp_path, _stamp(known, pin, path))
    let_the_server_read(path)
    return path


def _stamp(model: Model, pin: HubFile, path: Path) -> _Stamp:
    """Return the stamp of the file as it lies there now, supposing that its hash is right."""
    status = path.stat()
    return _Stamp(model.revision, pin.sha256, status.st_size, status.st_mtime_ns)


def _read_stamp(path: Path) -> _Stamp | None:
    try:
        return _Stamp(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write_stamp(path: Path, stamp: _Stamp) -> None:
    # In a folder that cannot be written the file is hashed again next time, which is all.
    with suppress(OSError):
        path.write_text(json.dumps(asdict(stamp)), encoding="utf-8")


def _pin(model: Model, file: ModelFile, stamp: _Stamp | None) -> HubFile:
    """Return the hash and size from the catalogue, or else what the Hub recorded."""
    if file.sha256 != FROM_HUB and file.bytes is not None:
        return HubFile(file.sha256, file.bytes)
    if stamp is not None and stamp.revision == model.revision:
        return HubFile(stamp.sha256, stamp.size)
    if constants.HF_HUB_OFFLINE:
        raise ToolError(
            f"the hash of {file.name} is known to the Hub only, and HF_HUB_OFFLINE is set; "
            "unset it once, or use another quantisation"
        )
    return _ask_hub(model, file)


def _ask_hub(model: Model, file: ModelFile) -> HubFile:
    """Return what the Hub records of a large file at the pinned revision.

    From https://huggingface.co/docs/hub/api: the listing of a revision gives each large file's
    sha256 and size under ``lfs``.
    """
    endpoint = _endpoint() or constants.ENDPOINT
    url = f"{endpoint}/api/models/{model.repository}/tree/{model.revision}"
    try:
        with client() as http:
            listing = get(http, url, _headers()).json()
        entry = next(entry for entry in listing if entry["path"] == file.name)
        return HubFile(entry["lfs"]["oid"], entry["lfs"]["size"])
    except (Unreachable, Refused) as error:
        raise _advice(error, model, file) from None
    except (ValueError, TypeError, KeyError, StopIteration):
        raise ToolError(
            f"{shown(url)} does not list {file.name} with its hash; check models/models.toml, and "
            "HF_ENDPOINT where it is set"
        ) from None


def newest_revision(repository: str) -> tuple[str, dict[str, HubFile]]:
    """Return a repository's newest revision, and its large files by name.

    From https://huggingface.co/docs/hub/api: what the Hub says of a model lists its files, with
    ``blobs`` also their sizes and, for large ones, their sha256. Raises Unreachable or Refused,
    and ToolError for an answer of another form.
    """
    url = f"{_endpoint() or constants.ENDPOINT}/api/models/{repository}"
    with client() as http:
        answer = get(http, f"{url}?blobs=true", _headers())
    try:
        said = answer.json()
        files = {
            file["rfilename"]: HubFile(file["lfs"]["sha256"], file["lfs"]["size"])
            for file in said["siblings"]
            if file.get("lfs")
        }
        return str(said["sha"]), files
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ToolError(
            f"{shown(url)} does not list the files of {repository} with their hashes; check "
            "HF_ENDPOINT where it is set"
        ) from None


def _endpoint() -> str | None:
    """Return the Hub's address where it was changed; huggingface_hub knows the usual one.

    Raises ToolError for what is no address; it may hold a password, so it is not printed.
    """
    given = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    if not given:
        return None
    try:
        parsed = httpx.URL(given)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ToolError("HF_ENDPOINT is no address of a Hub; it is of the form https://hub.example")
    return given


def _headers() -> dict[str, str]:
    token = get_token()
    if token and not (token.isascii() and token.isprintable()):
        raise ToolError(
            "HF_TOKEN, or the token that `hf auth login` stored, holds characters that no token "
            "has; copy it again"
        )
    return {"Authorization": f"Bearer {token}"} if token else {}


def _bring(models: Models, model: Model, file: ModelFile, pin: HubFile, path: Path) -> None:
    """Put the file there, whole and verified; leaves the right file as it is."""
    if not path.exists():
        _copy_from_hub_cache(model, file, path)
    if constants.HF_HUB_OFFLINE:
        if not path.exists() or file_sha256(path) != pin.sha256:
            raise ToolError(
                f"{path} is not there or not the pinned file, and HF_HUB_OFFLINE is set; unset it, "
                f"or put the file there yourself (sha256 {pin.sha256})"
            )
        return
    if not path.exists():
        say(f"{file.name}: licence {models.licence}, {models.licence_url}")
    url = hf_hub_url(model.repository, file.name, revision=model.revision, endpoint=_endpoint())
    try:
        download(url, path, sha256=pin.sha256, size=pin.size, headers=_headers())
    except (Unreachable, Refused) as error:
        raise _advice(error, model, file) from None


def _copy_from_hub_cache(model: Model, file: ModelFile, path: Path) -> None:
    """Copy the file from huggingface_hub's own cache, if an earlier program put it there."""
    cached = try_to_load_from_cache(model.repository, file.name, revision=model.revision)
    if isinstance(cached, str):
        say(f"{file.name}: copying from {cached}")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        shutil.copyfile(cached, part)
        part.replace(path)


def _advice(error: Unreachable | Refused, model: Model, file: ModelFile) -> ToolError:
    """Say what to do about a file that cannot be downloaded."""
    if isinstance(error, Unreachable):
        return ToolError(
            f"cannot download {file.name}: {error}. Set HF_ENDPOINT to a mirror of the Hub that "
            f"this machine reaches, or put the file at {models_dir() / file.name} yourself and "
            "run this again: it is verified before it is served. To see the server at work "
            "without it: `nox -s demo`"
        )
    if error.status in (401, 403):
        return ToolError(
            f"{error}: the Hub does not give {file.name} to you. Accept the terms of "
            f"{model.repository} on its page, then set HF_TOKEN to a token of your account that "
            "may read it"
        )
    return ToolError(
        f"{error}: {model.repository} at revision {model.revision[:12]} has no {file.name} there; "
        "check models/models.toml, and HF_ENDPOINT where it is set"
    )


def _list_files(models: Models) -> None:
    rows = [
        (model.name, model.task, file.quantisation, file.name, _state(model, file))
        for each in models.models.values()
        for model in (each, *each.variants.values())
        for file in model.files.values()
    ]
    table(rows, ["model", "task", "quant", "file", "here"])
    say("To download: nox -s models -- MODEL... [--task TASK] [--quant QUANT]")


def _state(model: Model, file: ModelFile) -> str:
    if not model.is_pinned:
        return "not pinned"
    return "yes" if (models_dir() / file.name).exists() else ""


def add_task_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--task``, which names the variant of a model."""
    parser.add_argument(
        "--task",
        choices=[RETRIEVAL, *OTHER_TASKS],
        default=RETRIEVAL,
        help="what the model is for (default: %(default)s)",
    )


def main(arguments: Sequence[str]) -> None:
    """Fetch the named models in one quantisation; without names, list what there is."""
    models = load_models()
    parser = argparse.ArgumentParser(prog="nox -s models --", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(models.models))
    parser.add_argument(
        "--quant",
        default=models.default_quantisation,
        metavar="QUANT",
        help=f"the quantisation; {models.default_quantisation} unless given",
    )
    add_task_argument(parser)
    options = parser.parse_args(arguments)
    if not options.models:
        _list_files(models)
    for name in options.models:
        path = fetch_from_hub(models, name, options.quant, options.task)
        say(f"{path} is there and verified")


if __name__ == "__main__":
    sys.exit(run_verb(main))
