#include "jina-turns.h"

#include "llama.h"
#include "server-task.h"

#include <algorithm>
#include <chrono>

// So long a request lets shorter ones overtake it, for each of its tokens. That is some ten times what
// a token takes on two cores, and on a small GPU: a search waits for nobody who sends long texts.
static int64_t us_per_token() {
    static const int64_t us = llama_supports_gpu_offload() ? 400 : 20000;
    return us;
}

// So long at most, so that a long request has its turn however many short ones come.
static const int64_t US_AT_MOST = 60 * 1000 * 1000;

void jina_give_turns(std::vector<server_task> & inputs) {
    int64_t n_tokens = 0;
    for (const server_task & each : inputs) {
        n_tokens += each.n_tokens();
    }
    const auto    since_start = std::chrono::steady_clock::now().time_since_epoch();
    const int64_t now_us      = std::chrono::duration_cast<std::chrono::microseconds>(since_start).count();
    for (server_task & each : inputs) {
        if (each.turn_us == 0) {
            each.turn_us = now_us + std::min(n_tokens * us_per_token(), US_AT_MOST);
        }
    }
}

bool jina_comes_before(const server_task & first, const server_task & second) {
    return first.turn_us != second.turn_us ? first.turn_us < second.turn_us : first.id < second.id;
}

bool jina_put_next_first(std::deque<server_task> & waiting, int32_t n_tokens_max) {
    auto next = waiting.end();
    for (auto each = waiting.begin(); each != waiting.end(); ++each) {
        if (each->n_tokens() <= n_tokens_max && (next == waiting.end() || jina_comes_before(*each, *next))) {
            next = each;
        }
    }
    if (next == waiting.end()) {
        return false;
    }
    std::iter_swap(waiting.begin(), next);
    return true;
}
