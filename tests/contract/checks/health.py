"""Health and metrics: what balancers, Kubernetes and Prometheus read, without a key for health."""

from __future__ import annotations

from tests.contract.checks.check import Checks
from tests.contract.checks.inputs import different_texts
from tests.support.client import Client, describe
from tests.support.samples import Samples
from tests.support.server import Server
from tests.support.waiting import wait_until

CHECKS = Checks()

_NO_METRICS = "llama-server has none of these metrics"

#: Seconds in which an answered request must be in the metrics: it is written down right after.
COUNTED_SECONDS = 5.0

GAUGES = ("jina_waiting_inputs", "jina_waiting_bytes", "jina_connections", "jina_ready")


@CHECKS.add(xfail="llama-server has no /ready")
def health_needs_no_key(server: Server, _client: Client) -> None:
    """Who asks for health or readiness need not be trusted with a key."""
    with Client(server.base_url) as stranger:
        for path in ("/health", "/v1/health"):
            response = stranger.request("GET", path)
            assert response.status_code == 200, describe(response)
            assert response.json() == {"status": "ok"}
        response = stranger.request("GET", "/ready")
        assert response.status_code == 200, describe(response)


@CHECKS.add(xfail="llama-server has no /ready")
def ready(_server: Server, client: Client) -> None:
    """``/ready`` says that requests may be sent; a server under a test is ready."""
    response = client.request("GET", "/ready")
    assert response.status_code == 200, describe(response)
    assert response.json() == {"status": "ready"}


@CHECKS.add(xfail=_NO_METRICS)
def metrics_count_what_is_done(_server: Server, client: Client) -> None:
    """Requests by path and status, inputs, tokens and seconds are counted."""
    texts = different_texts(3)
    before = client.samples()
    used = client.embeddings(texts)["usage"]["prompt_tokens"]

    def counted() -> bool:
        """At least, not exactly: others may use the server at the same time."""
        now = client.samples()
        return (
            now.total("jina_requests_total", path="/v1/embeddings", status="200")
            >= before.total("jina_requests_total", path="/v1/embeddings", status="200") + 1
            and now.total("jina_inputs_total") >= before.total("jina_inputs_total") + len(texts)
            and now.total("jina_tokens_total") >= before.total("jina_tokens_total") + used
        )

    wait_until(counted, "a request in the metrics", COUNTED_SECONDS)


@CHECKS.add(xfail=_NO_METRICS)
def metrics_have_a_histogram(_server: Server, client: Client) -> None:
    """The seconds of embeddings are a histogram, as Prometheus wants one."""
    client.embed(["a text"])

    def whole(now: Samples) -> bool:
        count = now.total("jina_request_seconds_count")
        return count >= 1 and now.total("jina_request_seconds_bucket", le="+Inf") == count

    wait_until(lambda: whole(client.samples()), "a whole histogram", COUNTED_SECONDS)
    now = client.samples()
    assert now.total("jina_request_seconds_sum") > 0
    buckets = now.buckets("jina_request_seconds_bucket")
    assert len(buckets) > 3
    assert buckets == sorted(buckets), "a bucket holds those before it"


@CHECKS.add(xfail=_NO_METRICS)
def metrics_tell_what_waits(_server: Server, client: Client) -> None:
    """Gauges of what waits, of connections and of readiness are there."""
    now = client.samples()
    missing = [name for name in GAUGES if not now.has(name)]
    assert missing == []
    assert now.total("jina_connections") >= 1, "that of this request"
    assert now.total("jina_ready") == 1
