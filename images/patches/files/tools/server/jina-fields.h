// What a request asks for beside its texts, whichever API its client was written for.
//
// One table (in jina-fields.cpp) holds every name that OpenAI, Jina, Voyage, Cohere, NVIDIA, Gemini,
// vLLM, LlamaIndex and text-embeddings-inference have for what changes a vector. Each is honoured,
// or refused with a sentence.

#pragma once

#include "jina-tasks.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

enum jina_side { JINA_SIDE_NONE, JINA_SIDE_QUERY, JINA_SIDE_DOCUMENT };

// What the numbers of a vector are; the last two hold the signs of eight in one.
enum jina_numbers { JINA_FLOAT, JINA_INT8, JINA_UINT8, JINA_BINARY, JINA_UBINARY };

struct jina_options {
    jina_side    side       = JINA_SIDE_NONE; // the document's where a request names a task without sides
    int          dimensions = 0; // 0: not said
    jina_numbers numbers    = JINA_FLOAT;
    bool         base64     = false;
    bool         truncate   = false;
    std::optional<int> normalize; // llama.cpp's embd_normalize: 2 scales a vector to length 1, -1 leaves it as it is
};

// A form of a vector, by the name that clients have for it.
struct jina_form {
    const char * name;
    jina_numbers numbers;
    bool         base64;
};

// A request that is refused. `param` is the field that is wrong, where it is one; `more` is added to
// the error beside its message.
struct jina_bad_request : std::runtime_error {
    int                    code = 400;
    std::string            type;
    std::string            param;
    nlohmann::ordered_json more;

    explicit jina_bad_request(const std::string &    message,
                              std::string            param = "",
                              std::string            type  = "invalid_request_error",
                              nlohmann::ordered_json more  = nlohmann::ordered_json::object()) :
        std::runtime_error(message), type(std::move(type)), param(std::move(param)), more(std::move(more)) {}
};

// A client's value as it is quoted in a message: the beginning of it.
std::string jina_shown(const std::string & value);
std::string jina_shown(const nlohmann::ordered_json & value);

// The numbers with commas between them.
std::string jina_join(const std::vector<int> & numbers);

// A field that is absent or null is not there; OpenAI's clients may send null.
const nlohmann::ordered_json * jina_field(const nlohmann::ordered_json & body, const char * name);

// A field that holds a text, empty where it is not there. Throws jina_bad_request for another type.
std::string jina_text_field(const nlohmann::ordered_json & body, const char * name);

// Makes fields of the request of what is in an object of it, such as `extra_body`. OpenAI's client in Python
// does so by itself; LiteLLM and clients in other languages send it as it is. Throws jina_bad_request where
// the two say different things.
void jina_take_fields_in(nlohmann::ordered_json & body, const std::string & object);

// Reads all fields but the input. `given` is the side that the path names, `sizes` what `dimensions`
// may be, `task` what the weights are for. Throws jina_bad_request for what cannot be honoured, and for
// fields that contradict.
jina_options jina_read_fields(const nlohmann::ordered_json & body, jina_side given, const std::vector<int> & sizes, jina_task task);

// The words that say the side, or else the task, with commas between them.
std::string jina_side_words(jina_task task);

// The form that a field's value names. Throws jina_bad_request where it names none.
jina_form jina_form_of(const char * field, const nlohmann::ordered_json & value);

// Throws jina_bad_request where a request in llama.cpp's own form, which has `content` for `input`,
// holds a field that only the others know.
void jina_refuse_fields(const nlohmann::ordered_json & body);
