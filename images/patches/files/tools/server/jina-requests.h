// What is done with every request before and behind its handler: which routes there are, who may use
// them, what the request costs while it waits, its line in the log and its numbers in /metrics.

#pragma once

#include "jina-connections.h"
#include "server-http.h"

#include <nlohmann/json.hpp>

#include <atomic>
#include <string>

struct common_params;
struct server_routes;

// To be called once the server has its own handlers: ours take their place.
void jina_configure_http(httplib::Server & server, const common_params & params, const std::atomic<bool> & is_ready);

// The prefix of all paths (--api-prefix), as it was configured.
const std::string & jina_api_prefix();

// Calls a handler: the server does not end before it is done. What it throws, or says in llama.cpp's form
// of an error, is answered in ours; a body that is nested too deeply is refused.
server_http_res_ptr jina_call(const server_http_context::handler_t & handler, const server_http_req & request);

// An error in the form of the API whose path was asked for (jina-apis.h).
std::string jina_error(const std::string & message, const std::string & type,
                       const nlohmann::ordered_json & more = nlohmann::ordered_json::object());

// An answer with such an error.
server_http_res_ptr jina_refusal(int status, const std::string & message, const std::string & type,
                                 const nlohmann::ordered_json & more = nlohmann::ordered_json::object());

// The id of the request that this thread works on, its own or one that was made.
const std::string & jina_request_id();

// Takes room for so many inputs that wait; false if there is none, and counts the refusal. It is given
// back when the request's answer was written.
bool jina_take_inputs(size_t n_inputs);

// For the request's line in the log and for /metrics.
void jina_note_tokens(size_t n_tokens);

// /metrics: the server's own numbers as of the last batch, and ours. The server's own handler waits
// for the batch in work, which can take a minute.
server_http_context::handler_t jina_metrics(server_http_context::handler_t upstream);

// Writes a line about a setting to the log, at any level.
void jina_log_setting(const std::string & name, const std::string & value);
