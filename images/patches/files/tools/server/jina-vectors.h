// Vectors as they are written into an answer.

#pragma once

#include "jina-fields.h"

#include <string>
#include <vector>

// Reads a vector as the server writes it in base64: float32, little-endian.
std::vector<float> jina_decode(const std::string & text);

// The first `size` numbers, scaled to length 1 again: how a Matryoshka embedding is shortened
// (Kusupati et al., "Matryoshka Representation Learning", 2022).
std::vector<float> jina_shorten(std::vector<float> vector, size_t size);

// The vector as a list of numbers, or as base64 of their bytes.
//
// int8 is round(127 v) and uint8 round(127.5 (v + 1)), half to even; ubinary holds a bit for each v > 0,
// eight in a byte, the first in the highest, and binary is that byte minus 128. So do Jina's own server
// (jina-ai/jina-on-prem, server/serialize.py); the hosted APIs and their clients agree on the last two,
// and document only the ranges of the first two.
nlohmann::ordered_json jina_write(const std::vector<float> & vector, jina_numbers numbers, bool base64);
