// Q8_0 matrices laid out for the integer dot products of x86; 0007-q8.patch puts it in place.

#pragma once

#include "ggml-backend.h"

// The buffers in which such matrices lie, or nullptr where this variant of the backend has not
// even AVX2. They are offered to llama.cpp after those for AMX.
ggml_backend_buffer_type_t jina_q8_buffer_type(void);
