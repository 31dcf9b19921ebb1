// jina-q8.cpp alone: reads products from its input and writes their results, without a server.
//
// A product, as often as there are any: three int64_t (rows of the matrix, numbers of a row, inputs),
// the matrix in Q8_0, and the inputs as 32-bit numbers. The answer: rows x inputs 32-bit numbers.

#include "jina-q8.cpp"

#include <cstdio>
#include <cstdlib>
#include <vector>

// One thread: what ggml's threads share.
static int next_chunk = 0;

extern "C" {
void    ggml_barrier(ggml_threadpool *) {}
void    ggml_threadpool_chunk_set(ggml_threadpool *, int value) { next_chunk = value; }
int     ggml_threadpool_chunk_add(ggml_threadpool *, int value) { return (next_chunk += value) - value; }
bool    ggml_is_contiguous(const ggml_tensor *) { return true; }
int64_t ggml_nrows(const ggml_tensor * tensor) { return tensor->ne[1]; }
void    ggml_abort(const char *, int, const char *, ...) { abort(); }

// Of what the kernel's file offers to ggml, nothing is asked for here.
bool    ggml_backend_buft_is_host(ggml_backend_buffer_type_t) { abort(); }
int     ggml_n_dims(const ggml_tensor *) { abort(); }
size_t  ggml_nbytes(const ggml_tensor *) { abort(); }
ggml_backend_buffer_t      ggml_backend_buft_alloc_buffer(ggml_backend_buffer_type_t, size_t) { abort(); }
ggml_backend_buffer_type_t ggml_backend_cpu_buffer_type(void) { abort(); }
ggml_backend_dev_t         ggml_backend_reg_dev_get(ggml_backend_reg_t, size_t) { abort(); }
ggml_backend_reg_t         ggml_backend_cpu_reg(void) { abort(); }
}

ggml::cpu::tensor_traits::~tensor_traits() {}
ggml::cpu::extra_buffer_type::~extra_buffer_type() {}

template <typename T> static std::vector<T> read(size_t count) {
    std::vector<T> found(count);
    if (fread(found.data(), sizeof(T), count, stdin) != count) {
        fprintf(stderr, "the input ends within a product\n");
        exit(1);
    }
    return found;
}

int main() {
    int64_t shape[3];
    while (fread(shape, sizeof(int64_t), 3, stdin) == 3) {
        const auto [rows, width, cols] = shape;
        const auto matrix = read<block_q8_0>(rows * width / QK8_0);
        auto       given  = read<float>(width * cols);

        std::vector<weights> packed(rows / lanes * width / QK8_0);
        pack(matrix.data(), packed.data(), rows, width / QK8_0);
        std::vector<inputs> work(cols * width / QK8_0);
        std::vector<float>  result(rows * cols);

        ggml_tensor w = {}, x = {}, out = {};
        w.ne[0] = x.ne[0] = width;
        w.ne[1] = out.ne[0] = rows;
        x.ne[1] = out.ne[1] = cols;
        for (ggml_tensor * each : { &w, &x, &out }) {
            each->ne[2] = each->ne[3] = 1;
        }
        x.nb[0]    = sizeof(float);
        x.nb[1]    = x.nb[2] = x.nb[3] = width * sizeof(float);
        w.data     = packed.data();
        x.data     = given.data();
        out.data   = result.data();
        out.src[0] = &w;
        out.src[1] = &x;

        ggml_compute_params params = {};
        params.nth   = 1;
        params.wsize = work.size() * sizeof(inputs);
        params.wdata = work.data();
        multiply(&params, &out);
        fwrite(result.data(), sizeof(float), result.size(), stdout);
    }
    return 0;
}
