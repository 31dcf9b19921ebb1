#include "jina-q8.h"

#if !defined(__AVX512VNNI__) && !(defined(__AVX2__) && defined(__FMA__) && defined(__F16C__))

ggml_backend_buffer_type_t jina_q8_buffer_type(void) {
    return nullptr;
}

#else

#define GGML_COMMON_DECL_CPP
#include "ggml-common.h"

#include "ggml-backend-impl.h"
#include "ggml-cpu-impl.h"
#include "ggml-cpu.h"
#include "ggml-impl.h"
#include "traits.h"

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

namespace {

// ---------------------------------------------------------------- vectors

#if defined(__AVX512VNNI__)

constexpr int lanes      = 16; // weight rows that lie side by side in one vector
constexpr int max_groups = 2;  // such vectors, times
constexpr int max_cols   = 6;  // inputs at a time: 24 of the 32 registers hold sums

using ints   = __m512i;
using floats = __m512;

floats  zeros() { return _mm512_setzero_ps(); }
floats  floats_at(const float * x) { return _mm512_loadu_ps(x); }
void    store(float * x, floats v) { _mm512_storeu_ps(x, v); }
floats  halves_at(const ggml_half * x) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) x)); }
floats  magnitude(floats v) { return _mm512_abs_ps(v); }
ints    bits(floats v) { return _mm512_castps_si512(v); }
ints    larger(ints a, ints b) { return _mm512_max_epi32(a, b); }
int32_t largest(ints v) { return _mm512_reduce_max_epi32(v); }
ints    rounded(floats v, float factor) { return _mm512_cvtps_epi32(_mm512_mul_ps(v, _mm512_set1_ps(factor))); }

ints    spread(int32_t x) { return _mm512_set1_epi32(x); }
ints    plus(ints a, ints b) { return _mm512_add_epi32(a, b); }
int32_t total(ints v) { return _mm512_reduce_add_epi32(v); }

using number = int8_t; // what an input is quantised to
void store(number * x, ints v) { _mm_storeu_si128((__m128i *) x, _mm512_cvtepi32_epi8(v)); }

// Four weights of each row, four numbers of an input for all of them, and sums of their products.
using four_weights = ints;
using four_numbers = ints;
using sums         = ints;

four_weights weights_at(const void * x) { return _mm512_loadu_si512(x); }
four_numbers numbers_at(const number * x) { int32_t all; memcpy(&all, x, sizeof(all)); return spread(all); }
sums         sums_from(int32_t x) { return spread(x); }
sums         add_products(sums s, four_weights w, four_numbers n) { return _mm512_dpbusd_epi32(s, w, n); }
ints         by_row(sums s) { return s; }

floats add_scaled(floats sum, ints v, floats scales, float scale) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(v), _mm512_mul_ps(scales, _mm512_set1_ps(scale)), sum);
}

#else

constexpr int lanes = 8;

using ints   = __m256i;
using floats = __m256;

floats  zeros() { return _mm256_setzero_ps(); }
floats  floats_at(const float * x) { return _mm256_loadu_ps(x); }
void    store(float * x, floats v) { _mm256_storeu_ps(x, v); }
floats  halves_at(const ggml_half * x) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) x)); }
floats  magnitude(floats v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }
ints    bits(floats v) { return _mm256_castps_si256(v); }
ints    larger(ints a, ints b) { return _mm256_max_epi32(a, b); }
ints    rounded(floats v, float factor) { return _mm256_cvtps_epi32(_mm256_mul_ps(v, _mm256_set1_ps(factor))); }
ints    spread(int32_t x) { return _mm256_set1_epi32(x); }
ints    plus(ints a, ints b) { return _mm256_add_epi32(a, b); }

int32_t largest(ints v) {
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    four         = _mm_max_epi32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(1, 0, 3, 2)));
    return _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(2, 3, 0, 1))));
}

int32_t total(ints v) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    four         = _mm_add_epi32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(1, 0, 3, 2)));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(2, 3, 0, 1))));
}

