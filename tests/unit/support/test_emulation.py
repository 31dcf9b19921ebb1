"""The kernel is told of QEMU by the first test that needs it, and forgets it with the last."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import emulation

IMAGE = "an-image-for-arm64"


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of the kernel's entry: a file, which says "to unmount" where that was asked."""
    entry = tmp_path / "entry"

    def register() -> bool:
        entry.touch(exist_ok=False)
        return True

    def unregister(*, unmount: bool) -> None:
        entry.rename(tmp_path / ("to-unmount" if unmount else "stays-mounted"))

    monkeypatch.setenv("JINA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(emulation, "ENTRY", entry)
    monkeypatch.setattr(emulation, "register", register)
    monkeypatch.setattr(emulation, "unregister", unregister)
    monkeypatch.setattr(emulation, "runs", lambda _: entry.exists())
    return entry


@pytest.mark.parametrize("first_to_end", [0, 1])
def test_it_lasts_as_long_as_somebody_needs_it(entry: Path, first_to_end: int) -> None:
    uses = [ExitStack(), ExitStack()]
    for use in uses:
        use.enter_context(emulation.runnable(IMAGE))
    uses.pop(first_to_end).close()
    assert entry.exists()
    uses.pop().close()
    assert not entry.exists()
    assert entry.with_name("to-unmount").exists()


def test_it_can_be_needed_again(entry: Path) -> None:
    for _ in range(2):
        with emulation.runnable(IMAGE):
            assert entry.exists()
        assert not entry.exists()


def test_what_a_killed_run_has_left_is_used_and_removed(entry: Path) -> None:
    entry.touch()
    with emulation.runnable(IMAGE):
        assert entry.exists()
    assert not entry.exists()
    assert entry.with_name("stays-mounted").exists()


def test_a_machine_that_runs_it_is_left_alone(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulation, "runs", lambda _: True)
    with emulation.runnable(IMAGE):
        assert not entry.exists()
    assert list(entry.parent.glob("*mount*")) == []
