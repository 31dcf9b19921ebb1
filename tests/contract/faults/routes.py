"""Routes that should not be there, and such as cannot be found."""

from __future__ import annotations

from typing import Any

from tests.contract.faults.fault import Faults
from tests.support.toy.identity import ToyIdentity
from tests.support.toy.request import ToyRequest
from tests.support.toy.routes import ToyRoutes

FAULTS = Faults()


@FAULTS.add("generates text", caught_by={"serves_embeddings_only"})
class GeneratesText(ToyRoutes):
    def check_route(self, method: str, path: str) -> None:
        if self.allowed(path) is not None:
            super().check_route(method, path)

    def nothing(self, path: str) -> dict[str, Any]:
        return {"content": "Once upon a time"}


@FAULTS.add("methods unchecked", caught_by={"other_methods_are_named"})
class MethodsUnchecked(ToyRoutes):
    def check_route(self, method: str, path: str) -> None:
        super().check_route(self.allowed(path) or method, path)

    def nothing(self, path: str) -> dict[str, Any]:
        return {}


@FAULTS.add(
    "reads every body first",
    caught_by={
        "unknown_route_is_refused_before_its_body",
        "foreign_pages_are_refused_before_their_body",
        "refuses_a_huge_body_unread",
    },
)
class ReadsEveryBodyFirst(ToyRoutes):
    def admit(self, request: ToyRequest) -> None:
        request.read()
        super().admit(request)


@FAULTS.add("capabilities unsaid", caught_by={"models_say_what_they_can"})
class CapabilitiesUnsaid(ToyIdentity):
    def entry(self) -> dict[str, Any]:
        return super().entry() | {"capabilities": ["completion"]}


@FAULTS.add("no entry for a model", caught_by={"a_model_has_an_entry_of_its_own"})
class NoEntryForAModel(ToyIdentity):
    def is_own(self, path: str) -> bool:
        return False


@FAULTS.add("one base", caught_by={"bases_have_what_clients_ask"})
class OneBase(ToyRoutes):
    def listed(self, path: str) -> str:
        return self.plain(path)


@FAULTS.add("the path names the form", caught_by={"the_field_names_the_form"})
class ThePathNamesTheForm(ToyRoutes):
    def made(self, path: str, body: bytes) -> dict[str, Any] | list[Any] | None:
        answer = super().made(path, body)
        if path in ("/embeddings", "/embedding") and isinstance(answer, dict):
            return self.own_form(answer)
        return answer


@FAULTS.add("slashes count", caught_by={"slashes_are_forgiven"})
class SlashesCount(ToyRoutes):
    def plain(self, path: str) -> str:
        return path
