#include "jina-attention.h"

#include "common.h"
#include "ggml-cpu-impl.h"
#include "ggml-cpu.h"
#include "ggml.h"
#include "vec.h"

#include <algorithm>
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
floats larger(floats a, floats b) { return _mm512_max_ps(a, b); } // b where one is no number
floats nearest(floats x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

floats from_exponent(floats biased) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtps_epi32(biased), 23));
}
}  // namespace

#elif defined(__AVX__)

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
floats larger(floats a, floats b) { return _mm256_max_ps(a, b); } // b where one is no number
floats nearest(floats x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

floats plus_product(floats sum, floats a, floats b) {
#if defined(__FMA__)
    return _mm256_fmadd_ps(a, b, sum);
#else
    return _mm256_add_ps(_mm256_mul_ps(a, b), sum);
#endif
}

floats from_exponent(floats biased) {
    const __m256i n = _mm256_cvtps_epi32(biased);
#if defined(__AVX2__)
    return _mm256_castsi256_ps(_mm256_slli_epi32(n, 23));
#else
    const __m128i low  = _mm_slli_epi32(_mm256_castsi256_si128(n), 23);
    const __m128i high = _mm_slli_epi32(_mm256_extractf128_si256(n, 1), 23);
    return _mm256_castsi256_ps(_mm256_insertf128_si256(_mm256_castsi128_si256(low), high, 1));
#endif
}
}  // namespace

#elif defined(__SSE2__)

#define JINA_ATTENTION

namespace {
constexpr int lanes        = 4;
constexpr int vecs_at_once = 2; // 8 of the 16 registers

using floats = __m128;

floats floats_at(const float * x) { return _mm_loadu_ps(x); }
void   store(float * x, floats v) { _mm_storeu_ps(x, v); }
floats spread(float x) { return _mm_set1_ps(x); }
floats plus(floats a, floats b) { return _mm_add_ps(a, b); }
floats minus(floats a, floats b) { return _mm_sub_ps(a, b); }
floats times(floats a, floats b) { return _mm_mul_ps(a, b); }
floats plus_product(floats sum, floats a, floats b) { return _mm_add_ps(_mm_mul_ps(a, b), sum); }
floats larger(floats a, floats b) { return _mm_max_ps(a, b); } // b where one is no number
floats nearest(floats x) { return _mm_cvtepi32_ps(_mm_cvtps_epi32(x)); }
floats from_exponent(floats biased) { return _mm_castsi128_ps(_mm_slli_epi32(_mm_cvtps_epi32(biased), 23)); }
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
floats nearest(floats x) { return vrndnq_f32(x); }
floats from_exponent(floats biased) { return vreinterpretq_f32_s32(vshlq_n_s32(vcvtq_s32_f32(biased), 23)); }
}  // namespace

#endif

#ifndef JINA_ATTENTION

bool jina_takes_attention(const ggml_tensor *) {
    return false;
}

