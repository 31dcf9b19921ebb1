#include "jina-inputs.h"

#include "jina-fields.h"

#include <algorithm>

using ordered_json = nlohmann::ordered_json;

static bool is_token_array(const ordered_json & value) {
    return value.is_array() && !value.empty() &&
           std::all_of(value.begin(), value.end(), [](const ordered_json & each) { return each.is_number_integer(); });
}

bool jina_is_single(const ordered_json & input) {
    return input.is_string() || input.is_object() || is_token_array(input);
}

std::vector<ordered_json *> jina_split(ordered_json & input, const std::string & field) {
    if (jina_is_single(input)) {
        return { &input };
    }
    if (!input.is_array()) {
        throw jina_bad_request("`" + field + "` must be a text, an array of token numbers, or a list of these, not " + input.type_name(), field);
    }
    if (input.empty()) {
        throw jina_bad_request("`" + field + "` must not be an empty list", field);
    }
    std::vector<ordered_json *> inputs;
    for (auto & each : input) {
        inputs.push_back(&each);
    }
    return inputs;
}

void jina_take_text(ordered_json & input, const std::string & name) {
    if (!input.is_object()) {
        return;
    }
    for (const auto & [key, value] : input.items()) {
        if (key != "text" && !(key == "type" && value == "text")) {
            throw jina_bad_request("`" + name + "` holds `" + jina_shown(key) + "`, but this server embeds texts only: {\"text\": \"...\"}", name);
        }
    }
    const ordered_json text = jina_text_field(input, "text");
    input                   = text;
}

static void check_token(const ordered_json & token, const std::string & name, const jina_vocabulary & vocabulary) {
    if (token < 0 || token >= vocabulary.size) {
        throw jina_bad_request("`" + name + "` holds the token " + jina_shown(token) + ", but tokens go from 0 to " +
                               std::to_string(vocabulary.size - 1), name);
    }
}

void jina_check_input(const ordered_json & input, const std::string & name, const jina_vocabulary & vocabulary) {
    if (input == "" || input == ordered_json::array()) {
        throw jina_bad_request("`" + name + "` must not be empty", name);
    }
    if (input.is_string()) {
        return;
    }
    if (!is_token_array(input)) {
        throw jina_bad_request("`" + name + "` must be a text or an array of token numbers", name);
    }
    for (const auto & token : input) {
        check_token(token, name, vocabulary);
    }
    // The vector is that of the last token. Another tokenizer's numbers, as some clients send them, are
    // other words here, and nearly never end so.
    if (vocabulary.end >= 0 && input.back() != vocabulary.end) {
        throw jina_bad_request("`" + name + "` is an array of tokens that does not end with " + std::to_string(vocabulary.end) +
                               ", as every text does for this model: send the text instead. LangChain does with "
                               "check_embedding_ctx_length=False", name);
    }
}

void jina_check_tokenize(const ordered_json & body, const jina_vocabulary & vocabulary) {
    for (const char * flag : { "add_special", "parse_special", "with_pieces" }) {
        const ordered_json * value = jina_field(body, flag);
        if (value && !value->is_boolean()) {
            throw jina_bad_request(std::string("`") + flag + "` must be true or false, not " + jina_shown(*value), flag);
        }
    }
    const ordered_json * content = jina_field(body, "content");
    if (!content) {
        throw jina_bad_request("`content` is missing", "content");
    }
    if (content->is_string()) {
        return;
    }
    if (!content->is_array()) {
        throw jina_bad_request(std::string("`content` must be a text, or a list of texts and tokens, not ") + content->type_name(), "content");
    }
    for (const auto & each : *content) {
        if (each.is_number_integer()) {
            check_token(each, "content", vocabulary);
        } else if (!each.is_string()) {
            throw jina_bad_request("`content` must hold texts and tokens, not " + jina_shown(each), "content");
        }
    }
}

void jina_check_detokenize(const ordered_json & body, const jina_vocabulary & vocabulary) {
    const ordered_json * tokens = jina_field(body, "tokens");
    if (!tokens || !tokens->is_array()) {
        throw jina_bad_request(tokens ? "`tokens` must be a list of tokens" : "`tokens` is missing", "tokens");
    }
    for (const auto & each : *tokens) {
        if (!each.is_number_integer()) {
            throw jina_bad_request("`tokens` must hold numbers of tokens, not " + jina_shown(each), "tokens");
        }
        check_token(each, "tokens", vocabulary);
    }
}
