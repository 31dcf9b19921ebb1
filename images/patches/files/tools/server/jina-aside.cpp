#include "jina-aside.h"

#include "jina-cache.h"
#include "jina-result.h"
#include "jina-turns.h"

#include "common.h"
#include "ggml.h"
#include "log.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <mutex>

namespace {

// What is computed at once: some 50 ms on two cores.
const int32_t N_TOKENS = 512;
const int32_t N_INPUTS = 16;

// Multiplications of a part, after which others may go first: some 10 ms on two cores. What is shorter than
// that is never divided.
const double PART = 2e9;

struct aside_context {
    llama_context *          ctx     = nullptr;
    server_response *        results = nullptr;
    std::function<int64_t()> turn_of_batch;
    double                   multiplied = 0; // since the last part

    std::mutex               mutex;        // of what follows
    bool                     open = false; // a batch is being computed
    std::vector<server_task> waiting;
    std::vector<server_task> failed; // which are left to the server itself

    std::atomic<size_t> n_computed{ 0 };
};

aside_context & aside() {
    static aside_context the_only;
    return the_only;
}

double multiplications(const ggml_tensor * node) {
    if (node->op == GGML_OP_MUL_MAT) {
        return (double) ggml_nelements(node) * node->src[0]->ne[0];
    }
    if (node->op == GGML_OP_FLASH_ATTN_EXT) {
        return 2.0 * ggml_nelements(node->src[0]) * node->src[1]->ne[1];
    }
    return 0;
}

// Takes those out that are computed next: in the order of their turns, as many as one batch holds.
std::vector<server_task> next_inputs(int64_t turn_of_batch) {
    std::lock_guard<std::mutex> lock(aside().mutex);
    std::vector<server_task> &  waiting = aside().waiting;
    std::sort(waiting.begin(), waiting.end(), jina_comes_before);
    int32_t n_tokens = 0;
    auto    end      = waiting.begin();
    while (end != waiting.end() && end - waiting.begin() < N_INPUTS && end->turn_us < turn_of_batch &&
           n_tokens + end->n_tokens() <= N_TOKENS) {
        n_tokens += end->n_tokens();
        ++end;
    }
    std::vector<server_task> next(std::make_move_iterator(waiting.begin()), std::make_move_iterator(end));
    waiting.erase(waiting.begin(), end);
    return next;
}

// Every token of a batch is an output where embeddings are pooled. Newer sources have a limit for these,
// which the server sets to the size of its own batches; 0 is that of the context's.
template <typename Params> auto allow_all_outputs(Params & params, int) -> decltype(params.n_outputs_max, void()) {
    params.n_outputs_max         = 0;
    params.n_outputs_max_per_seq = 0;
}

template <typename Params> void allow_all_outputs(Params &, long) {}

bool decode(const std::vector<server_task> & inputs) {
    llama_batch batch = llama_batch_init(N_TOKENS, 0, 1);
    for (size_t i = 0; i < inputs.size(); i++) {
        llama_pos position = 0;
        for (llama_token token : inputs[i].tokens.get_text_tokens()) {
            const int32_t n    = batch.n_tokens++;
            batch.token[n]     = token;
            batch.pos[n]       = position++;
            batch.n_seq_id[n]  = 1;
            batch.seq_id[n][0] = (llama_seq_id) i;
            batch.logits[n]    = true;
        }
    }
    if (llama_memory_t memory = llama_get_memory(aside().ctx)) {
        llama_memory_clear(memory, false);
    }
    const bool done = llama_decode(aside().ctx, batch) == 0;
    llama_batch_free(batch);
    return done;
}

// The result of an input that was decoded; none where its vector is not finite.
server_task_result_ptr result_of(const server_task & input, llama_seq_id i) {
    const int     n_embd = llama_model_n_embd_out(llama_get_model(aside().ctx));
    const float * found  = llama_get_embeddings_seq(aside().ctx, i);
    if (!found || !std::all_of(found, found + n_embd, [](float number) { return std::isfinite(number); })) {
        return nullptr;
    }
    std::vector<float> vector(n_embd);
    common_embd_normalize(found, vector.data(), n_embd, input.params.embd_normalize);
    jina_keep(input, vector);
    return jina_result(input, std::move(vector));
}

void compute_next() {
    std::vector<server_task> inputs = next_inputs(aside().turn_of_batch());
    if (inputs.empty()) {
        return;
    }
    const bool done = decode(inputs);
    for (size_t i = 0; i < inputs.size(); i++) {
        if (server_task_result_ptr result = done ? result_of(inputs[i], (llama_seq_id) i) : nullptr) {
            aside().results->send(std::move(result));
            aside().n_computed++;
        } else {
            std::lock_guard<std::mutex> lock(aside().mutex);
            aside().failed.push_back(std::move(inputs[i]));
        }
    }
}

// ggml asks after which nodes to stop, and calls again when all up to such a node is computed.
bool on_node(ggml_tensor * node, bool ask, void *) {
    if (!aside().ctx) {
        return !ask;
    }
    if (ask) {
        aside().multiplied += multiplications(node);
        return aside().multiplied >= PART;
    }
    aside().multiplied = 0;
    compute_next();
    return true;
}

} // namespace

