// What jina-embeddings-v5 adds to llama-server; the patches beside this file put it in place.

#pragma once

#include "server-http.h"

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

struct server_context;
struct server_routes;

// True for an error that the client made: it sent JSON that cannot be parsed, another type than
// the one that a handler reads, a number (as of a token) out of range, or what upstream calls invalid.
bool jina_is_clients_error(const std::exception & error);

// Throws std::invalid_argument for JSON nested so deeply that walking it would overflow a stack.
void jina_check_nesting(const std::string & body);

// Counts an embedded input in /metrics, for a server that by itself counts only the prompts of
// completions. One that counts every prompt lacks this member, and is left alone.
template <typename Metrics, typename Slot>
auto jina_count_prompt(Metrics & metrics, Slot & slot, int64_t now) -> decltype(metrics.on_prompt_eval(slot)) {
    slot.t_prompt_processing = (now - slot.t_start_process_prompt) / 1e3;
    metrics.on_prompt_eval(slot);
}

template <typename Metrics, typename Slot>
void jina_count_prompt(const Metrics &, const Slot &, int64_t) {}

// Handlers in front of upstream's embeddings handlers: they refuse what cannot be embedded with
// a 400 that says why, and know the fields of the APIs that clients come from (jina-fields.h).
class jina_embeddings {
  public:
    // Reads the settings from the environment and goes in front of the routes' own handlers.
    // False, and says why in the log, where a setting is wrong or a GPU is required and missing.
    bool init(server_routes & routes);

    // Takes over the model's limits; to be called once it is loaded, before any request.
    void model_loaded(const server_context & server);

    // The routes that llama-server does not have, with their handlers.
    std::vector<std::pair<const char *, server_http_context::handler_t>> posts;
    std::vector<std::pair<const char *, server_http_context::handler_t>> gets;

  private:
    struct impl;
    std::shared_ptr<impl> self;
};
