"""What a check is, and how a module makes one of a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tests.support.client import Client
from tests.support.server import Server

Function = TypeVar("Function", bound=Callable[[Server, Client], None])


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


class Checks(list[Check]):
    """The checks of a module, in the order in which they stand there."""

    def add(
        self,
        name: str | None = None,
        *,
        needs: tuple[str, ...] = (),
        xfail: str | None = None,
        xfail_with: tuple[str, ...] = Check.xfail_with,
    ) -> Callable[[Function], Function]:
        """Return a decorator that makes a check of a function; ``Check`` describes the rest.

        The function's own name is the check's, unless another is given: one function is often
        many checks, each with a row of a table.
        """

        def added(function: Function) -> Function:
            self.append(Check(name or function.__name__, function, needs, xfail, xfail_with))
            return function

        return added
