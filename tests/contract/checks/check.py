"""What a check is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.support.client import Client
from tests.support.server import Server


@dataclass(frozen=True)
class Check:
    """One thing that every server must do; its function raises AssertionError where it fails.

    ``needs`` names requirements of ``test_contract.py`` without which it cannot run. ``xfail``
    says why the bare llama-server, without our patches, fails it with the models ``xfail_with``:
    there it is expected to fail, and strictly.
    """

    name: str
    function: Callable[[Server, Client], None]
    needs: tuple[str, ...] = ()
    xfail: str | None = None
    xfail_with: tuple[str, ...] = ("nano", "small")

    def run(self, server: Server) -> None:
        with Client(server.base_url, server.api_key) as client:
            self.function(server, client)
