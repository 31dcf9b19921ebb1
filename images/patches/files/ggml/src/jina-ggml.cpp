// What Jina's fork takes from ggml's CPU backend, which nothing links where backends are loaded at
// run time (GGML_BACKEND_DL). See 0011-cpu-symbols.patch.

#include "ggml.h"
#include "ggml-cpu.h"

#include <cstring>
#include <vector>

namespace {

template <typename T> float number_at(const char * place) {
    T number;
    memcpy(&number, place, sizeof(number));
    return (float) number;
}

} // namespace

// The i-th number of a tensor in main memory, of whatever type. Weak, so that the backend's own is
// taken where both are linked into one file.
extern "C" __attribute__((weak))
float ggml_get_f32_1d(const struct ggml_tensor * tensor, int i) {
    int64_t at[4];
    ggml_unravel_index(tensor, i, &at[0], &at[1], &at[2], &at[3]);

    // quantised numbers come in blocks, of which each has its own place
    const int64_t n_block = ggml_blck_size(tensor->type);
    const char * place = (const char *) tensor->data + at[0] / n_block * tensor->nb[0];
    for (int dim = 1; dim < 4; ++dim) {
        place += at[dim] * tensor->nb[dim];
    }

    switch (tensor->type) {
        case GGML_TYPE_F32: return number_at<float>(place);
        case GGML_TYPE_I8:  return number_at<int8_t>(place);
        case GGML_TYPE_I16: return number_at<int16_t>(place);
        case GGML_TYPE_I32: return number_at<int32_t>(place);
        default:            break;
    }
    const auto to_float = ggml_get_type_traits(tensor->type)->to_float;
    GGML_ASSERT(to_float && "ggml_get_f32_1d: a type that cannot be read as numbers");
    std::vector<float> block(n_block);
    to_float(place, block.data(), n_block);
    return block[at[0] % n_block];
}