__m128i words_of(ints v) {
    return _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

floats add_scaled(floats sum, ints v, floats scales, float scale) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(v), _mm256_mul_ps(scales, _mm256_set1_ps(scale)), sum);
}

#if defined(__AVXVNNI__)

constexpr int max_groups = 2;
constexpr int max_cols   = 3; // 12 of the 16 registers hold sums

using number = int8_t;
void store(number * x, ints v) { _mm_storel_epi64((__m128i *) x, _mm_packs_epi16(words_of(v), words_of(v))); }

using four_weights = ints;
using four_numbers = ints;
using sums         = ints;

four_weights weights_at(const void * x) { return _mm256_loadu_si256((const __m256i *) x); }
four_numbers numbers_at(const number * x) { int32_t all; memcpy(&all, x, sizeof(all)); return spread(all); }
sums         sums_from(int32_t x) { return spread(x); }
sums         add_products(sums s, four_weights w, four_numbers n) { return _mm256_dpbusd_avx_epi32(s, w, n); }
ints         by_row(sums s) { return s; }

#else

// AVX2 multiplies bytes only where sums of two products fit 16 bits, which these do not: they are
// widened to 16 bits, weights when they are loaded. A row's sum is in two halves, in neighbouring
// lanes, until the end of a block.

constexpr int max_groups = 1;
constexpr int max_cols   = 4; // 12 of the 16 registers hold sums

using number = int16_t;
void store(number * x, ints v) { _mm_storeu_si128((__m128i *) x, words_of(v)); }

struct two_halves {
    ints low;  // of rows 0 to 3
    ints high; // of rows 4 to 7
};

using four_weights = two_halves;
using four_numbers = ints;
using sums         = two_halves;

four_weights weights_at(const void * x) {
    const auto * halves = (const __m128i *) x;
    return { _mm256_cvtepu8_epi16(_mm_loadu_si128(halves)), _mm256_cvtepu8_epi16(_mm_loadu_si128(halves + 1)) };
}

four_numbers numbers_at(const number * x) {
    int64_t all;
    memcpy(&all, x, sizeof(all));
    return _mm256_set1_epi64x(all);
}

sums sums_from(int32_t x) {
    const ints first_half = _mm256_set1_epi64x((uint32_t) x);
    return { first_half, first_half };
}

sums add_products(sums s, four_weights w, four_numbers n) {
    s.low  = plus(s.low, _mm256_madd_epi16(w.low, n));
    s.high = plus(s.high, _mm256_madd_epi16(w.high, n));
    // As the compiler may add whole numbers in any order, GCC keeps all products of a block, in
    // memory, to add them at its end. This keeps each sum in its register.
    __asm__("" : "+x"(s.low), "+x"(s.high));
    return s;
}

ints by_row(sums s) {
    return _mm256_permute4x64_epi64(_mm256_hadd_epi32(s.low, s.high), _MM_SHUFFLE(3, 1, 2, 0));
}

#endif

#endif

// ---------------------------------------------------------------- layout

constexpr int quads = QK8_0 / 4;

// One Q8_0 block of each of `lanes` rows, four bytes of each row at a time. VNNI multiplies
// unsigned bytes by signed ones, so 128 is added to each weight. A matrix keeps its size.
struct weights {
    uint8_t   bytes[quads][lanes][4];
    ggml_half scales[lanes];
};
static_assert(sizeof(weights) == lanes * sizeof(block_q8_0), "a matrix must keep its size");

// 32 numbers of an input, and what takes the weights' 128 out of a sum of products again.
struct inputs {
    float   scale;
    int32_t correction; // -128 times the sum of the numbers
    number  numbers[QK8_0];
};

