// Short inputs that come while a long batch is computed: they are computed between two parts of it, in a
// small context of their own, and do not wait for its end.

#pragma once

#include "server-queue.h"

#include "common.h"
#include "llama.h"

#include <cstdint>
#include <functional>
#include <vector>

// To be called before the server's context is made.
void jina_prepare_aside(common_params & params);

// Makes the context. `turn_of_batch` says when those in work have their turn (jina-turns.h): an input goes
// before them only if its own is earlier.
void jina_start_aside(llama_model * model, common_params params, server_response & results, std::function<int64_t()> turn_of_batch);

// To be called before the model goes.
void jina_stop_aside();

// To be called around the computation of a batch. The second returns what was taken and not computed.
void                     jina_open_aside();
std::vector<server_task> jina_close_aside();

// Takes the inputs of a request if they are short and a batch is being computed.
bool jina_take_aside(std::vector<server_task> & inputs);

// So many inputs were computed aside so far.
size_t jina_count_aside();
