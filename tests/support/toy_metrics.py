"""The metrics of the toy server, in Prometheus' text format."""

from __future__ import annotations

from collections import Counter

#: Upper bounds of the histogram's buckets, in seconds; every request of the toy is in the first.
_BOUNDS = ("0.1", "1", "10", "+Inf")


class ToyMetrics:
    """What the toy has done so far, right or with a fault."""

    def __init__(self, fault: str | None) -> None:
        self.fault = fault
        self.requests: Counter[tuple[str, int]] = Counter()
        self.embeddings = 0
        self.inputs = 0
        self.tokens = 0

    def answered(self, path: str, status: int) -> None:
        """Count a request."""
        self.requests[path, status] += 1

    def embedded(self, inputs: int, tokens: int) -> None:
        """Count what a request for embeddings computed."""
        self.embeddings += 1
        self.inputs += inputs
        self.tokens += tokens

    def text(self) -> str:
        """Return all of it as ``/metrics`` does."""
        still = self.fault == "metrics stand still"
        lines = [f"llamacpp:prompt_tokens_total {0 if still else self.tokens}"]
        if not still:
            lines += [
                f'jina_requests_total{{path="{path}",status="{status}"}} {count}'
                for (path, status), count in self.requests.items()
            ]
        lines += [f"jina_inputs_total {self.inputs}", f"jina_tokens_total {self.tokens}"]
        bounds = _BOUNDS[:-1] if self.fault == "histogram without an end" else _BOUNDS
        lines += [f'jina_request_seconds_bucket{{le="{le}"}} {self.embeddings}' for le in bounds]
        lines += [
            f"jina_request_seconds_sum {0.001 * self.embeddings}",
            f"jina_request_seconds_count {self.embeddings}",
            "jina_waiting_inputs 0",
            "jina_waiting_bytes 0",
        ]
        if self.fault != "gauges missing":
            lines += ["jina_connections 1", "jina_ready 1"]
        return "\n".join(lines) + "\n"
