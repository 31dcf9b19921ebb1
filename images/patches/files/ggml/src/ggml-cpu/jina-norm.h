#pragma once

#include <cstdint>

// The sum of the squares of n numbers. Sixteen sums run side by side, which a compiler keeps in vectors;
// the order is the same on every CPU, for it depends on n alone.
inline double jina_sum_of_squares(const float * x, int64_t n) {
    constexpr int lanes = 16;

    double        sums[lanes] = {};
    const int64_t whole       = n / lanes * lanes;
    for (int64_t i = 0; i < whole; i += lanes) {
        for (int lane = 0; lane < lanes; lane++) {
            sums[lane] += (double) (x[i + lane] * x[i + lane]);
        }
    }
    double sum = 0.0;
    for (const double each : sums) {
        sum += each;
    }
    for (int64_t i = whole; i < n; i++) {
        sum += (double) (x[i] * x[i]);
    }
    return sum;
}
