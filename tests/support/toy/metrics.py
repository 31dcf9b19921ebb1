"""The metrics of the toy, in Prometheus' text format."""

from __future__ import annotations

from collections import Counter


class ToyMetrics:
    """What the toy has done so far."""

    #: Upper bounds of the histogram's buckets, in seconds; every request is in the first.
    bounds: tuple[str, ...] = ("0.1", "1", "10", "+Inf")

    gauges: tuple[str, ...] = (
        "jina_waiting_inputs 0",
        "jina_waiting_bytes 0",
        "jina_connections 1",
        "jina_ready 1",
    )

    def __init__(self) -> None:
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
        lines = [
            f"llamacpp:prompt_tokens_total {self.tokens}",
            *(
                f'jina_requests_total{{path="{path}",status="{status}"}} {count}'
                for (path, status), count in self.requests.items()
            ),
            f"jina_inputs_total {self.inputs}",
            f"jina_tokens_total {self.tokens}",
            *(
                f'jina_request_seconds_bucket{{le="{bound}"}} {self.embeddings}'
                for bound in self.bounds
            ),
            f"jina_request_seconds_sum {0.001 * self.embeddings}",
            f"jina_request_seconds_count {self.embeddings}",
            *self.gauges,
        ]
        return "\n".join(lines) + "\n"