void jina_prepare_aside(common_params & params) {
    // A GPU computes a batch in milliseconds, and is slower where it has to stop.
    if (params.embedding && !llama_supports_gpu_offload()) {
        params.cb_eval = on_node;
    }
}

void jina_start_aside(llama_model * model, common_params params, server_response & results, std::function<int64_t()> turn_of_batch) {
    if (params.cb_eval != on_node) {
        return;
    }
    llama_context_params wanted = common_context_params_to_llama(params);
    wanted.n_ctx                = N_TOKENS;
    wanted.n_batch              = N_TOKENS;
    wanted.n_ubatch             = N_TOKENS;
    wanted.n_seq_max            = N_INPUTS;
    wanted.kv_unified           = true;
    wanted.cb_eval              = nullptr;
    allow_all_outputs(wanted, 0);

    aside().results       = &results;
    aside().turn_of_batch = std::move(turn_of_batch);
    common_log_pause(common_log_main()); // it would warn that the context is small
    aside().ctx = llama_init_from_model(model, wanted);
    common_log_resume(common_log_main());
    if (!aside().ctx) {
        LOG_WRN("no context of %d tokens could be made: a search waits for the end of each batch\n", N_TOKENS);
    }
}

void jina_stop_aside() {
    if (aside().ctx) {
        llama_free(aside().ctx);
        aside().ctx = nullptr;
    }
}

void jina_open_aside() {
    std::lock_guard<std::mutex> lock(aside().mutex);
    aside().open = aside().ctx != nullptr;
}

bool jina_take_aside(std::vector<server_task> & inputs) {
    int32_t n_tokens = 0;
    for (const server_task & each : inputs) {
        n_tokens += each.type == SERVER_TASK_TYPE_EMBEDDING ? each.n_tokens() : N_TOKENS + 1;
        if (n_tokens > N_TOKENS) {
            return false;
        }
    }
    std::lock_guard<std::mutex> lock(aside().mutex);
    if (!aside().open) {
        return false;
    }
    jina_give_turns(inputs);
    std::move(inputs.begin(), inputs.end(), std::back_inserter(aside().waiting));
    return true;
}

std::vector<server_task> jina_close_aside() {
    std::lock_guard<std::mutex> lock(aside().mutex);
    aside().open = false;
    std::vector<server_task> left;
    for (std::vector<server_task> * each : { &aside().waiting, &aside().failed }) {
        std::move(each->begin(), each->end(), std::back_inserter(left));
        each->clear();
    }
    return left;
}

size_t jina_count_aside() {
    return aside().n_computed;
}
