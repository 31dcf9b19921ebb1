#include "jina-cache.h"

#include "jina-result.h"
#include "jina-settings.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace {

// What a vector takes beside its tokens and its numbers: the heads of both, a node in the list and one in
// the index, and what malloc loses between its blocks. 0.9 kB were measured (tests/runtime/test_cache.py).
const size_t BYTES_BESIDE = 1024;

struct kept_vector {
    std::string        key;
    std::vector<float> numbers;

    size_t n_bytes() const { return key.size() + numbers.size() * sizeof(float) + BYTES_BESIDE; }
};

class vector_cache {
  public:
    explicit vector_cache(size_t n_bytes_max) : n_bytes_max(n_bytes_max) {}

    bool is_on() const { return n_bytes_max > 0; }

    // Empty where the vector is not kept.
    std::vector<float> find(const std::string & key) {
        std::lock_guard<std::mutex> lock(mutex);
        const auto                  found = by_key.find(key);
        if (found == by_key.end()) {
            return {};
        }
        numbers.n_hits++;
        by_use.splice(by_use.begin(), by_use, found->second);
        return found->second->numbers;
    }

    void add(std::string key, const std::vector<float> & vector) {
        std::lock_guard<std::mutex> lock(mutex);
        numbers.n_misses++;
        if (by_key.count(key) > 0) {
            return; // the same input was twice in one batch
        }
        by_use.push_front({ std::move(key), vector });
        by_key.emplace(by_use.front().key, by_use.begin());
        numbers.n_bytes += by_use.front().n_bytes();
        while (numbers.n_bytes > n_bytes_max) {
            numbers.n_bytes -= by_use.back().n_bytes();
            by_key.erase(by_use.back().key);
            by_use.pop_back();
        }
    }

    jina_cache_numbers count() {
        std::lock_guard<std::mutex> lock(mutex);
        numbers.n_vectors = by_use.size();
        return numbers;
    }

  private:
    const size_t           n_bytes_max;
    std::mutex             mutex;
    jina_cache_numbers     numbers;
    std::list<kept_vector> by_use; // the last used first

    std::unordered_map<std::string_view, std::list<kept_vector>::iterator> by_key;
};

vector_cache & cache() {
    static vector_cache the_cache(jina_get_settings().cache_bytes);
    return the_cache;
}

// All that a vector depends on: the tokens, and how it is scaled.
std::string key_of(const server_task & input) {
    const auto  tokens = input.tokens.get_text_tokens();
    std::string key(reinterpret_cast<const char *>(tokens.data()), tokens.size() * sizeof(tokens[0]));
    return key + std::to_string(input.params.embd_normalize);
}

} // namespace

server_task_result_ptr jina_kept(const server_task & input) {
    if (!cache().is_on() || input.type != SERVER_TASK_TYPE_EMBEDDING) {
        return nullptr;
    }
    std::vector<float> vector = cache().find(key_of(input));
    return vector.empty() ? nullptr : jina_result(input, std::move(vector));
}

std::vector<server_task_result_ptr> jina_take_kept(std::vector<server_task> & inputs) {
    std::vector<server_task_result_ptr> results;
    const auto take = [&results](const server_task & each) {
        server_task_result_ptr result = jina_kept(each);
        if (!result) {
            return false;
        }
        results.push_back(std::move(result));
        return true;
    };
    inputs.erase(std::remove_if(inputs.begin(), inputs.end(), take), inputs.end());
    return results;
}

void jina_keep(const server_task & input, const std::vector<float> & vector) {
    if (cache().is_on()) {
        cache().add(key_of(input), vector);
    }
}

jina_cache_numbers jina_count_cache() {
    return cache().count();
}
