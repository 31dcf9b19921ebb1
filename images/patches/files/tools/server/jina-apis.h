// The APIs that requests are written for: each has its own form of answers and errors.

#pragma once

#include "jina-fields.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

enum class jina_api { openai, llama_cpp, tei, tei_similarity, cohere_v1, cohere_v2 };

// Whose API a path is of, as it is listed in jina-requests.cpp.
jina_api jina_api_of(const std::string & path);

// Both versions of Cohere's API.
bool jina_is_cohere(jina_api api);

// Both routes of text-embeddings-inference.
bool jina_is_tei(jina_api api);

// The field that holds the inputs of a request.
const char * jina_input_field(jina_api api);

// Throws jina_bad_request where texts stand in another API's field: they would not be embedded.
void jina_refuse_other_inputs(jina_api api, const nlohmann::ordered_json & body);

// Takes out the forms that a request of Cohere's API asks for: there an answer has several. Throws
// jina_bad_request where its texts are no list of texts.
std::vector<jina_form> jina_take_cohere_forms(jina_api api, nlohmann::ordered_json & body);

// An answer of text-embeddings-inference: the vectors, and nothing beside them.
nlohmann::ordered_json jina_tei_answer(const std::vector<std::vector<float>> & vectors, const jina_options & wanted);

// What an answer of Cohere's holds beside the vectors.
struct jina_cohere_facts {
    std::string            id; // of the request
    nlohmann::ordered_json texts;
    unsigned long          n_tokens = 0;
    std::vector<bool>      cut; // by text
};

// An answer of Cohere's: the vectors in each form. Its first version has one list where no form is asked for.
nlohmann::ordered_json jina_cohere_answer(jina_api                                api,
                                          const std::vector<std::vector<float>> & vectors,
                                          const std::vector<jina_form> &          forms,
                                          const jina_cohere_facts &               facts);

// An error with its message, which may quote bytes that are no UTF-8; `more` is added in OpenAI's form.
std::string jina_api_error(jina_api api, const std::string & id, const std::string & message, const std::string & type,
                           const nlohmann::ordered_json & more);

// The status that an API has for an error of ours.
int jina_api_status(jina_api api, int status, const std::string & type);
