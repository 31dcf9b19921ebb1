// Attention on the CPU with a query in each lane; 0006-attention.patch puts it in place.

#pragma once

#include <cstdint>

struct ggml_compute_params;
struct ggml_tensor;

// Whether a GGML_OP_FLASH_ATTN_EXT is one that we compute: any number of queries, keys and values of
// 16 or 32 bits, without ALiBi, soft caps and sinks, on a CPU with vectors.
bool jina_takes_attention(const ggml_tensor * dst);

// Computes rows ir0 to ir1 of one, in upstream's scratch memory. The result of a query depends on
// nothing but the query, and the keys and values that it may see in their order: not on how many
// others there are, nor on where tiles or rows begin.
void jina_attention(const ggml_compute_params * params, ggml_tensor * dst, int64_t ir0, int64_t ir1);
