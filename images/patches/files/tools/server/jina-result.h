// The result of an input: its vector, as the server's own code would send it.

#pragma once

#include "server-task.h"

#include <memory>
#include <utility>
#include <vector>

inline server_task_result_ptr jina_result(const server_task & input, std::vector<float> vector) {
    auto result      = std::make_unique<server_task_result_embd>();
    result->id       = input.id;
    result->index    = input.index;
    result->n_tokens = input.n_tokens();
    result->res_type = input.params.res_type;
    result->embedding.push_back(std::move(vector));
    return result;
}
