"""Every contract check can fail: each fault of the wrong server is caught by its checks."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path

import pytest

from tests.contract import checks
from tests.contract.checks import elasticsearch, errors, fields, forms, health, numbers, sides
from tests.contract.checks.all import CHECKS, ORDER
from tests.contract.checks.check import Check
from tests.support import sockets
from tests.support.published import published
from tests.support.wrong_server import FAULTS, ToyReference, WrongServer
from tools.facts.models import load_models

MODELS = load_models().models
BY_NAME = {check.name: check for check in CHECKS}
REFUSALS = {f"refuses_{name}" for name in errors.BAD_REQUESTS}
NORMS = {f"refuses_{name}" for name in errors.BAD_REQUESTS if name.startswith("embd_normalize")}
FIELDS = {f"refuses_field_{name}" for name in fields.REFUSED}
REFERENCES = {f"reference_{length}_tokens" for length in numbers.LENGTHS}

ADDS_PREFIX = {f"side_{name}" for name in sides.WAYS}
ELASTIC_SHORT = {
    f"elasticsearch_{name}_{way}"
    for name in elasticsearch.VERSIONS
    for way in ("semantic-text", "dense-vector")
}
SIDE_CLIENTS = {"side_from_openai_client", "langchain_client"}

#: The fields of other APIs that are refused; those of a contradiction are caught apart.
OTHER_FIELDS = {
    f"refuses_field_{name}" for name in fields.REFUSED if not name.startswith(("two_", "not_"))
} - {"refuses_field_truncate_start"}

#: Which checks catch which fault. A fault may be caught by others too; these must catch it.
CAUGHT_BY: dict[str, set[str]] = {
    "wrong dims": {"dims", "fields", "serves_1_tokens"},
    "unnormalised": {"unit_norm", "elasticsearch_8.15_classic"},
    "constant": {"distinct", "concurrent_clients", "prefix_asymmetry"},
    "zeros": {"finite", "unit_norm"},
    "nan": {"finite", "fields"},
    "not deterministic": {"deterministic", "base64_equals_float"},
    "imprecise": REFERENCES | {"published_vectors"},
    "mean pooling": {"reference_16_tokens", "reference_2000_tokens", "model_card_similarities"},
    "prefix blind": {"prefix_asymmetry", "prefixes_help"},
    "leading numbers meaningless": {"matryoshka"},
    "retrieval broken": {
        "lexical_searches",
        "searches",
        "model_card_similarities",
        "elasticsearch_9.0_classic",
    },
    "neighbours in a batch mix": {"batch_equals_single", "batch_64_in_order"},
    "beginning cut off": {"serves_context"},
    "ASCII only": {"text_accents", "text_chinese", "text_emoji", "text_right_to_left"},
    "C strings": {"text_nul"},
    "control characters dropped": {"text_newline_only", "text_control_characters"},
    "token arrays read as text": {"token_array", "list_of_token_arrays", "mixed_input"},
    "strings split into words": {"single_string"},
    "decomposed texts kept": {"normal_form"},
    "every text composed": {"normal_form"},
    "look-alikes are control tokens": {"look_alikes_are_text"},
    "another tokenizer": {"published_tokens"},
    "answers shuffled": {"batch_2_in_order", "batch_64_in_order", "elasticsearch_8.15_classic"},
    "index from one": {"batch_1_in_order", "fields"},
    "batches end at 256": {"batch_300_in_order"},
    "usage off by one": {
        "usage_counts_tokens",
        "openai_client",
        "serves_1_tokens",
        "serves_511_tokens",
        "serves_512_tokens",
    },
    "fields missing": {"fields"},
    "base64 of float64": {
        "base64_equals_float",
        "openai_client",
        "elasticsearch_request",
        "elasticsearch_9.5_classic",
    },
    "dimensions ignored": {
        "dimensions",
        "dimensions_from_clients",
        "elasticsearch_9.5_dense-vector",
    },
    "dimensions not normalised": {"dimensions"},
    "dimensions refused without a reason": {"dimensions_refusal_names_sizes"},
    "null fields refused": {"null_fields"},
    "sides ignored": ADDS_PREFIX | SIDE_CLIENTS | {"side_single_text", "side_with_dimensions"},
    "sides swapped": ADDS_PREFIX
    | SIDE_CLIENTS
    | {"side_single_text", "side_with_dimensions", "elasticsearch_custom"},
    "prefix doubled": ADDS_PREFIX,
    "prefix not counted": ADDS_PREFIX,
    "path prefixes ignored": {"side_query_path", "side_document_path"}
    | SIDE_CLIENTS
    | ELASTIC_SHORT,
    "wrong sides accepted": {f"side_refuses_{name}" for name in (*sides.REFUSED, "token_array")},
    "a side yields to a prefix": {"side_wins_over_a_prefix"},
    "tasks refused without a reason": {"other_tasks_are_told_why"},
    "other APIs' fields ignored": OTHER_FIELDS
    | {f"form_{name}" for name in forms.FORMS}
    | {"base64_by_every_name", "dtype_and_base64", "sizes_by_every_name", "cuts_by_every_name"}
    | {"side_prompt_name_query", "side_prompt_name_document", "side_task_type_query"},
    "harmless fields refused": {"harmless_fields"},
    "contradictions taken": {"refuses_field_two_forms", "refuses_field_two_dtypes"}
    | {f"refuses_field_two_{name}" for name in ("sizes", "cuts", "norms")},
    "text objects refused": {"text_objects"},
    "objects refused without a name": {"other_objects_are_named"},
    "any tokens taken": {"tokens_without_the_end"},
    "bits in another order": {"sides_have_forms"}
    | {f"form_{name}{more}" for name in ("binary", "ubinary") for more in ("", "_with_dimensions")},
    "binary wraps around": {"form_binary", "form_binary_with_dimensions"},
    "steps rounded down": {"form_int8", "form_uint8"},
    "whole before it is short": {"form_int8_with_dimensions", "form_uint8_with_dimensions"},
    "base64 is always of floats": {"dtype_and_base64"},
    "always normalised": {"not_normalized"},
    "TEI in OpenAI's form": {"tei_embeds", "tei_embeds_sides_and_sizes"},
    "TEI's errors in OpenAI's form": {"tei_errors"},
    "limits unsaid": {"tei_info"},
    "errors without detail": {"errors_can_be_shown"},
    "codes are numbers": {"errors_can_be_shown"},
    "fields unnamed": {"errors_name_the_field"},
    "one base": {"bases_have_what_clients_ask"},
    "the path names the form": {"the_field_names_the_form"},
    "slashes count": {"slashes_are_forgiven"},
    "concurrent answers swapped": {"concurrent_clients"},
    "another model's name": {"models", "fields"},
    "synthetic weights unnamed": {"models"},
    "answers under another model's name": {"fields", "model_named_in_request"},
    "errors are 500": REFUSALS | FIELDS | {"openai_client_error", "refuses_more_than_context"},
    "errors are text": REFUSALS | {"openai_client_error", "refuses_more_than_context"},
    "bad requests accepted": REFUSALS | {"openai_client_error", "refuses_more_than_context"},
    "unknown fields refused": {"elasticsearch_request"},
    "broken after an error": {"serves_after_bad_requests", "serves_after_too_long_input"},
    "micro-batch of 512": {
        "serves_513_tokens",
        "serves_2047_tokens",
        "serves_2048_tokens",
        "serves_2049_tokens",
        "serves_context",
    },
    "context refused": {"serves_context"},
    "more than context accepted": {
        "refuses_more_than_context",
        "serves_after_too_long_input",
        "refuses_a_text_of_megabytes",
    },
    "limit unnamed": {"refuses_more_than_context"},
    "truncation unsaid": {"truncates", "truncates_nothing"},
    "truncation loses the end": {"truncates"},
    "truncation everywhere": {"truncates", "truncates_nothing"},
    "generates text": {"serves_embeddings_only"},
    "methods unchecked": {"other_methods_are_named"},
    "reads every body first": {
        "unknown_route_is_refused_before_its_body",
        "foreign_pages_are_refused_before_their_body",
        "refuses_a_huge_body_unread",
    },
    "capabilities unsaid": {"models_say_what_they_can"},
    "no entry for a model": {"a_model_has_an_entry_of_its_own"},
    "model echoed": {"answers_name_the_model_that_computed"},
    "own name in one spelling": {"its_own_name_has_spellings"},
    "every model's name taken": {"the_other_model_is_not_here"},
    "any number of inputs": {"refuses_too_many_inputs"},
    "bodies of any size": {"refuses_a_huge_body_unread"},
    "wrong values sent back whole": {"refusals_are_short"},
    "answers in Latin-1": {"latin1_is_refused_in_utf8"},
    "embd_normalize unchecked": NORMS,
    "one spelling of Bearer": {"keys_are_read_in_every_spelling"},
    "a part of a key is enough": {"wrong_keys_are_refused"},
    "no challenge": {"wrong_keys_are_refused"},
    "metrics without a key": {"everything_but_health_is_closed"},
    "health needs a key": {"health_needs_no_key"},
    "every origin is let in": {
        "foreign_pages_are_refused",
        "foreign_pages_are_refused_before_their_body",
        "foreign_preflights_are_refused",
    },
    "health hidden from browsers": {"health_is_readable_for_pages"},
    "browsers are told of any answer": {"other_clients_see_nothing_of_it"},
    "request ids dropped": {"request_ids_are_sent_back", "request_ids_are_made"},
    "any request id taken": {"request_ids_are_made"},
    "never healthy": {"health", "health_needs_no_key"},
    "never ready": {"ready", "serves_what_it_says"},
    "no metrics": {"metrics"},
    "metrics stand still": {"metrics", "metrics_count_what_is_done"},
    "histogram without an end": {"metrics_have_a_histogram"},
    "gauges missing": {"metrics_tell_what_waits"},
}


#: Faults that only a model whose tokenizer normalises can have.
OF_SMALL = {"decomposed texts kept"}

#: The toy's key: it asks for one, so that the checks of keys have something to judge.
KEY = "toy-key"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a toy does not do at once it never does."""
    monkeypatch.setattr(sockets, "HANG_SECONDS", 1.0)
    monkeypatch.setattr(health, "COUNTED_SECONDS", 0.5)


