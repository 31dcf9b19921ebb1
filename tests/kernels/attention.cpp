// jina-attention.cpp alone: reads attentions from its input and writes their results.
//
// An attention, as often as there are any: six int64_t (numbers of a head, queries, keys, heads of the
// queries, heads of the keys, 1 where keys and values have 16 bits), a float (the scale); queries
// (head by head) and keys and values as numbers, and the mask (queries x keys) in 16 bits. The answer
// holds, for each query, its heads.

#include "jina-attention.cpp"

#include <cstdio>
#include <cstdlib>
#include <vector>

extern "C" {
void ggml_cpu_fp16_to_fp32(const ggml_fp16_t * from, float * to, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        _Float16 half;
        memcpy(&half, from + i, sizeof(half));
        to[i] = (float) half;
    }
}
void ggml_abort(const char *, int, const char *, ...) { abort(); }
}

static std::vector<char> read(size_t bytes) {
    std::vector<char> found(bytes);
    if (fread(found.data(), 1, bytes, stdin) != bytes) {
        fprintf(stderr, "the input ends within an attention\n");
        exit(1);
    }
    return found;
}

// A tensor of `width` x `rows` x `heads` numbers of `size` bytes, in this order.
static ggml_tensor tensor(ggml_type type, size_t size, int64_t width, int64_t rows, int64_t heads, void * data) {
    ggml_tensor made = {};
    made.type  = type;
    made.ne[0] = width;
    made.ne[1] = rows;
    made.ne[2] = heads;
    made.ne[3] = 1;
    made.nb[0] = size;
    made.nb[1] = size * width;
    made.nb[2] = made.nb[1] * rows;
    made.nb[3] = made.nb[2] * heads;
    made.data  = data;
    return made;
}

int main() {
    int64_t shape[6];
    while (fread(shape, sizeof(int64_t), 6, stdin) == 6) {
        const auto [width, queries, keys, heads, kv_heads, halves] = shape;
        const auto      scale = read(sizeof(float));
        const ggml_type type  = halves ? GGML_TYPE_F16 : GGML_TYPE_F32;
        const size_t    size  = halves ? sizeof(ggml_fp16_t) : sizeof(float);

        auto q    = read(width * queries * heads * sizeof(float));
        auto k    = read(width * keys * kv_heads * size);
        auto v    = read(width * keys * kv_heads * size);
        auto mask = read(queries * keys * sizeof(ggml_fp16_t));
        std::vector<float> result(width * queries * heads);

        ggml_tensor of_q = tensor(GGML_TYPE_F32, sizeof(float), width, queries, heads, q.data());
        ggml_tensor of_k = tensor(type, size, width, keys, kv_heads, k.data());
        ggml_tensor of_v = tensor(type, size, width, keys, kv_heads, v.data());
        ggml_tensor seen = tensor(GGML_TYPE_F16, sizeof(ggml_fp16_t), keys, queries, 1, mask.data());
        ggml_tensor out  = tensor(GGML_TYPE_F32, sizeof(float), width, heads, queries, result.data());
        memcpy(out.op_params, scale.data(), sizeof(float));
        out.src[0] = &of_q;
        out.src[1] = &of_k;
        out.src[2] = &of_v;
        out.src[3] = &seen;
        if (!jina_takes_attention(&out)) {
            fprintf(stderr, "this attention is left to upstream\n");
            return 1;
        }
        // What upstream reserves for a thread (ggml-cpu.c, GGML_OP_FLASH_ATTN_EXT), and not a number more.
        std::vector<float>  work(2 * n_queries * width + 2 * n_queries * n_keys + 2 * n_keys * width);
        ggml_compute_params params = {};
        params.nth   = 1;
        params.wsize = work.size() * sizeof(float);
        params.wdata = work.data();
        jina_attention(&params, &out, 0, queries * heads);
        fwrite(result.data(), sizeof(float), result.size(), stdout);
    }
    return 0;
}
