#include "jina-attention.h"

#include "common.h"
#include "ggml-cpu-impl.h"
#include "ggml-cpu.h"
#include "ggml.h"
#include "vec.h"

#include <algorithm>
#include <cfloat>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) && defined(__AVX512DQ__)

#define JINA_ATTENTION

namespace {
constexpr int lanes        = 16;
constexpr int vecs_at_once = 4; // times four rows: 16 of the 32 registers hold sums

using floats = __m512;

floats floats_at(const float * x) { return _mm512_loadu_ps(x); }
void   store(float * x, floats v) { _mm512_storeu_ps(x, v); }
floats spread(float x) { return _mm512_set1_ps(x); }
floats plus(floats a, floats b) { return _mm512_add_ps(a, b); }
floats minus(floats a, floats b) { return _mm512_sub_ps(a, b); }
floats times(floats a, floats b) { return _mm512_mul_ps(a, b); }
floats plus_product(floats sum, floats a, floats b) { return _mm512_fmadd_ps(a, b, sum); }
floats larger(floats a, floats b) { return _mm512_max_ps(a, b); }
floats exponential(floats x) { return ggml_v_expf(x); }
}  // namespace

#elif defined(__AVX2__) && defined(__FMA__)

#define JINA_ATTENTION

namespace {
constexpr int lanes        = 8;
constexpr int vecs_at_once = 2; // 8 of the 16 registers

using floats = __m256;

floats floats_at(const float * x) { return _mm256_loadu_ps(x); }
void   store(float * x, floats v) { _mm256_storeu_ps(x, v); }
floats spread(float x) { return _mm256_set1_ps(x); }
floats plus(floats a, floats b) { return _mm256_add_ps(a, b); }
floats minus(floats a, floats b) { return _mm256_sub_ps(a, b); }
floats times(floats a, floats b) { return _mm256_mul_ps(a, b); }
floats plus_product(floats sum, floats a, floats b) { return _mm256_fmadd_ps(a, b, sum); }
floats larger(floats a, floats b) { return _mm256_max_ps(a, b); }
floats exponential(floats x) { return ggml_v_expf(x); }
}  // namespace

#elif defined(__ARM_NEON) && defined(__aarch64__)

#define JINA_ATTENTION

namespace {
constexpr int lanes        = 4;
constexpr int vecs_at_once = 4; // 16 of the 32 registers

using floats = float32x4_t;

floats floats_at(const float * x) { return vld1q_f32(x); }
void   store(float * x, floats v) { vst1q_f32(x, v); }
floats spread(float x) { return vdupq_n_f32(x); }
floats plus(floats a, floats b) { return vaddq_f32(a, b); }
floats minus(floats a, floats b) { return vsubq_f32(a, b); }
floats times(floats a, floats b) { return vmulq_f32(a, b); }
floats plus_product(floats sum, floats a, floats b) { return vfmaq_f32(sum, a, b); }
floats larger(floats a, floats b) { return vmaxq_f32(a, b); }

// Of numbers up to 0; vec.h has one for NEON only where the compiler has no SVE. With n whole and
// x = n * ln(2) + r, it is 2^n times the first terms of the series of exp(r); the next term is less
// than 2e-7, for |r| is at most ln(2) / 2. ln(2) is taken in two parts, of which the first has so
// few bits that its product with n is exact.
floats exponential(floats x) {
    constexpr float least = -87.0f; // exp of less is no normal number, and 0 here
    const floats    n     = vrndnq_f32(vmulq_n_f32(vmaxq_f32(x, spread(least)), 1.44269504f));
    floats          r     = vfmsq_f32(vmaxq_f32(x, spread(least)), n, spread(0.693359375f));
    r                     = vfmsq_f32(r, n, spread(-2.12194440e-4f));
    floats series         = spread(1.0f / 720);
    for (const float term : { 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f }) {
        series = vfmaq_f32(spread(term), series, r);
    }
    const int32x4_t exponent = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
    return vbslq_f32(vcltq_f32(x, spread(least)), spread(0.0f), times(series, vreinterpretq_f32_s32(exponent)));
}
}  // namespace

#endif

#ifndef JINA_ATTENTION

bool jina_attention(const ggml_compute_params *, ggml_tensor *, int64_t, int64_t) {
    return false;
}

#else

