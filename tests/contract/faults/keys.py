"""Keys that are asked for where they should not be, or not asked for, or guessed."""

from __future__ import annotations

from collections.abc import Mapping

from tests.contract.faults.fault import Faults
from tests.support.refusals import RefusalError
from tests.support.toy.front import ToyFront

FAULTS = Faults()


@FAULTS.add("one spelling of Bearer", caught_by={"keys_are_read_in_every_spelling"})
class OneSpellingOfBearer(ToyFront):
    def is_bearer(self, scheme: str) -> bool:
        return scheme == "Bearer"


@FAULTS.add("a part of a key is enough", caught_by={"wrong_keys_are_refused"})
class PartOfAKeyIsEnough(ToyFront):
    def fits(self, key: str) -> bool:
        return str(self.key).startswith(key)


@FAULTS.add("no challenge", caught_by={"wrong_keys_are_refused"})
class NoChallenge(ToyFront):
    def check_key(self, path: str, headers: Mapping[str, str]) -> None:
        try:
            super().check_key(path, headers)
        except RefusalError as refusal:
            refusal.headers.clear()
            raise


@FAULTS.add("metrics without a key", caught_by={"everything_but_health_is_closed"})
class MetricsWithoutAKey(ToyFront):
    def needs_key(self, path: str) -> bool:
        return path != "/metrics" and super().needs_key(path)