@pytest.fixture(autouse=True)
def toy_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a toy's "model file" be just its model's name."""
    monkeypatch.setattr(
        numbers, "reference", lambda model_file: ToyReference(MODELS[model_file.name])
    )


def run(check: Check, server: WrongServer) -> None:
    check.run(server.described(model_file=Path(server.model.name)))


@pytest.mark.parametrize("model", MODELS)
def test_without_a_fault_every_check_passes(model: str) -> None:
    with WrongServer(MODELS[model], synthetic=False, api_key=KEY) as server:
        for check in CHECKS:
            if "published-figures" not in check.needs or model in published():
                run(check, server)


def test_without_a_fault_synthetic_weights_are_named_so() -> None:
    with WrongServer(MODELS["nano"], synthetic=True, api_key=KEY) as server:
        run(BY_NAME["models"], server)


@pytest.mark.parametrize(
    ("fault", "name"), [(fault, name) for fault in CAUGHT_BY for name in sorted(CAUGHT_BY[fault])]
)
def test_fault_is_caught(fault: str, name: str) -> None:
    synthetic = "real-weights" not in BY_NAME[name].needs
    model = MODELS["small" if fault in OF_SMALL else "nano"]
    wrong = WrongServer(model, fault, synthetic=synthetic, api_key=KEY)
    with wrong as server, pytest.raises(AssertionError):
        run(BY_NAME[name], server)


def test_every_check_catches_a_fault() -> None:
    assert set().union(*CAUGHT_BY.values()) == set(BY_NAME)


def test_every_fault_is_caught() -> None:
    assert set(CAUGHT_BY) == FAULTS


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(CHECKS)


def test_every_module_of_checks_has_its_place() -> None:
    """A module that all.py does not list would never run."""
    names = [module.name for module in pkgutil.iter_modules(checks.__path__)]
    modules = {name: import_module(f"{checks.__name__}.{name}") for name in names if name != "all"}
    assert {name for name, module in modules.items() if hasattr(module, "CHECKS")} == set(ORDER)
