// Vectors that were computed, for inputs that come again: search traffic repeats itself. A vector depends
// on its input alone, so a kept one is what would be computed.

#pragma once

#include "server-task.h"

#include <cstddef>
#include <vector>

// The result of an input whose vector is kept; none otherwise.
server_task_result_ptr jina_kept(const server_task & input);

// Takes the inputs out whose vectors are kept, and returns their results.
std::vector<server_task_result_ptr> jina_take_kept(std::vector<server_task> & inputs);

// Keeps the vector of an input. Those that were not used for the longest make room for it.
void jina_keep(const server_task & input, const std::vector<float> & vector);

struct jina_cache_numbers {
    size_t n_hits    = 0; // inputs whose vectors were kept
    size_t n_misses  = 0; // inputs whose vectors were computed
    size_t n_vectors = 0;
    size_t n_bytes   = 0;
};

jina_cache_numbers jina_count_cache();
