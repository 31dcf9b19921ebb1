// /similarity of text-embeddings-inference: how close sentences are to one, instead of their vectors.

#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

// Rewrites a request into one that embeds: the source sentence first, then the others; what stands in
// `parameters` becomes a field. Throws jina_bad_request for what is not of that form.
void jina_take_sentences(nlohmann::ordered_json & body);

// What the client calls an input of the rewritten request.
std::string jina_sentence_name(size_t i);

// The cosine of the first vector with each of the others.
nlohmann::ordered_json jina_similarities(const std::vector<std::vector<float>> & vectors);
