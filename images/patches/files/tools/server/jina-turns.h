#pragma once

// The order in which waiting inputs are computed.

#include <cstdint>
#include <deque>
#include <vector>

struct server_task;

// Gives the inputs of a request their turn, once: now, or later the more tokens the request has.
void jina_give_turns(std::vector<server_task> & inputs);

// Whether the first input has its turn before the second.
bool jina_comes_before(const server_task & first, const server_task & second);

// Puts the input at the front whose turn is first of those that have at most so many tokens, and
// says whether there is one. The order of the others may change.
bool jina_put_next_first(std::deque<server_task> & waiting, int32_t n_tokens_max);
