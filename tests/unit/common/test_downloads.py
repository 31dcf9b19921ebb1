from __future__ import annotations

import hashlib
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.bad_host import bad_host
from tests.support.file_server import Answer, FileServer, closed_port, file_server, isolate
from tools.common.downloads import download
from tools.common.errors import ToolError
from tools.common.web import Refused, Unreachable

BODY = random.Random(5).randbytes(500_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "files" / "model.bin"


def part_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.{SHA256[:8]}.part")


def bring(url: str, target: Path) -> Path:
    return download(url, target, sha256=SHA256, size=len(BODY))


def only_file(target: Path) -> None:
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert target.read_bytes() == BODY


def test_a_file_lands_whole(server: FileServer, target: Path) -> None:
    assert bring(server.put("/file", Answer(BODY)), target) == target
    only_file(target)


def test_a_file_that_is_there_needs_no_network(target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(BODY)

    assert bring(f"http://127.0.0.1:{closed_port()}/file", target) == target


def test_a_wrong_file_that_is_there_is_replaced_loudly(
    server: FileServer, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target.parent.mkdir()
    target.write_bytes(BODY[:1000])

    bring(server.put("/file", Answer(BODY)), target)

    only_file(target)
    assert "!! " in capsys.readouterr().err


def test_a_redirect_is_followed(server: FileServer, target: Path) -> None:
    server.put("/file", Answer(BODY))
    bring(server.put("/old", Answer(status=302, headers={"Location": "/file"})), target)
    only_file(target)


def test_what_an_earlier_call_left_is_resumed(server: FileServer, target: Path) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(BODY[:300_000])

    bring(server.put("/file", Answer(BODY)), target)

    only_file(target)
    assert server.requests == ["GET /file bytes=300000-"]


def test_a_whole_part_only_has_to_be_hashed(server: FileServer, target: Path) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(BODY)

    bring(server.put("/file", Answer(BODY)), target)

    only_file(target)
    assert server.requests == []


def test_a_part_that_is_too_long_is_dropped(server: FileServer, target: Path) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(BODY + b"more")

    bring(server.put("/file", Answer(BODY)), target)

    only_file(target)
    assert server.requests == ["GET /file"]


def test_a_server_that_ignores_ranges_sends_it_all_again(server: FileServer, target: Path) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(BODY[:300_000])

    bring(server.put("/file", Answer(BODY, honours_range=False)), target)

    only_file(target)


def test_a_server_that_refuses_the_range_sends_it_all_again(
    server: FileServer, target: Path
) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(BODY[:300_000])

    bring(server.put("/file", Answer(status=416), Answer(BODY)), target)

    only_file(target)
    assert server.requests == ["GET /file bytes=300000-", "GET /file"]


def test_a_server_that_sends_another_range_is_asked_again(server: FileServer, target: Path) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(BODY[:300_000])
    other = Answer(BODY[100:], status=206, headers={"Content-Range": "bytes 100-499999/500000"})

    bring(server.put("/file", other, Answer(BODY)), target)

    only_file(target)


def test_an_interrupted_transfer_goes_on_where_it_broke_off(
    server: FileServer, target: Path
) -> None:
    # More interruptions than there are retries: each got further, so none is the last.
    cut = [Answer(BODY, send_only=100_000)] * 5

    bring(server.put("/file", *cut, Answer(BODY)), target)

    only_file(target)
    starts = [int(line.rpartition("=")[2].rstrip("-")) for line in server.requests[1:]]
    assert starts == sorted(set(starts))
    assert starts[0] > 0


def test_a_transfer_that_never_gets_further_is_unreachable(
    server: FileServer, target: Path
) -> None:
    url = server.put("/file", Answer(BODY, honours_range=False, send_only=100_000))

    with pytest.raises(Unreachable, match="broke off"):
        bring(url, target)

    assert not target.exists()
    assert len(server.requests) == 4  # three retries


def test_a_busy_server_is_asked_again(server: FileServer, target: Path) -> None:
    bring(server.put("/file", Answer(status=503), Answer(status=500), Answer(BODY)), target)
    only_file(target)


def test_a_server_that_stays_busy_is_unreachable(server: FileServer, target: Path) -> None:
    with pytest.raises(Unreachable, match="answered 503"):
        bring(server.put("/file", Answer(status=503)), target)
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_no_reason_to_go_elsewhere(
    server: FileServer, target: Path, status: int
) -> None:
    with pytest.raises(Refused, match=f"/file answered {status}") as caught:
        bring(server.put("/file", Answer(status=status)), target)

    assert not isinstance(caught.value, Unreachable)
    assert caught.value.status == status
    assert len(server.requests) == 1


def test_a_wrong_hash_is_deleted_and_both_are_named(server: FileServer, target: Path) -> None:
    wrong = bytes(len(BODY))

    with pytest.raises(ToolError) as caught:
        bring(server.put("/file", Answer(wrong)), target)

    assert not isinstance(caught.value, Unreachable)
    assert SHA256 in str(caught.value)
    assert hashlib.sha256(wrong).hexdigest() in str(caught.value)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("says_length", [True, False])
def test_a_file_that_is_too_long_is_refused(
    server: FileServer, target: Path, says_length: bool
) -> None:
    with pytest.raises(ToolError, match="expected 500000 bytes, found") as caught:
        bring(server.put("/file", Answer(BODY + b"more", says_length=says_length)), target)

    assert not isinstance(caught.value, Unreachable)
    assert list(target.parent.iterdir()) == []


def test_a_file_that_is_too_short_is_refused(server: FileServer, target: Path) -> None:
    with pytest.raises(ToolError, match="expected 500000 bytes, found 1000") as caught:
        bring(server.put("/file", Answer(BODY[:1000])), target)
    assert not isinstance(caught.value, Unreachable)


def test_a_host_without_an_address_is_unreachable(
    monkeypatch: pytest.MonkeyPatch, target: Path
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(Unreachable, match=r"could not resolve weights\.invalid"):
        bring("http://weights.invalid/file", target)


def test_a_closed_port_is_unreachable(target: Path) -> None:
    port = closed_port()
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port} refused the connection"):
        bring(f"http://127.0.0.1:{port}/file", target)


def test_a_server_without_tls_is_unreachable(server: FileServer, target: Path) -> None:
    with pytest.raises(Unreachable, match="no TLS with"):
        bring(server.url.replace("http:", "https:") + "/file", target)


def test_a_silent_server_is_unreachable(
    monkeypatch: pytest.MonkeyPatch, server: FileServer, target: Path
) -> None:
    monkeypatch.setattr("tools.common.web._TIMEOUT", httpx.Timeout(0.05))
    never = threading.Event()
    try:
        with pytest.raises(Unreachable, match="did not answer in time"):
            bring(server.put("/file", Answer(BODY, wait_for=never)), target)
    finally:
        never.set()


def test_what_is_no_http_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, target: Path) -> None:
    """Somebody answers, so no other origin may take its place."""
    monkeypatch.setattr("tools.common.web.PAUSES", (600.0,))
    with bad_host("noise") as host, pytest.raises(ToolError, match="no HTTP") as caught:
        bring(f"http://{host}/file", target)
    assert not isinstance(caught.value, Unreachable)
    assert str(caught.value).startswith(host)


def test_an_unusable_address_is_refused(target: Path) -> None:
    with pytest.raises(ToolError) as caught:
        bring("ftp://127.0.0.1/file", target)
    assert not isinstance(caught.value, Unreachable)


def test_an_error_does_not_print_credentials(server: FileServer, target: Path) -> None:
    url = server.url.replace("//", "//me:secret@") + "/file?signature=secret"
    with pytest.raises(Refused) as caught:
        bring(url, target)
    assert "secret" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_said(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(ToolError, match=r"cannot write .*taken"):
        bring(server.put("/file", Answer(BODY)), tmp_path / "taken" / "file")


def interrupted_after(amount: int) -> Callable[[object, bytes], None]:
    """Return a method for a transfer that meets Ctrl-C once it has so many bytes."""

    def count(transfer: object, chunk: bytes) -> None:
        transfer.position += len(chunk)  # type: ignore[attr-defined]
        if transfer.position >= amount:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    return count


def test_ctrl_c_leaves_only_a_part_which_is_resumed(
    monkeypatch: pytest.MonkeyPatch, server: FileServer, target: Path
) -> None:
    url = server.put("/file", Answer(BODY))
    with monkeypatch.context() as patched:
        patched.setattr("tools.common.downloads._Transfer._count", interrupted_after(200_000))
        with pytest.raises(KeyboardInterrupt):
            bring(url, target)
    assert [path.name for path in target.parent.iterdir()] == [part_of(target).name]
    left = part_of(target).stat().st_size

    bring(url, target)

    only_file(target)
    assert server.requests[-1] == f"GET /file bytes={left}-"


def test_two_processes_download_a_file_once(server: FileServer, target: Path) -> None:
    go_on = threading.Event()
    url = server.put("/file", Answer(BODY, wait_for=go_on))
    program = (
        "import sys; from pathlib import Path; from tools.common.downloads import download; "
        f"download({url!r}, Path({str(target)!r}), sha256={SHA256!r}, size={len(BODY)})"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command) as first:
        assert server.asked.wait(60)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout is not None
            assert "waiting for another process" in second.stdout.readline()
            go_on.set()

    assert (first.returncode, second.returncode) == (0, 0)
    only_file(target)
    assert len(server.requests) == 1