namespace {

constexpr int n_queries    = GGML_FA_TILE_Q;
constexpr int n_keys       = GGML_FA_TILE_KV;
constexpr int n_vecs       = n_queries / lanes;
constexpr int rows_at_once = 4;
static_assert(n_vecs % vecs_at_once == 0 && n_keys % rows_at_once == 0, "tiles must be whole");

constexpr uint16_t half_minus_infinity = 0xFC00;

// Scratch of one thread. Everything that belongs to a query is in its lane: no sum or maximum runs
// across lanes, and neither keys nor values need to be transposed.
struct scratch {
    float * query;  // [DK][n_queries], scaled
    float * keys;   // [n_keys][DK]
    float * values; // [n_keys][DV]
    float * scores; // [n_keys][n_queries], then their exponentials
    float * output; // [DV][n_queries]
};

// As much as upstream reserves for its own tiled form (ggml-cpu.c, GGML_OP_FLASH_ATTN_EXT) less
// the tile of the mask, which leaves room to begin at a cache line.
scratch scratch_of(const ggml_compute_params * params, int64_t DK, int64_t DV) {
    const int64_t reserved = n_queries * DK + 2 * n_queries * n_keys + n_queries * DV + n_keys * DV + n_keys * DK;
    const auto    begin    = (uintptr_t) ((float *) params->wdata + params->ith * reserved);

    scratch s;
    s.query  = (float *) ((begin + 63) / 64 * 64);
    s.keys   = s.query + n_queries * DK;
    s.values = s.keys + n_keys * DK;
    s.scores = s.values + n_keys * DV;
    s.output = s.scores + n_keys * n_queries;
    return s;
}

// out[row][query] = factor[query] * out[row][query] + sum over i of a[row * row_step + i * i_step] *
// b[i][query], for n_rows rows, a multiple of rows_at_once. Without a factor out is overwritten.
void multiply(const float * a, int64_t row_step, int64_t i_step, int64_t n_rows, int64_t n, const float * b,
              const float * factor, float * out) {
    for (int64_t row = 0; row < n_rows; row += rows_at_once) {
        for (int vec = 0; vec < n_vecs; vec += vecs_at_once) {
            float * to = out + row * n_queries + vec * lanes;
            floats  sum[rows_at_once][vecs_at_once];
#pragma GCC unroll 4
            for (int r = 0; r < rows_at_once; r++) {
#pragma GCC unroll 4
                for (int v = 0; v < vecs_at_once; v++) {
                    sum[r][v] = factor ? times(floats_at(to + r * n_queries + v * lanes),
                                               floats_at(factor + (vec + v) * lanes)) :
                                         spread(0.0f);
                }
            }
            const float * from = a + row * row_step;
            for (int64_t i = 0; i < n; i++) {
                floats column[vecs_at_once];
#pragma GCC unroll 4
                for (int v = 0; v < vecs_at_once; v++) {
                    column[v] = floats_at(b + i * n_queries + (vec + v) * lanes);
                }
#pragma GCC unroll 4
                for (int r = 0; r < rows_at_once; r++) {
                    const floats one = spread(from[r * row_step + i * i_step]);
#pragma GCC unroll 4
                    for (int v = 0; v < vecs_at_once; v++) {
                        sum[r][v] = plus_product(sum[r][v], one, column[v]);
                    }
                }
            }
#pragma GCC unroll 4
            for (int r = 0; r < rows_at_once; r++) {
#pragma GCC unroll 4
                for (int v = 0; v < vecs_at_once; v++) {
                    store(to + r * n_queries + v * lanes, sum[r][v]);
                }
            }
        }
    }
}

// Copies four columns of four rows, which are row_step apart, as rows that are to_step apart.
void transpose_four(const float * from, int64_t row_step, float * to, int64_t to_step) {
#if defined(__SSE__)
    __m128 a = _mm_loadu_ps(from);
    __m128 b = _mm_loadu_ps(from + row_step);
    __m128 c = _mm_loadu_ps(from + 2 * row_step);
    __m128 d = _mm_loadu_ps(from + 3 * row_step);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(to, a);
    _mm_storeu_ps(to + to_step, b);
    _mm_storeu_ps(to + 2 * to_step, c);
    _mm_storeu_ps(to + 3 * to_step, d);
#else
    for (int row = 0; row < 4; row++) {
        for (int col = 0; col < 4; col++) {
            to[col * to_step + row] = from[row * row_step + col];
        }
    }
#endif
}

// to[col][row] = from[row][col] for n_rows rows and n_cols columns.
void transpose(const float * from, int64_t row_step, int64_t n_rows, int64_t n_cols, float * to, int64_t to_step) {
    const int64_t whole_rows = n_rows / 4 * 4;
    const int64_t whole_cols = n_cols / 4 * 4;
    for (int64_t row = 0; row < whole_rows; row += 4) {
        for (int64_t col = 0; col < whole_cols; col += 4) {
            transpose_four(from + row * row_step + col, row_step, to + col * to_step + row, to_step);
        }
    }
    for (int64_t row = 0; row < n_rows; row++) {
        for (int64_t col = row < whole_rows ? whole_cols : 0; col < n_cols; col++) {
            to[col * to_step + row] = from[row * row_step + col];
        }
    }
}

// Copies rows of 16-bit or 32-bit numbers as 32-bit ones, and zeros up to a multiple of
// rows_at_once.
void widen(const ggml_tensor * tensor, const char * from, int64_t n_rows, int64_t n_cols, float * to) {
    for (int64_t row = 0; row < n_rows; row++, from += tensor->nb[1]) {
        if (tensor->type == GGML_TYPE_F16) {
            ggml_cpu_fp16_to_fp32((const ggml_fp16_t *) from, to + row * n_cols, n_cols);
        } else {
            memcpy(to + row * n_cols, from, n_cols * sizeof(float));
        }
    }
    const int64_t padded = (n_rows + rows_at_once - 1) / rows_at_once * rows_at_once;
    memset(to + n_rows * n_cols, 0, (padded - n_rows) * n_cols * sizeof(float));
}

enum class view { closed, mixed, open };

// Tells from the mask's bits what a tile's queries may see of its keys.
view view_of(const char * mask, size_t row_step, int rows, int keys) {
    uint16_t differs = 0; // from -infinity, which closes
    uint16_t bits    = 0; // of numbers other than zero, which opens
    for (int row = 0; row < rows; row++, mask += row_step) {
        const auto * numbers = (const uint16_t *) mask;
        for (int key = 0; key < keys; key++) {
            differs |= numbers[key] ^ half_minus_infinity;
            bits |= numbers[key];
        }
    }
    return differs == 0 ? view::closed : bits == 0 ? view::open : view::mixed;
}

void add_mask(const char * mask, size_t row_step, int rows, int keys, float * scores) {
    float numbers[n_keys];
    for (int row = 0; row < rows; row++, mask += row_step) {
        ggml_cpu_fp16_to_fp32((const ggml_fp16_t *) mask, numbers, keys);
        for (int key = 0; key < keys; key++) {
            scores[key * n_queries + row] += numbers[key];
        }
    }
}

// What is known of a query's scores so far.
struct running {
    float most[n_queries];   // the largest score
    float sum[n_queries];    // of exp(score - most)
    float factor[n_queries]; // what turns earlier sums into ones of the new largest score
};

// Turns the scores of a tile into exp(score - most). A query that has seen only -infinity keeps
// the least number as its largest score: exp(-infinity) is 0 then, and not an undefined number.
void take_exponentials(int keys, float * scores, running & known) {
    for (int vec = 0; vec < n_vecs; vec++) {
        float *      column = scores + vec * lanes;
        const floats before = floats_at(known.most + vec * lanes);
        floats       most   = before;
        for (int key = 0; key < keys; key++) {
            most = larger(most, floats_at(column + key * n_queries));
        }
        const floats factor = exponential(minus(before, most));
        floats       sum    = times(floats_at(known.sum + vec * lanes), factor);
        for (int key = 0; key < keys; key++) {
            const floats e = exponential(minus(floats_at(column + key * n_queries), most));
            store(column + key * n_queries, e);
            sum = plus(sum, e);
        }
        store(known.most + vec * lanes, most);
        store(known.sum + vec * lanes, sum);
        store(known.factor + vec * lanes, factor);
    }
}

float parameter(const ggml_tensor * op, int i) {
    float value;
    memcpy(&value, (const float *) op->op_params + i, sizeof(value));
    return value;
}

}  // namespace

