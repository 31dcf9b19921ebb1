// Attention on the CPU with a query in each lane; 0006-attention.patch puts it in place.

#pragma once

#include <cstdint>

struct ggml_compute_params;
struct ggml_tensor;

// Computes rows ir0 to ir1 of a GGML_OP_FLASH_ATTN_EXT whose operands upstream's tiled form would
// take, in its scratch memory. Returns false, with nothing done, where it does not know how.
bool jina_attention(const ggml_compute_params * params, ggml_tensor * dst, int64_t ir0, int64_t ir1);
