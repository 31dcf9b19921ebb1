// jina-norm.h alone: reads rows from its input (an int64_t, how many numbers, and these), and writes
// the sum of squares of each in 64 bits.

#include "jina-norm.h"

#include <cstdio>
#include <vector>

int main() {
    int64_t n;
    while (fread(&n, sizeof(n), 1, stdin) == 1) {
        std::vector<float> row(n);
        if (fread(row.data(), sizeof(float), n, stdin) != (size_t) n) {
            fprintf(stderr, "the input ends within a row\n");
            return 1;
        }
        const double sum = jina_sum_of_squares(row.data(), n);
        fwrite(&sum, sizeof(sum), 1, stdout);
    }
}
