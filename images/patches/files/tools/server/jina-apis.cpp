#include "jina-apis.h"

#include "jina-vectors.h"

#include <algorithm>

using ordered_json = nlohmann::ordered_json;

jina_api jina_api_of(const std::string & path) {
    const std::string embed = "/embed";
    if (path == "/v1/embed") {
        return jina_api::cohere_v1;
    }
    if (path == "/v2/embed") {
        return jina_api::cohere_v2;
    }
    if (path == "/similarity") {
        return jina_api::tei_similarity;
    }
    const bool embeds = path.size() >= embed.size() && path.compare(path.size() - embed.size(), embed.size(), embed) == 0;
    return embeds || path == "/info" ? jina_api::tei : jina_api::openai;
}

bool jina_is_cohere(jina_api api) {
    return api == jina_api::cohere_v1 || api == jina_api::cohere_v2;
}

bool jina_is_tei(jina_api api) {
    return api == jina_api::tei || api == jina_api::tei_similarity;
}

const char * jina_input_field(jina_api api) {
    return jina_is_tei(api)           ? "inputs" :
           api == jina_api::llama_cpp ? "content" :
           jina_is_cohere(api)        ? "texts" :
                                        "input";
}

void jina_refuse_other_inputs(jina_api api, const ordered_json & body) {
    const std::string own = jina_input_field(api);
    for (const char * name : { "input", "inputs", "texts", "content", "messages" }) {
        const ordered_json * value = jina_field(body, name);
        if (value && name != own && *value != "" && *value != ordered_json::array()) {
            throw jina_bad_request(std::string("`") + name + "` is not known here: texts go into `" + own + "`", name);
        }
    }
}

std::vector<jina_form> jina_take_cohere_forms(jina_api api, ordered_json & body) {
    const ordered_json * texts = jina_field(body, "texts");
    if (texts && !(texts->is_array() && std::all_of(texts->begin(), texts->end(), [](const auto & each) { return each.is_string(); }))) {
        throw jina_bad_request("`texts` must be a list of texts", "texts");
    }
    std::vector<jina_form> forms;
    if (const ordered_json * given = jina_field(body, "embedding_types")) {
        if (!given->is_array()) {
            throw jina_bad_request("`embedding_types` must be a list of forms", "embedding_types");
        }
        for (const auto & each : *given) {
            forms.push_back(jina_form_of("embedding_types", each));
        }
    }
    body.erase("embedding_types");
    if (forms.empty() && api == jina_api::cohere_v2) {
        forms.push_back(jina_form_of("embedding_types", "float"));
    }
    return forms;
}

static ordered_json list_of(const std::vector<std::vector<float>> & vectors, jina_numbers numbers, bool base64) {
    ordered_json list = ordered_json::array();
    for (const auto & each : vectors) {
        list.push_back(jina_write(each, numbers, base64));
    }
    return list;
}

ordered_json jina_tei_answer(const std::vector<std::vector<float>> & vectors, const jina_options & wanted) {
    return list_of(vectors, wanted.numbers, wanted.base64);
}

ordered_json jina_cohere_answer(jina_api                                api,
                                const std::vector<std::vector<float>> & vectors,
                                const std::vector<jina_form> &          forms,
                                const jina_cohere_facts &               facts) {
    ordered_json embeddings = ordered_json::object();
    for (const jina_form & each : forms) {
        embeddings[each.name] = list_of(vectors, each.numbers, each.base64);
    }
    ordered_json meta = {
        { "api_version",  { { "version", api == jina_api::cohere_v1 ? "1" : "2" } } },
        { "billed_units", { { "input_tokens", facts.n_tokens } }                    },
    };
    for (size_t i = 0; i < facts.cut.size(); i++) {
        if (facts.cut[i]) {
            meta["warnings"].push_back("`texts[" + std::to_string(i) + "]` was too long, and its end was cut");
        }
    }
    return {
        { "id",            facts.id                                                                          },
        { "embeddings",    forms.empty() ? list_of(vectors, JINA_FLOAT, false) : std::move(embeddings)       },
        { "texts",         facts.texts                                                                       },
        { "meta",          std::move(meta)                                                                   },
        { "response_type", forms.empty() ? "embeddings_floats" : "embeddings_by_type"                        },
    };
}

// What OpenAI's clients switch on, by the kind of an error.
static std::string code_of(const std::string & type) {
    return type == "exceed_context_size_error" ? "context_length_exceeded" :
           type == "authentication_error"      ? "invalid_api_key" :
                                                 type;
}

static std::string tei_type_of(const std::string & type) {
    return type == "overloaded_error"  ? "Overloaded" :
           type == "unavailable_error" ? "Unhealthy" :
           type == "server_error"      ? "Backend" :
                                         "Validation";
}

std::string jina_api_error(jina_api api, const std::string & id, const std::string & message, const std::string & type,
                           const ordered_json & more) {
    ordered_json answer;
    if (jina_is_tei(api)) {
        answer = { { "error", message }, { "error_type", tei_type_of(type) } };
    } else if (jina_is_cohere(api)) {
        answer = { { "id", id }, { "message", message } };
    } else {
        ordered_json error = {
            { "message", message       },
            { "type",    type          },
            { "param",   nullptr       },
            { "code",    code_of(type) },
        };
        error.update(more);
        // Clients of Jina's and Voyage's APIs read `detail`.
        answer = { { "error", error }, { "detail", message } };
    }
    return answer.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

int jina_api_status(jina_api api, int status, const std::string & type) {
    if (jina_is_tei(api) && status == 400) {
        return 422;
    }
    return jina_is_tei(api) && type == "overloaded_error" ? 429 : status;
}