// Lays `rows` rows of Q8_0, each of `n_blocks` blocks, out as weights: groups of `lanes` rows after
// each other, in each the blocks in their order.
void pack(const block_q8_0 * from, weights * to, int64_t rows, int64_t n_blocks) {
    for (int64_t row = 0; row < rows; row++) {
        weights * group = to + row / lanes * n_blocks;
        const int lane  = row % lanes;
        for (int64_t b = 0; b < n_blocks; b++, from++) {
            group[b].scales[lane] = from->d;
            for (int q = 0; q < quads; q++) {
                uint32_t four;
                memcpy(&four, from->qs + 4 * q, 4);
                four ^= 0x80808080; // the same as adding 128 to each byte
                memcpy(group[b].bytes[q][lane], &four, 4);
            }
        }
    }
}

// Below this 127 divided by it is infinite; such numbers add nothing to a sum of normal ones.
constexpr float least_amax = 1e-36f;

// As upstream's quantize_row_q8_0 does it, except that the scale stays a 32-bit number. The largest
// magnitude is looked for among the bits of the numbers, which are in the same order, and keep what
// is no number: it makes the scale, and so the vector, one that is not finite.
void quantize(const float * from, inputs * to, int64_t n_blocks) {
    for (int64_t b = 0; b < n_blocks; b++, from += QK8_0) {
        ints most = spread(0);
        for (int i = 0; i < QK8_0; i += lanes) {
            most = larger(most, bits(magnitude(floats_at(from + i))));
        }
        const int32_t most_bits = largest(most);
        float         amax;
        memcpy(&amax, &most_bits, sizeof(amax));
        const float factor = amax < least_amax ? 0.0f : 127.0f / amax;
        ints        sum    = spread(0);
        for (int i = 0; i < QK8_0; i += lanes) {
            const ints v = rounded(floats_at(from + i), factor);
            store(to[b].numbers + i, v);
            sum = plus(sum, v);
        }
        to[b].scale      = amax / 127.0f;
        // What is no number becomes the smallest whole one, and 128 of these wrap around.
        to[b].correction = (int32_t) (-128u * (uint32_t) total(sum));
    }
}

// ---------------------------------------------------------------- products

constexpr int cache_line = 64; // bytes

// COLS inputs times GROUPS groups of rows: out[col * stride + row]. Meanwhile as many weights are
// fetched from `ahead`, unless that is nullptr. The order in which the numbers of one product are
// added does not depend on COLS and GROUPS: a text's vector is the same in whatever company it
// comes.
template <int GROUPS, int COLS>
void multiply_tile(int64_t n_blocks, const weights * w, const weights * ahead, const inputs * x, float * out,
                   size_t stride) {
    floats product[COLS][GROUPS];
#pragma GCC unroll 8
    for (int c = 0; c < COLS; c++) {
#pragma GCC unroll 8
        for (int g = 0; g < GROUPS; g++) {
            product[c][g] = zeros();
        }
    }
    for (int64_t b = 0; b < n_blocks; b++) {
        if (ahead) {
            const char * next = (const char *) (ahead + b * GROUPS);
            for (size_t i = 0; i < GROUPS * sizeof(weights); i += cache_line) {
                _mm_prefetch(next + i, _MM_HINT_T1);
            }
        }
        sums sum[COLS][GROUPS];
#pragma GCC unroll 8
        for (int c = 0; c < COLS; c++) {
#pragma GCC unroll 8
            for (int g = 0; g < GROUPS; g++) {
                sum[c][g] = sums_from(x[c * n_blocks + b].correction);
            }
        }
#pragma GCC unroll 8
        for (int q = 0; q < quads; q++) {
            four_weights rows[GROUPS];
#pragma GCC unroll 8
            for (int g = 0; g < GROUPS; g++) {
                rows[g] = weights_at(w[g * n_blocks + b].bytes[q]);
            }
#pragma GCC unroll 8
            for (int c = 0; c < COLS; c++) {
                const four_numbers col = numbers_at(x[c * n_blocks + b].numbers + 4 * q);
#pragma GCC unroll 8
                for (int g = 0; g < GROUPS; g++) {
                    sum[c][g] = add_products(sum[c][g], rows[g], col);
                }
            }
        }
#pragma GCC unroll 8
        for (int g = 0; g < GROUPS; g++) {
            const floats scales = halves_at(w[g * n_blocks + b].scales);
#pragma GCC unroll 8
            for (int c = 0; c < COLS; c++) {
                product[c][g] = add_scaled(product[c][g], by_row(sum[c][g]), scales, x[c * n_blocks + b].scale);
            }
        }
    }
#pragma GCC unroll 8
    for (int c = 0; c < COLS; c++) {
#pragma GCC unroll 8
        for (int g = 0; g < GROUPS; g++) {
            store(out + c * stride + g * lanes, product[c][g]);
        }
    }
}

