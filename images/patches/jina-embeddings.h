// What jina-embeddings-v5 adds to llama-server; the patches beside this file put it in place.

#pragma once

#include "server-http.h"

#include <exception>
#include <memory>
#include <string>

struct server_context;
struct server_routes;

// True for an error that the client made: it sent JSON that cannot be parsed, another type than
// the one that a handler reads, or a number (as of a token) out of range.
bool jina_is_clients_error(const std::exception & error);

// Throws std::invalid_argument for JSON nested so deeply that walking it would overflow a stack.
void jina_check_nesting(const std::string & body);

// Handlers in front of upstream's embeddings handlers: they refuse what cannot be embedded with
// a 400 that says why, and know `dimensions`, `input_type`, `task` and `truncate`.
class jina_embeddings {
  public:
    // Reads the settings from the environment and goes in front of the routes' own handlers.
    // False, and says why in the log, where a setting is wrong.
    bool init(server_routes & routes);

    // Takes over the model's limits; to be called once it is loaded, before any request.
    void model_loaded(const server_context & server);

    server_http_context::handler_t post_query;    // post_embeddings_oai, each text a query
    server_http_context::handler_t post_document; // post_embeddings_oai, each text a document

  private:
    struct impl;
    std::shared_ptr<impl> self;
};
