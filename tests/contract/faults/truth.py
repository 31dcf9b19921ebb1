"""Answers that lie about the model that computed them."""

from __future__ import annotations

from tests.contract.faults.fault import Faults
from tests.support.toy.identity import ToyIdentity, bare, base_name, refusal_of_model

FAULTS = Faults()


@FAULTS.add("model echoed", caught_by={"answers_name_the_model_that_computed"})
class ModelEchoed(ToyIdentity):
    def named(self, asked: str) -> str:
        return asked or super().named(asked)


@FAULTS.add("own name in one spelling", caught_by={"its_own_name_has_spellings"})
class OwnNameInOneSpelling(ToyIdentity):
    def named(self, asked: str) -> str:
        own = base_name(self.model.name)
        if bare(asked) == own != asked:
            raise refusal_of_model(f"{asked} is not served")
        return super().named(asked)


@FAULTS.add("every model's name taken", caught_by={"the_other_model_is_not_here"})
class EveryModelsNameTaken(ToyIdentity):
    def named(self, asked: str) -> str:
        return self.name