bool jina_attention(const ggml_compute_params * params, ggml_tensor * dst, int64_t ir0, int64_t ir1) {
    const ggml_tensor * q    = dst->src[0];
    const ggml_tensor * k    = dst->src[1];
    const ggml_tensor * v    = dst->src[2];
    const ggml_tensor * mask = dst->src[3];

    const int64_t DK = k->ne[0];
    const int64_t DV = v->ne[0];

    const float scale     = parameter(dst, 0);
    const bool  has_alibi = parameter(dst, 1) != 0.0f;
    const bool  has_cap   = parameter(dst, 2) != 0.0f;
    const bool  has_sinks = dst->src[4] != nullptr;
    if (has_alibi || has_cap || has_sinks || DV % rows_at_once != 0) {
        return false;
    }

    const scratch s = scratch_of(params, DK, DV);
    running       known;

    for (int64_t ir = ir0; ir < ir1;) {
        const int64_t i3   = ir / (q->ne[2] * q->ne[1]);
        const int64_t i2   = ir / q->ne[1] % q->ne[2];
        const int64_t i1   = ir % q->ne[1];
        const int     rows = std::min<int64_t>({ n_queries, ir1 - ir, q->ne[1] - i1 });
        ir += rows;

        const int64_t k2 = i2 / (q->ne[2] / k->ne[2]);
        const int64_t k3 = i3 / (q->ne[3] / k->ne[3]);
        const int64_t v2 = i2 / (q->ne[2] / v->ne[2]);
        const int64_t v3 = i3 / (q->ne[3] / v->ne[3]);

        const char * queries = (const char *) q->data + i1 * q->nb[1] + i2 * q->nb[2] + i3 * q->nb[3];
        memset(s.query, 0, DK * n_queries * sizeof(float));
        transpose((const float *) queries, q->nb[1] / sizeof(float), rows, DK, s.query, n_queries);
        ggml_vec_scale_f32(DK * n_queries, s.query, scale);

        memset(s.output, 0, DV * n_queries * sizeof(float));
        std::fill_n(known.most, n_queries, -FLT_MAX);
        std::fill_n(known.sum, n_queries, 0.0f);

        for (int64_t key = 0; key < k->ne[1]; key += n_keys) {
            const int    keys  = std::min<int64_t>(n_keys, k->ne[1] - key);
            view         seen  = view::open;
            const char * masks = nullptr;
            if (mask) {
                masks = (const char *) mask->data + i1 * mask->nb[1] + i2 % mask->ne[2] * mask->nb[2] +
                        i3 % mask->ne[3] * mask->nb[3] + key * sizeof(ggml_fp16_t);
                seen = view_of(masks, mask->nb[1], rows, keys);
            }
            if (seen == view::closed) {
                continue;
            }
            widen(k, (const char *) k->data + key * k->nb[1] + k2 * k->nb[2] + k3 * k->nb[3], keys, DK, s.keys);
            const int padded = (keys + rows_at_once - 1) / rows_at_once * rows_at_once;
            multiply(s.keys, DK, 1, padded, DK, s.query, nullptr, s.scores);
            if (seen == view::mixed) {
                add_mask(masks, mask->nb[1], rows, keys, s.scores);
            }
            take_exponentials(keys, s.scores, known);
            widen(v, (const char *) v->data + key * v->nb[1] + v2 * v->nb[2] + v3 * v->nb[3], keys, DV, s.values);
            multiply(s.values, 1, DV, DV, keys, s.scores, known.factor, s.output);
        }

        // A query that may see nothing gets zeros, as upstream's do.
        for (int query = 0; query < n_queries; query++) {
            known.factor[query] = known.sum[query] == 0.0f ? 0.0f : 1.0f / known.sum[query];
        }
        for (int64_t d = 0; d < DV; d++) {
            for (int vec = 0; vec < n_vecs; vec++) {
                float * x = s.output + d * n_queries + vec * lanes;
                store(x, times(floats_at(x), floats_at(known.factor + vec * lanes)));
            }
        }
        // dst has the heads of a token after each other: permute(0, 2, 1, 3)
        float * to = (float *) ((char *) dst->data + (i3 * dst->ne[2] * dst->ne[1] + i2 + i1 * dst->ne[1]) * dst->nb[1]);
        transpose(s.output, n_queries, DV, rows, to, dst->ne[1] * dst->nb[1] / sizeof(float));
    }
    return true;
}

#endif