void jina_attention(const ggml_compute_params *, ggml_tensor *, int64_t, int64_t) {}

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
// b[i][query], for n_rows rows, a multiple of rows_at_once, and the queries of `vecs` vectors. Without
// a factor out is overwritten. Each sum runs over i from first to last, so that with a factor of 1 or
// another power of two it is the same wherever a tile ends.
void multiply(const float * a, int64_t row_step, int64_t i_step, int64_t n_rows, int64_t n, const float * b,
              const float * factor, float * out, int vecs) {
    for (int64_t row = 0; row < n_rows; row += rows_at_once) {
        for (int vec = 0; vec < vecs; vec += vecs_at_once) {
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

// log2(e): scores are kept as powers of two, not of e.
constexpr float log2_e = 1.44269504f;

void add_mask(const char * mask, size_t row_step, int rows, int keys, float * scores) {
    float numbers[n_keys];
    for (int row = 0; row < rows; row++, mask += row_step) {
        ggml_cpu_fp16_to_fp32((const ggml_fp16_t *) mask, numbers, keys);
        for (int key = 0; key < keys; key++) {
            scores[key * n_queries + row] += numbers[key] * log2_e;
        }
    }
}

// What is known of a query's scores so far. The reference is a whole number, so that a factor is a
// power of two, and no bit of a sum depends on which of the scores came in the same tile.
struct running {
    float most[n_queries];   // the largest score, rounded
    float sum[n_queries];    // of 2^(score - most)
    float factor[n_queries]; // what turns earlier sums into ones of the new largest score
};

// No score: less than `nothing`, which is what a query begins with that has seen none. Both are whole,
// and fit an int32_t.
constexpr float masked  = -1.0e9f;
constexpr float nothing = -0.5e9f;

// 2^x of whole numbers x up to 0; 0 for less than -126.
floats power(floats x) {
    return from_exponent(plus(larger(spread(-127.0f), x), spread(127.0f)));
}

// 2^x of numbers from -0.5 to 0.5: the first terms of the series of exp(x ln 2), of which the next is
// less than 6e-9.
floats power_of_fraction(floats x) {
    floats series = spread(1.52527338e-5f);
    for (const float term : { 1.54035304e-4f, 1.33335581e-3f, 9.61812911e-3f, 5.55041087e-2f, 2.40226507e-1f, 6.93147181e-1f, 1.0f }) {
        series = plus_product(spread(term), series, x);
    }
    return series;
}

// Turns the scores of a tile into 2^(score - most).
void take_exponentials(int keys, float * scores, running & known, int vecs) {
    for (int vec = 0; vec < vecs; vec++) {
        float *      column = scores + vec * lanes;
        const floats before = floats_at(known.most + vec * lanes);
        floats       most   = before;
        for (int key = 0; key < keys; key++) {
            most = larger(most, nearest(larger(spread(masked), floats_at(column + key * n_queries))));
        }
        const floats factor = power(minus(before, most));
        floats       sum    = times(floats_at(known.sum + vec * lanes), factor);
        for (int key = 0; key < keys; key++) {
            const floats score = larger(spread(masked), floats_at(column + key * n_queries));
            const floats whole = nearest(score);
            const floats e     = times(power_of_fraction(minus(score, whole)), power(minus(whole, most)));
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

bool jina_takes_attention(const ggml_tensor * dst) {
    const ggml_tensor * q         = dst->src[0];
    const ggml_tensor * k         = dst->src[1];
    const ggml_tensor * v         = dst->src[2];
    const bool          has_alibi = parameter(dst, 1) != 0.0f;
    const bool          has_cap   = parameter(dst, 2) != 0.0f;
    const bool          has_sinks = dst->src[4] != nullptr;
    const bool          numbers   = q->type == GGML_TYPE_F32 && k->type == v->type &&
                         (k->type == GGML_TYPE_F32 || k->type == GGML_TYPE_F16);
    return numbers && !has_alibi && !has_cap && !has_sinks && v->ne[0] % rows_at_once == 0;
}

void jina_attention(const ggml_compute_params * params, ggml_tensor * dst, int64_t ir0, int64_t ir1) {
    const ggml_tensor * q    = dst->src[0];
    const ggml_tensor * k    = dst->src[1];
    const ggml_tensor * v    = dst->src[2];
    const ggml_tensor * mask = dst->src[3];

    const int64_t DK    = k->ne[0];
    const int64_t DV    = v->ne[0];
    const float   scale = parameter(dst, 0) * log2_e;

    const scratch s = scratch_of(params, DK, DV);
    running       known;

    for (int64_t ir = ir0; ir < ir1;) {
        const int64_t i3   = ir / (q->ne[2] * q->ne[1]);
        const int64_t i2   = ir / q->ne[1] % q->ne[2];
        const int64_t i1   = ir % q->ne[1];
        const int     rows = std::min<int64_t>({ n_queries, ir1 - ir, q->ne[1] - i1 });
        const int     vecs = (rows + lanes * vecs_at_once - 1) / (lanes * vecs_at_once) * vecs_at_once;
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
        std::fill_n(known.most, n_queries, nothing);
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
            multiply(s.keys, DK, 1, padded, DK, s.query, nullptr, s.scores, vecs);
            if (seen == view::mixed) {
                add_mask(masks, mask->nb[1], rows, keys, s.scores);
            }
            take_exponentials(keys, s.scores, known, vecs);
            widen(v, (const char *) v->data + key * v->nb[1] + v2 * v->nb[2] + v3 * v->nb[3], keys, DV, s.values);
            multiply(s.values, 1, DV, DV, keys, s.scores, known.factor, s.output, vecs);
        }

        // A query that may see nothing gets zeros, as upstream's do.
        for (int query = 0; query < n_queries; query++) {
            known.factor[query] = known.sum[query] == 0.0f ? 0.0f : 1.0f / known.sum[query];
        }
        for (int64_t d = 0; d < DV; d++) {
            for (int vec = 0; vec < vecs; vec++) {
                float * x = s.output + d * n_queries + vec * lanes;
                store(x, times(floats_at(x), floats_at(known.factor + vec * lanes)));
            }
        }
        // dst has the heads of a token after each other: permute(0, 2, 1, 3)
        float * to = (float *) ((char *) dst->data + (i3 * dst->ne[2] * dst->ne[1] + i2 + i1 * dst->ne[1]) * dst->nb[1]);
        transpose(s.output, n_queries, DV, rows, to, dst->ne[1] * dst->nb[1] / sizeof(float));
    }
}

#endif
