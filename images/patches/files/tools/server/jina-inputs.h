// What the inputs of a request may be. Every function that checks throws jina_bad_request with the name
// of what is wrong.

#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

struct jina_vocabulary {
    int size = 0;
    int end  = -1; // the token that the model ends every text with; -1: none
};

// True for an input that stands alone: a text, {"text": ...}, or an array of tokens.
bool jina_is_single(const nlohmann::ordered_json & input);

// The single inputs in a request's input, in place.
std::vector<nlohmann::ordered_json *> jina_split(nlohmann::ordered_json & input, const std::string & field);

// Makes a text of {"text": ...}. Jina's own API has texts as objects, beside images and what is to be
// fetched from an address.
void jina_take_text(nlohmann::ordered_json & input, const std::string & name);

// Refuses an input that is no text and no token array, or holds nothing.
void jina_check_input(const nlohmann::ordered_json & input, const std::string & name, const jina_vocabulary & vocabulary);

// Refuse what llama.cpp's /tokenize and /detokenize would take for nothing, or for another value.
void jina_check_tokenize(const nlohmann::ordered_json & body, const jina_vocabulary & vocabulary);
void jina_check_detokenize(const nlohmann::ordered_json & body, const jina_vocabulary & vocabulary);
