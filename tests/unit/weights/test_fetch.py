from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.support.file_server import Answer, FileServer, closed_port, file_server, isolate
from tools.common.errors import ToolError
from tools.facts.models import FROM_HUB, ModelFile, Models, load_models
from tools.weights.hub import fetch_from_hub, main, models_dir, newest_revision

BODY = random.Random(6).randbytes(200_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
REPOSITORY = "jinaai/test-GGUF"
REVISION = "5" * 40
NAME = "test-Q8_0.gguf"
FILE_PATH = f"/{REPOSITORY}/resolve/{REVISION}/{NAME}"
LISTING_PATH = f"/api/models/{REPOSITORY}/tree/{REVISION}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    """Return a Hub that has the one file, as the environment points to it."""
    isolate(monkeypatch, tmp_path)
    monkeypatch.setenv("JINA_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with file_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        # The Hub sends large files from elsewhere.
        server.put(FILE_PATH, Answer(status=302, headers={"Location": "/cdn/file?signature=x"}))
        server.put("/cdn/file", Answer(BODY))
        listing = [
            {"type": "file", "path": "README.md", "size": 3, "oid": "0" * 40},
            {"type": "file", "path": NAME, "size": 9, "lfs": {"oid": SHA256, "size": len(BODY)}},
        ]
        server.put(LISTING_PATH, Answer(json.dumps(listing).encode()))
        yield server


@pytest.fixture
def models() -> Models:
    return with_file(ModelFile("Q8_0", NAME, SHA256, len(BODY)))


@pytest.fixture
def unhashed() -> Models:
    """Return models whose file has no hash in the catalogue."""
    return with_file(ModelFile("Q8_0", NAME, FROM_HUB, None))


def with_file(file: ModelFile) -> Models:
    real = load_models()
    nano = replace(
        real.models["nano"], repository=REPOSITORY, revision=REVISION, files={"Q8_0": file}
    )
    return replace(real, models={"nano": nano})


def model_path() -> Path:
    return models_dir() / NAME


@pytest.mark.usefixtures("hub")
def test_a_model_lands_with_its_licence_said_once(
    models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fetch_from_hub(models, "nano", "Q8_0")

    assert path == model_path()
    assert path.read_bytes() == BODY
    assert capsys.readouterr().out.count("CC-BY-NC-4.0") == 1
    fetch_from_hub(models, "nano", "Q8_0")
    assert "CC-BY-NC-4.0" not in capsys.readouterr().out


def test_a_second_run_neither_asks_nor_hashes(
    hub: FileServer, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_from_hub(models, "nano", "Q8_0")
    asked = len(hub.requests)
    monkeypatch.setattr("tools.weights.hub._bring", None)  # calling it would fail

    assert fetch_from_hub(models, "nano", "Q8_0") == model_path()
    assert len(hub.requests) == asked


def test_a_file_put_there_by_hand_is_verified(hub: FileServer, models: Models) -> None:
    model_path().parent.mkdir()
    model_path().write_bytes(BODY)

    fetch_from_hub(models, "nano", "Q8_0")

    assert hub.requests == []


@pytest.mark.usefixtures("hub")
def test_a_truncated_file_is_noticed_and_replaced(
    models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fetch_from_hub(models, "nano", "Q8_0")
    os.truncate(path, 1000)

    fetch_from_hub(models, "nano", "Q8_0")

    assert path.read_bytes() == BODY
    assert "is not the pinned file" in capsys.readouterr().err


@pytest.mark.usefixtures("hub")
def test_a_changed_file_is_noticed_and_replaced(models: Models) -> None:
    path = fetch_from_hub(models, "nano", "Q8_0")
    path.write_bytes(bytes(len(BODY)))
    os.utime(path, ns=(1, 1))

    fetch_from_hub(models, "nano", "Q8_0")

    assert path.read_bytes() == BODY


def test_an_interrupted_download_is_resumed(hub: FileServer, models: Models) -> None:
    hub.put("/cdn/file", Answer(status=500))
    model_path().parent.mkdir()
    part = model_path().with_name(f"{NAME}.{SHA256[:8]}.part")
    part.write_bytes(BODY[:150_000])
    with pytest.raises(ToolError, match="answered 500"):
        fetch_from_hub(models, "nano", "Q8_0")
    hub.put("/cdn/file", Answer(BODY))

    assert fetch_from_hub(models, "nano", "Q8_0").read_bytes() == BODY
    assert hub.requests[-1] == "GET /cdn/file?signature=x bytes=150000-"


def test_other_bytes_than_the_pinned_ones_are_refused(hub: FileServer, models: Models) -> None:
    hub.put("/cdn/file", Answer(bytes(len(BODY))))
    with pytest.raises(ToolError, match=f"sha256 expected {SHA256}, found "):
        fetch_from_hub(models, "nano", "Q8_0")
    assert list(models_dir().iterdir()) == []


def test_a_hash_that_only_the_hub_knows_is_asked_once(hub: FileServer, unhashed: Models) -> None:
    path = fetch_from_hub(unhashed, "nano", "Q8_0")
    assert path.read_bytes() == BODY
    os.utime(path, ns=(1, 1))

    fetch_from_hub(unhashed, "nano", "Q8_0")

    assert hub.requests.count(f"GET {LISTING_PATH}") == 1


def test_another_revision_is_asked_for_again(hub: FileServer, unhashed: Models) -> None:
    fetch_from_hub(unhashed, "nano", "Q8_0")
    moved = replace(unhashed.models["nano"], revision="6" * 40)

    with pytest.raises(ToolError, match="answered 404"):
        fetch_from_hub(replace(unhashed, models={"nano": moved}), "nano", "Q8_0")
    assert hub.requests[-1] == f"GET {LISTING_PATH.replace('5', '6')}"


@pytest.mark.parametrize("listing", [b"[]", b"{}", b"<html>", b'[{"path": "test-Q8_0.gguf"}]'])
def test_a_hub_that_does_not_know_the_hash_is_refused(
    hub: FileServer, unhashed: Models, listing: bytes
) -> None:
    hub.put(LISTING_PATH, Answer(listing))
    with pytest.raises(ToolError, match=f"does not list {NAME} with its hash"):
        fetch_from_hub(unhashed, "nano", "Q8_0")


def test_the_token_goes_to_the_hub(
    hub: FileServer, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    fetch_from_hub(models, "nano", "Q8_0")
    assert hub.tokens[0] == "Bearer hf_test"


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "set HF_TOKEN"), (403, "Accept the terms"), (404, "check models/models.toml")],
)
def test_a_refusal_says_what_to_do(
    hub: FileServer, models: Models, status: int, advice: str
) -> None:
    hub.put(FILE_PATH, Answer(status=status))
    with pytest.raises(ToolError, match=f"answered {status}.*{advice}"):
        fetch_from_hub(models, "nano", "Q8_0")


@pytest.mark.usefixtures("hub")
def test_an_unreachable_hub_says_what_to_do(
    models: Models, unhashed: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    for each in (models, unhashed):
        with pytest.raises(ToolError, match=r"refused the connection\. Set HF_ENDPOINT.*models/"):
            fetch_from_hub(each, "nano", "Q8_0")


def test_offline_a_file_that_is_there_is_verified(
    hub: FileServer, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    model_path().parent.mkdir()
    model_path().write_bytes(BODY)

    assert fetch_from_hub(models, "nano", "Q8_0") == model_path()
    assert hub.requests == []


@pytest.mark.parametrize("there", [None, b"something else"])
def test_offline_nothing_is_downloaded(
    hub: FileServer, models: Models, monkeypatch: pytest.MonkeyPatch, there: bytes | None
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    if there is not None:
        model_path().parent.mkdir()
        model_path().write_bytes(there)

    with pytest.raises(ToolError, match=f"HF_HUB_OFFLINE is set.*{SHA256}"):
        fetch_from_hub(models, "nano", "Q8_0")
    assert hub.requests == []


def test_offline_a_hash_that_only_the_hub_knows_comes_from_the_last_time(
    hub: FileServer, unhashed: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ToolError, match="known to the Hub only"):
        fetch_from_hub(unhashed, "nano", "Q8_0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    path = fetch_from_hub(unhashed, "nano", "Q8_0")
    asked = len(hub.requests)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    os.utime(path, ns=(1, 1))

    assert fetch_from_hub(unhashed, "nano", "Q8_0") == path
    assert len(hub.requests) == asked


def test_a_file_in_the_cache_of_huggingface_hub_is_taken_from_there(
    hub: FileServer, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    snapshots = Path(constants.HF_HUB_CACHE, "models--jinaai--test-GGUF", "snapshots", REVISION)
    snapshots.mkdir(parents=True)
    (snapshots / NAME).write_bytes(BODY)

    assert fetch_from_hub(models, "nano", "Q8_0").read_bytes() == BODY
    assert hub.requests == []


@pytest.mark.usefixtures("hub")
def test_unknown_models_and_quantisations_are_refused_with_the_known_ones() -> None:
    real = load_models()
    with pytest.raises(ToolError, match="no model 'large'; there are nano, small"):
        fetch_from_hub(real, "large", "Q8_0")
    known = ", ".join(real.models["small"].files)
    with pytest.raises(ToolError, match=f"no 'Q2_K' of small; there are {known}"):
        fetch_from_hub(real, "small", "Q2_K")


def test_a_variant_is_fetched_by_its_task(models: Models, hub: FileServer) -> None:
    nano = models.models["nano"]
    body = random.Random(7).randbytes(1000)
    file = ModelFile("Q8_0", "test-clustering-Q8_0.gguf", hashlib.sha256(body).hexdigest(), 1000)
    pinned = replace(nano, task="clustering", repository="jinaai/c", files={"Q8_0": file})
    known = replace(models, models={"nano": replace(nano, variants={"clustering": pinned})})
    hub.put(f"/jinaai/c/resolve/{REVISION}/{file.name}", Answer(body))
    path = fetch_from_hub(known, "nano", "Q8_0", "clustering")
    assert path == models_dir() / file.name
    assert path.read_bytes() == body
    with pytest.raises(ToolError, match="no nano for 'text-matching'; there are retrieval, clust"):
        fetch_from_hub(known, "nano", "Q8_0", "text-matching")


def test_a_variant_without_a_revision_is_refused(models: Models, hub: FileServer) -> None:
    nano = models.models["nano"]
    unpinned = replace(nano, task="clustering", revision=FROM_HUB)
    known = replace(models, models={"nano": replace(nano, variants={"clustering": unpinned})})
    with pytest.raises(ToolError, match=rf"no revision of {REPOSITORY} yet.*`nox -s pins`"):
        fetch_from_hub(known, "nano", "Q8_0", "clustering")
    assert hub.requests == []


@pytest.mark.usefixtures("hub")
def test_the_verb_lists_without_names_and_fetches_with_them(
    models: Models, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tools.weights.hub.load_models", lambda: models)

    main([])
    main(["nano", "--quant", "Q8_0"])

    printed = capsys.readouterr().out
    assert f"nano   retrieval       Q8_0   {NAME}" in printed
    assert f"{model_path()} is there and verified" in printed


@pytest.mark.parametrize(
    "endpoint", ["hub.example", "ftp://hub.example", "http://hub:port", "http://"]
)
def test_an_address_that_is_none_of_a_hub_is_said(
    models: Models, hub: FileServer, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(ToolError, match="HF_ENDPOINT is no address of a Hub"):
        fetch_from_hub(models, "nano", "Q8_0")


def test_a_token_that_can_be_none_is_said_and_not_shown(
    models: Models, hub: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_\N{LATIN SMALL LETTER E WITH ACUTE}crit")
    with pytest.raises(ToolError, match="HF_TOKEN, or the token") as fault:
        fetch_from_hub(models, "nano", "Q8_0")
    assert "crit" not in str(fault.value)


def test_a_mirrors_password_is_never_printed(
    unhashed: Models,
    hub: FileServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("http://", "http://me:s3cret@"))
    hub.put(LISTING_PATH, Answer(b"[]"))
    hub.put(f"/api/models/{REPOSITORY}", Answer(b"{}"))
    with pytest.raises(ToolError, match="does not list") as listing:
        fetch_from_hub(unhashed, "nano", "Q8_0")
    with pytest.raises(ToolError, match="does not list") as newest:
        newest_revision(REPOSITORY)
    captured = capsys.readouterr()
    for text in (str(listing.value), str(newest.value), captured.out, captured.err):
        assert "s3cret" not in text