using tile_function = void (*)(int64_t, const weights *, const weights *, const inputs *, float *, size_t);

// multiply_tile of GROUPS groups for each number of columns from 1 to max_cols.
template <int GROUPS, size_t... COLS>
tile_function tile_of(int cols, std::index_sequence<COLS...>) {
    static constexpr tile_function of[] = { multiply_tile<GROUPS, COLS + 1>... };
    return of[cols - 1];
}

void multiply_columns(int groups, int64_t n_cols, int64_t n_blocks, const weights * w, const inputs * x, float * out,
                      size_t stride) {
    constexpr auto all = std::make_index_sequence<max_cols>();
    for (int64_t done = 0; done < n_cols; done += max_cols) {
        const int           cols = std::min<int64_t>(max_cols, n_cols - done);
        const tile_function tile = groups == max_groups ? tile_of<max_groups>(cols, all) : tile_of<1>(cols, all);
        // Few inputs are done with their weights before the next ones have come from memory.
        const weights * ahead = done == 0 ? w + groups * n_blocks : nullptr;
        tile(n_blocks, w, ahead, x + done * n_blocks, out + done * stride, stride);
    }
}

// Inputs that one task takes: they stay in the second-level cache while all rows pass by, and
// these, two groups of them, in the first.
constexpr int64_t cols_per_task = 16 * max_cols;

// Tasks for each thread, at least: a thread that is interrupted does not hold up the others.
constexpr int64_t tasks_per_thread = 8;

struct span {
    int64_t begin;
    int64_t end;
};

// The share of `n` that is number `i` of shares of `size`.
span share(int64_t i, int64_t size, int64_t n) {
    return { std::min(i * size, n), std::min((i + 1) * size, n) };
}

void multiply(const ggml_compute_params * params, ggml_tensor * op) {
    const ggml_tensor * src0 = op->src[0];
    const ggml_tensor * src1 = op->src[1];

    const int64_t n_blocks = src0->ne[0] / QK8_0;
    const int64_t n_groups = src0->ne[1] / lanes;
    const int64_t n_cols   = ggml_nrows(src1);
    const size_t  stride   = src0->ne[1];

    GGML_ASSERT(ggml_is_contiguous(op) && src1->nb[0] == sizeof(float));
    GGML_ASSERT(params->wsize >= n_cols * n_blocks * sizeof(inputs));

    const auto * w   = (const weights *) src0->data;
    auto *       x   = (inputs *) params->wdata;
    auto *       out = (float *) op->data;

    const span mine = share(params->ith, (n_cols + params->nth - 1) / params->nth, n_cols);
    for (int64_t col = mine.begin; col < mine.end; col++) {
        const int64_t i1 = col % src1->ne[1];
        const int64_t i2 = col / src1->ne[1] % src1->ne[2];
        const int64_t i3 = col / src1->ne[1] / src1->ne[2];
        const char *  at = (const char *) src1->data + i1 * src1->nb[1] + i2 * src1->nb[2] + i3 * src1->nb[3];
        quantize((const float *) at, x + col * n_blocks, n_blocks);
    }
    if (params->ith == 0) {
        ggml_threadpool_chunk_set(params->threadpool, params->nth);
    }
    ggml_barrier(params->threadpool);

    const int64_t col_tasks  = (n_cols + cols_per_task - 1) / cols_per_task;
    const int64_t row_tasks  = (tasks_per_thread * params->nth + col_tasks - 1) / col_tasks;
    const int64_t at_a_time  = std::max<int64_t>(n_groups / row_tasks / max_groups * max_groups, max_groups);
    const int64_t row_shares = (n_groups + at_a_time - 1) / at_a_time;

    for (int64_t task = params->ith; task < col_tasks * row_shares;
         task         = ggml_threadpool_chunk_add(params->threadpool, 1)) {
        const span cols = share(task / row_shares, cols_per_task, n_cols);
        const span rows = share(task % row_shares, at_a_time, n_groups);
        for (int64_t group = rows.begin; group < rows.end; group += max_groups) {
            multiply_columns(rows.end - group < max_groups ? 1 : max_groups, cols.end - cols.begin, n_blocks,
                             w + group * n_blocks, x + cols.begin * n_blocks,
                             out + cols.begin * stride + group * lanes, stride);
        }
    }
}

