"""Health and metrics that say nothing, or not to everybody who must know."""

from __future__ import annotations

from typing import Any

from tests.contract.faults.fault import Faults
from tests.support.refusals import RefusalError
from tests.support.toy.front import ToyFront
from tests.support.toy.metrics import ToyMetrics
from tests.support.toy.routes import ToyRoutes

FAULTS = Faults()


@FAULTS.add("health needs a key", caught_by={"health_needs_no_key"})
class HealthNeedsAKey(ToyFront):
    def needs_key(self, path: str) -> bool:
        return True


@FAULTS.add("never healthy", caught_by={"health", "health_needs_no_key"})
class NeverHealthy(ToyRoutes):
    def told(self, path: str) -> dict[str, Any] | str | None:
        if path in ("/health", "/v1/health"):
            raise RefusalError(503, "unavailable_error", "Loading model")
        return super().told(path)


@FAULTS.add("never ready", caught_by={"ready", "serves_what_it_says"})
class NeverReady(ToyRoutes):
    def told(self, path: str) -> dict[str, Any] | str | None:
        if path == "/ready":
            raise RefusalError(503, "unavailable_error", "Loading model")
        return super().told(path)


@FAULTS.add("no metrics", caught_by={"metrics"})
class NoMetrics(ToyRoutes):
    def told(self, path: str) -> dict[str, Any] | str | None:
        return None if path == "/metrics" else super().told(path)


@FAULTS.add("metrics stand still", caught_by={"metrics", "metrics_count_what_is_done"})
class MetricsStandStill(ToyMetrics):
    def answered(self, path: str, status: int) -> None:
        pass

    def embedded(self, inputs: int, tokens: int) -> None:
        pass


@FAULTS.add("histogram without an end", caught_by={"metrics_have_a_histogram"})
class HistogramWithoutAnEnd(ToyMetrics):
    bounds = ToyMetrics.bounds[:-1]


@FAULTS.add("gauges missing", caught_by={"metrics_tell_what_waits"})
class GaugesMissing(ToyMetrics):
    gauges = ToyMetrics.gauges[:2]