// ---------------------------------------------------------------- what ggml asks for

class tensor_traits : public ggml::cpu::tensor_traits {
    bool work_size(int /* n_threads */, const ggml_tensor * op, size_t & size) override {
        size = ggml_nrows(op->src[1]) * op->src[1]->ne[0] / QK8_0 * sizeof(inputs);
        return true;
    }

    bool compute_forward(ggml_compute_params * params, ggml_tensor * op) override {
        multiply(params, op);
        return true;
    }
};

class extra_buffer_type : public ggml::cpu::extra_buffer_type {
    bool supports_op(ggml_backend_dev_t, const ggml_tensor * op) override {
        const ggml_tensor * src0 = op->src[0];
        const ggml_tensor * src1 = op->src[1];
        return op->op == GGML_OP_MUL_MAT && is_ours(src0) && src0->type == GGML_TYPE_Q8_0 && ggml_n_dims(src0) == 2 &&
               src0->ne[1] % lanes == 0 && src1->type == GGML_TYPE_F32 &&
               (!src1->buffer || ggml_backend_buft_is_host(src1->buffer->buft));
    }

    ggml::cpu::tensor_traits * get_tensor_traits(const ggml_tensor * op) override {
        static tensor_traits traits;
        return op->op == GGML_OP_MUL_MAT && is_ours(op->src[0]) ? &traits : nullptr;
    }

    static bool is_ours(const ggml_tensor * tensor) {
        return tensor->buffer && tensor->buffer->buft == jina_q8_buffer_type();
    }
};

const char * buffer_type_name(ggml_backend_buffer_type_t) {
    return "CPU_Q8";
}

size_t buffer_alignment(ggml_backend_buffer_type_t) {
    return TENSOR_ALIGNMENT;
}

void set_tensor(ggml_backend_buffer_t, ggml_tensor * tensor, const void * data, size_t offset, size_t size) {
    GGML_ASSERT(offset == 0 && size == ggml_nbytes(tensor));
    pack((const block_q8_0 *) data, (weights *) tensor->data, tensor->ne[1], tensor->ne[0] / QK8_0);
}

// The CPU's own buffer, written to in another way and not read back.
ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t type, size_t size) {
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), size);
    if (buffer) {
        buffer->buft             = type;
        buffer->iface.set_tensor = set_tensor;
        buffer->iface.get_tensor = nullptr;
        buffer->iface.cpy_tensor = nullptr;
    }
    return buffer;
}

}  // namespace

ggml_backend_buffer_type_t jina_q8_buffer_type(void) {
    static extra_buffer_type        context;
    static ggml_backend_buffer_type type = {
        /* .iface   = */ {
            /* .get_name       = */ buffer_type_name,
            /* .alloc_buffer   = */ alloc_buffer,
            /* .get_alignment  = */ buffer_alignment,
            /* .get_max_size   = */ nullptr,
            /* .get_alloc_size = */ nullptr,
            /* .is_host        = */ nullptr,
        },
        /* .device  = */ ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0),
        /* .context = */ &context,
    };
    return &type;
}

#endif
