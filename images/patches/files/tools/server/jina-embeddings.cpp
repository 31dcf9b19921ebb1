#include "jina-embeddings.h"

#include "jina-apis.h"
#include "jina-fields.h"
#include "jina-inputs.h"
#include "jina-lifecycle.h"
#include "jina-requests.h"
#include "jina-settings.h"
#include "jina-similarity.h"
#include "jina-tasks.h"
#include "jina-vectors.h"

#include "../../src/jina-nfc.h"

#include "ggml-backend.h"
#include "llama.h"
#include "log.h"
#include "server-context.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <utility>
#include <vector>

// Not the server's own `json`: in newer sources that is a wrapper around this library.
using ordered_json = nlohmann::ordered_json;
using handler_t    = server_http_context::handler_t;

// A request for embeddings is an object that holds a list of lists: three levels. Other requests
// go deeper (JSON schemas), but no sane one comes near this.
static const int MAX_NESTING = 200;

// The most special tokens that a tokenizer adds to a text: one before it and one behind it.
static const size_t MAX_ADDED_TOKENS = 2;

// How many times as long, or as short, a text can be once it is in NFC.
static const size_t MAX_NFC_CHANGE = 3;

bool jina_is_clients_error(const std::exception & error) {
    // The sources wrap the JSON library's errors in different classes; the message stays its own.
    return std::strncmp(error.what(), "[json.exception.", 16) == 0 || dynamic_cast<const std::out_of_range *>(&error) ||
           dynamic_cast<const std::invalid_argument *>(&error);
}

void jina_check_nesting(const std::string & body) {
    int  depth     = 0;
    bool in_string = false;
    for (size_t i = 0; i < body.size(); i++) {
        const char c = body[i];
        if (in_string) {
            if (c == '\\') {
                i++; // what follows is escaped
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > MAX_NESTING) {
                throw std::invalid_argument("the JSON is nested more than " + std::to_string(MAX_NESTING) + " levels deep");
            }
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
}

namespace {

const char * const SIDE_NAMES[]     = { "none", "query", "document" };
const char * const SIDE_VARIABLES[] = { "", "JINA_QUERY_PREFIX", "JINA_DOCUMENT_PREFIX" };

bool starts_with(const std::string & text, const std::string & prefix) {
    return text.compare(0, prefix.size(), prefix) == 0;
}

// Throws std::invalid_argument naming the variable.
int positive(const char * variable, const std::string & text) {
    char *     end   = nullptr;
    const long value = std::strtol(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || value < 1 || value > 1000000) {
        throw std::invalid_argument(std::string(variable) + ": '" + text + "' is not a number of dimensions");
    }
    return (int) value;
}

// JINA_REQUIRE_GPU is set where a GPU is expected: with 1 the server does not start without one, with 0
// it says that it serves on the CPU. Throws std::invalid_argument for the former, and other values.
void check_gpu() {
    const std::string required = jina_environment("JINA_REQUIRE_GPU");
    if (!required.empty() && required != "0" && required != "1") {
        throw std::invalid_argument("JINA_REQUIRE_GPU: '" + required + "' is neither 0 nor 1");
    }
    if (required.empty() || ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU) ||
        ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_IGPU)) {
        return;
    }
    const std::string why = "no GPU can be used: there is no NVIDIA driver here that works, or no device";
    if (required == "1") {
        throw std::invalid_argument("JINA_REQUIRE_GPU is 1, but " + why);
    }
    LOG_WRN("%s; serving on the CPU\n", why.c_str());
}

ordered_json parse_object(const std::string & text) {
    ordered_json body;
    try {
        body = ordered_json::parse(text);
    } catch (const ordered_json::exception & error) {
        const std::string message = error.what(); // "[json.exception.parse_error.101] parse error at line ..."
        throw jina_bad_request("the request is not valid JSON: " + message.substr(message.find("] ") + 2, 500));
    }
    if (!body.is_object()) {
        throw jina_bad_request(std::string("the request must be a JSON object, not ") + body.type_name());
    }
    return body;
}

// The answer of a handler, or its refusal.
server_http_res_ptr answer_or_refuse(const std::function<server_http_res_ptr()> & handler) {
    try {
        return handler();
    } catch (const jina_bad_request & why) {
        ordered_json more = why.more;
        if (!why.param.empty()) {
            more["param"] = why.param;
        }
        return jina_refusal(why.code, why.what(), why.type, more);
    }
}

} // namespace

struct jina_embeddings::impl {
    // the settings
    std::vector<int> matryoshka;
    int              default_dimensions = 0; // 0: all
    std::string      prefixes[3];            // by side; empty where none is set

    // the model's limits
    std::vector<int> allowed_dimensions;
    jina_vocabulary  vocabulary;
    size_t           longest       = 0; // tokens of one input
    size_t           longest_token = 0; // bytes
    bool             normalises    = false; // its tokenizer puts texts into NFC

    std::string              model_name;
    std::string              model_kind; // architecture, size and quantisation
    std::string              build;
    std::time_t              created = std::time(nullptr);
    std::vector<std::string> own_names;    // of the catalogue
    std::vector<std::string> other_models; // of the catalogue
    jina_task                task = JINA_RETRIEVAL;

    handler_t          tokenizer;
    mutable std::mutex counting; // a long text takes 75 times its size while its tokens are counted: one at a time

    void read_settings();

    server_http_res_ptr answer(const server_http_req & req, const handler_t & upstream, jina_api written, jina_side given) const;
    server_http_res_ptr models(const server_http_req & req, const handler_t & upstream) const;
    server_http_res_ptr info() const;
    server_http_res_ptr convert(const server_http_req & req, const handler_t & upstream, bool to_text) const;

  private:
    jina_options         read_options(const ordered_json & body, jina_api written, jina_side given) const;
    void                 check_model(const std::string & name) const;
    void                 add_prefix(ordered_json & input, const std::string & name, jina_side which) const;
    bool                 has_one_prefix(const ordered_json & input, jina_api written) const;
    std::vector<int32_t> tokenize(const server_http_req & req, const std::string & text) const;
    bool fit(const server_http_req & req, ordered_json & input, const std::string & name, const jina_options & wanted) const;
};

// Throws std::invalid_argument for a setting that cannot be.
void jina_embeddings::impl::read_settings() {
    std::istringstream sizes(jina_environment("JINA_MATRYOSHKA"));
    for (std::string size; std::getline(sizes, size, ',');) {
        matryoshka.push_back(positive("JINA_MATRYOSHKA", size));
    }
    const std::string dimensions = jina_environment("JINA_DIMENSIONS");
    if (!dimensions.empty()) {
        default_dimensions = positive("JINA_DIMENSIONS", dimensions);
        if (std::find(matryoshka.begin(), matryoshka.end(), default_dimensions) == matryoshka.end()) {
            throw std::invalid_argument("JINA_DIMENSIONS: " + dimensions + " is not in JINA_MATRYOSHKA (" +
                                        jina_join(matryoshka) + ")");
        }
    }
    task = jina_get_settings().task;
    for (jina_side each : { JINA_SIDE_QUERY, JINA_SIDE_DOCUMENT }) {
        prefixes[each] = jina_environment(SIDE_VARIABLES[each]);
    }
}

// What is asked for beside the input. Throws jina_bad_request for what this model or server lacks.
jina_options jina_embeddings::impl::read_options(const ordered_json & body, jina_api written, jina_side given) const {
    if (written == jina_api::llama_cpp) {
        jina_refuse_fields(body);
    }
    jina_options wanted = jina_read_fields(body, given, allowed_dimensions, task);
    if (jina_is_cohere(written)) {
        if (wanted.side == JINA_SIDE_NONE) {
            throw jina_bad_request("`input_type` is missing; it is one of " + jina_side_words(task), "input_type");
        }
        if (wanted.numbers != JINA_FLOAT || wanted.base64 || wanted.normalize.value_or(2) != 2) {
            throw jina_bad_request("this path has vectors of length 1, in the forms that `embedding_types` names");
        }
    }
    if (written == jina_api::tei_similarity && (wanted.numbers != JINA_FLOAT || wanted.base64)) {
        throw jina_bad_request("this path answers numbers, not vectors, so that no form can be asked for");
    }
    if (wanted.side != JINA_SIDE_NONE && prefixes[wanted.side].empty()) {
        throw jina_bad_request(std::string("this server knows no prefix for the side ") + SIDE_NAMES[wanted.side] +
                               "; its operator sets it with " + SIDE_VARIABLES[wanted.side]);
    }
    if (wanted.dimensions == 0 && written != jina_api::llama_cpp) {
        wanted.dimensions = default_dimensions;
    }
    if (wanted.dimensions == allowed_dimensions.back()) {
        wanted.dimensions = 0;
    }
    if (wanted.dimensions != 0 && wanted.normalize.value_or(2) != 2) {
        throw jina_bad_request("vectors of " + std::to_string(wanted.dimensions) +
                               " dimensions are scaled to length 1 again, so `normalized` can only be true and `embd_normalize` 2");
    }
    return wanted;
}

// A side that is given wins: a text that begins with the other side's prefix has both.
void jina_embeddings::impl::add_prefix(ordered_json & input, const std::string & name, jina_side which) const {
    const std::string & prefix = prefixes[which];
    if (!input.is_string()) {
        throw jina_bad_request("`" + name + "` is an array of tokens, to which no prefix can be added; send a text, or no side", name);
    }
    const auto & text = input.get_ref<const std::string &>();
    if (!starts_with(text, prefix)) {
        input = prefix + text;
    }
}

// Without sides there is nothing to choose, so a text has the prefix where a request says nothing, too. Who
// makes tokens, or writes llama.cpp's own form, adds it.
bool jina_embeddings::impl::has_one_prefix(const ordered_json & input, jina_api written) const {
    return task != JINA_RETRIEVAL && input.is_string() && written != jina_api::llama_cpp && !prefixes[JINA_SIDE_DOCUMENT].empty();
}

// The tokens of a text, those that the model adds included: by the server's own route, which
// knows the vocabulary and wakes a sleeping server.
std::vector<int32_t> jina_embeddings::impl::tokenize(const server_http_req & req, const std::string & text) const {
    server_http_req inner = req;
    inner.body = ordered_json{ { "content", text }, { "add_special", true }, { "parse_special", true } }.dump();
    const auto res = tokenizer(inner);
    if (res->status != 200) {
        throw std::runtime_error("the tokenizer failed: " + res->data);
    }
    return ordered_json::parse(res->data).at("tokens").get<std::vector<int32_t>>();
}

// Makes sure that an input is no longer than the model can take; true if it was cut for that.
bool jina_embeddings::impl::fit(const server_http_req & req,
                                ordered_json &          input,
                                const std::string &     name,
                                const jina_options &         wanted) const {
    std::vector<int32_t> tokens;
    if (input.is_string()) {
        const auto & text = input.get_ref<const std::string &>();
        // A token stands for at least one byte, so most texts need not be counted; and for no more
        // than the longest one, so that some texts are too long for sure.
        const size_t change = normalises && !jina_is_nfc(text) ? MAX_NFC_CHANGE : 1;
        if (text.size() * change + MAX_ADDED_TOKENS <= longest) {
            return false;
        }
        if (text.size() > longest * longest_token * change) {
            throw jina_bad_request("`" + name + "` has " + std::to_string(text.size()) + " bytes, which is more than " +
                                       std::to_string(longest) + " tokens in any case" +
                                       (wanted.truncate ? "; too much to be cut here" : ""),
                                   name, "exceed_context_size_error",
                              { { "n_prompt_tokens", text.size() / longest_token }, { "n_ctx", longest } });
        }
        std::lock_guard<std::mutex> one_at_a_time(counting);
        tokens = tokenize(req, text);
    } else {
        tokens = input.get<std::vector<int32_t>>();
    }
    if (tokens.size() <= longest) {
        return false;
    }
    if (!wanted.truncate) {
        const std::string given = std::to_string(tokens.size());
        throw jina_bad_request("`" + name + "` has " + given + " tokens, but at most " + std::to_string(longest) +
                                   " are allowed; `truncate`: true cuts it",
                               name, "exceed_context_size_error", { { "n_prompt_tokens", tokens.size() }, { "n_ctx", longest } });
    }
    // The last token stays where it is the one that the model ends each text with, and pools at.
    const int kept = tokens.back() == vocabulary.end ? 1 : 0;
    tokens.erase(tokens.begin() + (longest - kept), tokens.end() - kept);
    input = tokens;
    return true;
}

// What the answer says of its tokens, which stands before the vectors.
static void note_usage(const server_http_res & res) {
    static const std::string name  = "\"prompt_tokens\":";
    const size_t             found = res.status == 200 ? res.data.substr(0, 1000).find(name) : std::string::npos;
    if (found != std::string::npos) {
        jina_note_tokens(std::strtoul(res.data.c_str() + found + name.size(), nullptr, 10));
    }
}

// A client that asks for another model of the catalogue, or for this one with another task's weights, must
// not get this one's vectors. Other names pass: many clients insist on one of OpenAI's. A name may have an
// owner before it and more behind it.
void jina_embeddings::impl::check_model(const std::string & name) const {
    const std::string bare    = name.substr(name.rfind('/') + 1);
    const auto        names   = [&bare](const std::string & each) { return starts_with(bare, each); };
    const std::string said    = jina_task_in(bare);
    const bool        another = !said.empty() && said != jina_task_name(task);
    if (std::any_of(other_models.begin(), other_models.end(), names) ||
        (another && std::any_of(own_names.begin(), own_names.end(), names))) {
        jina_bad_request why("the model " + jina_shown(name) + " is not served here, but " + model_name + " for " + jina_task_name(task),
                             "model", "model_not_found");
        why.code = 404;
        throw why;
    }
}

server_http_res_ptr jina_embeddings::impl::answer(const server_http_req & req,
                                                  const handler_t &       upstream,
                                                  jina_api                written,
                                                  jina_side               given) const {
    ordered_json           body = parse_object(req.body);
    jina_take_fields_in(body, "extra_body");
    std::vector<jina_form> forms;
    if (jina_is_cohere(written)) {
        forms = jina_take_cohere_forms(written, body);
    } else if (written == jina_api::tei_similarity) {
        jina_take_sentences(body);
    } else if (written == jina_api::openai && jina_field(body, "content")) {
        // llama.cpp's own form of a request, which it answers in its own form, whatever the path
        if (jina_field(body, "input")) {
            throw jina_bad_request("the request holds both `input` and `content`", "content");
        }
        if (given != JINA_SIDE_NONE) {
            throw jina_bad_request("`input` is missing; `content` has no sides", "input");
        }
        written = jina_api::llama_cpp;
    }
    jina_refuse_other_inputs(written, body);
    const std::string field = jina_input_field(written);
    if (!jina_field(body, field.c_str())) {
        throw jina_bad_request("`" + field + "` is missing", field);
    }
    ordered_json input = std::move(body.at(field));
    body.erase(field);
    const ordered_json texts = jina_is_cohere(written) ? input : ordered_json(); // which its answer repeats
    check_model(jina_text_field(body, "model"));
    const jina_options wanted = read_options(body, written, given);

    const bool        single = jina_is_single(input);
    const auto        inputs = jina_split(input, field);
    std::vector<bool> cut;
    if (inputs.size() > jina_get_settings().max_inputs) {
        throw jina_bad_request("the request holds " + std::to_string(inputs.size()) + " inputs, but at most " +
                               std::to_string(jina_get_settings().max_inputs) + " are allowed", field);
    }
    if (!jina_take_inputs(inputs.size())) {
        return jina_refusal(503, "too many inputs wait already; try again later", "overloaded_error");
    }
    for (ordered_json * each : inputs) {
        const std::string name = written == jina_api::tei_similarity ? jina_sentence_name(cut.size()) :
                                 single                              ? field :
                                                                       field + "[" + std::to_string(cut.size()) + "]";
        jina_take_text(*each, name);
        jina_check_input(*each, name, vocabulary);
        if (wanted.side != JINA_SIDE_NONE) {
            add_prefix(*each, name, wanted.side);
        } else if (has_one_prefix(*each, written)) {
            add_prefix(*each, name, JINA_SIDE_DOCUMENT);
        }
        cut.push_back(fit(req, *each, name, wanted));
    }

    // To be rewritten, the vectors come as base64: far cheaper to read than decimal numbers.
    const bool own_form = jina_is_tei(written) || jina_is_cohere(written);
    const bool rewrite  = own_form || wanted.dimensions != 0 || wanted.truncate || wanted.numbers != JINA_FLOAT;
    ordered_json asked  = { { "encoding_format", rewrite || wanted.base64 ? "base64" : "float" } };
    if (wanted.normalize) {
        asked["embd_normalize"] = *wanted.normalize;
    }
    asked[written == jina_api::llama_cpp ? "content" : "input"] = std::move(input);

    server_http_req inner = req;
    inner.body            = asked.dump();
    auto res              = upstream(inner);
    note_usage(*res);
    if (!rewrite || res->status != 200 || res->data.empty()) {
        return res;
    }

    ordered_json                    answer = ordered_json::parse(res->data);
    std::vector<std::vector<float>> vectors;
    for (const auto & item : answer.at("data")) {
        vectors.push_back(jina_decode(item.at("embedding").get_ref<const std::string &>()));
        if (wanted.dimensions != 0) {
            vectors.back() = jina_shorten(std::move(vectors.back()), wanted.dimensions);
        }
    }
    if (written == jina_api::tei) {
        answer = jina_tei_answer(vectors, wanted);
    } else if (written == jina_api::tei_similarity) {
        answer = jina_similarities(vectors);
    } else if (jina_is_cohere(written)) {
        const auto n_tokens = answer.at("usage").at("prompt_tokens").get<unsigned long>();
        answer              = jina_cohere_answer(written, vectors, forms, { jina_request_id(), texts, n_tokens, cut });
    } else {
        for (size_t i = 0; i < cut.size(); i++) {
            ordered_json & item = answer.at("data").at(i);
            item["embedding"]   = jina_write(vectors[i], wanted.numbers, wanted.base64);
            if (!wanted.base64) {
                item.erase("encoding_format");
            }
            if (wanted.truncate) {
                item["truncated"] = (bool) cut[i];
            }
        }
    }
    res->data = answer.dump();
    return res;
}

// What text-embeddings-inference tells of itself, as far as it is true here.
server_http_res_ptr jina_embeddings::impl::info() const {
    const jina_settings & settings = jina_get_settings();
    const ordered_json    told     = {
        { "model_id",                model_name                                                  },
        { "model_sha",               nullptr                                                     },
        { "model_dtype",             model_kind                                                  },
        { "served_model_name",       model_name                                                  },
        { "model_type",              { { "embedding", { { "pooling", "last_token" } } } }        },
        { "max_concurrent_requests", settings.max_waiting_inputs                                 },
        { "max_input_length",        longest                                                     },
        { "max_batch_tokens",        longest                                                     },
        { "max_batch_requests",      nullptr                                                     },
        { "max_client_batch_size",   settings.max_inputs                                         },
        { "auto_truncate",           false                                                       },
        { "tokenization_workers",    1                                                           },
        { "version",                 build                                                       },
        { "sha",                     nullptr                                                     },
        { "docker_label",            nullptr                                                     },
    };
    auto res  = std::make_unique<server_http_res>();
    res->data = told.dump();
    return res;
}

// The server's own list of models, with what clients may want to know.
server_http_res_ptr jina_embeddings::impl::models(const server_http_req & req, const handler_t & upstream) const {
    auto res = upstream(req);
    if (res->status != 200) {
        return res;
    }
    ordered_json       list      = ordered_json::parse(res->data);
    const ordered_json embedding = ordered_json::array({ "embedding" });
    ordered_json &     model     = list.at("data").at(0);
    model["created"]             = created; // upstream's is the time of asking
    model["capabilities"]        = embedding;
    model["dimensions"]          = allowed_dimensions.back();
    model["matryoshka"]          = allowed_dimensions;
    model["context"]             = longest;
    model["pooling"]             = "last";
    model["task"]                = jina_task_name(task);
    if (list.contains("models")) {
        list["models"].at(0)["capabilities"] = embedding;
    }
    // Behind /models/, in which a name may have slashes of its own.
    const std::string path   = req.path.substr(jina_api_prefix().size());
    const size_t      begin  = path.find("/models/");
    const std::string wanted = begin == std::string::npos ? "" : path.substr(begin + 8);
    if (wanted.empty()) {
        res->data = list.dump();
    } else if (wanted == model.value("id", "")) {
        res->data = model.dump();
    } else {
        return jina_refusal(404, "the model " + jina_shown(wanted) + " is not served here, but " + model_name, "model_not_found");
    }
    return res;
}

// /tokenize and /detokenize: one long text at a time, and none that no input can be.
server_http_res_ptr jina_embeddings::impl::convert(const server_http_req & req, const handler_t & upstream, bool to_text) const {
    const size_t most = longest * longest_token;
    if (req.body.size() > 2 * most) {
        throw jina_bad_request("the request has " + std::to_string(req.body.size()) + " bytes, more than any input can have", "",
                               "exceed_context_size_error");
    }
    std::unique_lock<std::mutex> one_at_a_time(counting, std::defer_lock);
    if (req.body.size() > std::min<size_t>(most, 64 * 1024)) {
        one_at_a_time.lock();
    }
    const ordered_json body = parse_object(req.body);
    to_text ? jina_check_detokenize(body, vocabulary) : jina_check_tokenize(body, vocabulary);
    return upstream(req);
}

bool jina_embeddings::init(server_routes & routes) {
    self = std::make_shared<impl>();
    try {
        self->read_settings();
        check_gpu();
    } catch (const std::invalid_argument & error) {
        LOG_ERR("%s\n", error.what());
        // The process ends now, and older sources then lose what their log's thread has not written.
        common_log_flush(common_log_main());
        return false;
    }
    self->tokenizer = routes.post_tokenize;

    const auto converting = [self = self](handler_t upstream, bool to_text) -> handler_t {
        return [=](const server_http_req & req) { return answer_or_refuse([&] { return self->convert(req, upstream, to_text); }); };
    };
    routes.post_tokenize   = converting(routes.post_tokenize, false);
    routes.post_detokenize = converting(routes.post_detokenize, true);
    routes.get_models      = [self = self, upstream = routes.get_models](const server_http_req & req) {
        return self->models(req, upstream);
    };
    routes.get_metrics = jina_metrics(routes.get_metrics);

    const auto in_front_of = [self = self](handler_t upstream, jina_api written, jina_side given) -> handler_t {
        return [=](const server_http_req & req) { return answer_or_refuse([&] { return self->answer(req, upstream, written, given); }); };
    };
    const handler_t embed = routes.post_embeddings_oai;

    posts = {
        { "/query/v1/embeddings",    in_front_of(embed, jina_api::openai, JINA_SIDE_QUERY)    },
        { "/document/v1/embeddings", in_front_of(embed, jina_api::openai, JINA_SIDE_DOCUMENT) },
        { "/embed",                  in_front_of(embed, jina_api::tei,    JINA_SIDE_NONE)     },
        { "/query/embed",            in_front_of(embed, jina_api::tei,    JINA_SIDE_QUERY)    },
        { "/document/embed",         in_front_of(embed, jina_api::tei,    JINA_SIDE_DOCUMENT) },
        { "/similarity",             in_front_of(embed, jina_api::tei_similarity, JINA_SIDE_NONE) },
        { "/v1/embed",               in_front_of(embed, jina_api::cohere_v1, JINA_SIDE_NONE)  },
        { "/v2/embed",               in_front_of(embed, jina_api::cohere_v2, JINA_SIDE_NONE)  },
    };
    gets = {
        { "/models/(.+)",    routes.get_models                                              },
        { "/v1/models/(.+)", routes.get_models                                              },
        { "/info",           [self = self](const server_http_req &) { return self->info(); } },
    };
    routes.post_embeddings     = in_front_of(embed, jina_api::openai, JINA_SIDE_NONE);
    routes.post_embeddings_oai = routes.post_embeddings;
    return true;
}

void jina_embeddings::model_loaded(const server_context & server) {
    const llama_context * ctx   = server.get_llama_context();
    const llama_model *   model = llama_get_model(ctx);
    const llama_vocab *   vocab = llama_model_get_vocab(model);

    self->vocabulary.size = llama_vocab_n_tokens(vocab);

    char tokenizer_pre[64] = "";
    llama_model_meta_val_str(model, "tokenizer.ggml.pre", tokenizer_pre, sizeof(tokenizer_pre));
    self->normalises = jina_normalises(tokenizer_pre);

    std::vector<char> piece(64 * 1024);
    for (int token = 0; token < self->vocabulary.size; token++) {
        const int size      = llama_token_to_piece(vocab, token, piece.data(), (int) piece.size(), 0, true);
        self->longest_token = std::max<size_t>(self->longest_token, std::abs(size));
    }

    // As the server's own routes tokenize, but for the room: two tokens more than a text of one byte.
    std::vector<llama_token> bare(8), whole(8);
    bare.resize(std::max(0, llama_tokenize(vocab, "a", 1, bare.data(), (int) bare.size(), false, true)));
    whole.resize(std::max(0, llama_tokenize(vocab, "a", 1, whole.data(), (int) whole.size(), true, true)));
    if (!whole.empty() && (bare.empty() || whole.back() != bare.back())) {
        self->vocabulary.end = whole.back();
    }

    char kind[128] = "";
    llama_model_desc(model, kind, sizeof(kind));
    self->model_kind = kind;
    self->build      = server.get_meta().build_info;

    char architecture[64] = "";
    llama_model_meta_val_str(model, "general.architecture", architecture, sizeof(architecture));
    self->model_name               = server.get_meta().model_name;
    const jina_settings & settings = jina_get_settings();
    for (size_t i = 0; i < settings.catalogue_names.size(); i++) {
        const bool own = settings.catalogue_architectures[i] == architecture;
        (own ? self->own_names : self->other_models).push_back(settings.catalogue_names[i]);
    }

    const int n_embd = llama_model_n_embd_out(model);
    for (int size : self->matryoshka) {
        if (size < n_embd) {
            self->allowed_dimensions.push_back(size);
        }
    }
    self->allowed_dimensions.push_back(n_embd);
    if (self->default_dimensions > n_embd) {
        LOG_WRN("JINA_DIMENSIONS: the model has only %d dimensions, all are served\n", n_embd);
        self->default_dimensions = 0;
    }

    // With a KV cache upstream keeps room for one more token than the input has. Without one, a
    // whole input is one micro-batch.
    const size_t n_ctx = server.get_meta().slot_n_ctx;
    self->longest      = llama_get_memory(ctx) ? n_ctx - 1 : std::min<size_t>(n_ctx, llama_n_ubatch(ctx));

    const auto number = [](size_t value) { return std::to_string(value); };
    jina_log_setting("model", self->model_name + " (" + architecture + ")");
    jina_log_setting("task", jina_task_name(self->task));
    jina_log_setting("dimensions", jina_join(self->allowed_dimensions));
    const auto token = [vocab](llama_token id) { return std::to_string(id) + " (" + llama_vocab_get_text(vocab, id) + ")"; };
    jina_log_setting("token before each text", llama_vocab_get_add_bos(vocab) ? token(llama_vocab_bos(vocab)) : "none");
    jina_log_setting("token behind each text", llama_vocab_get_add_eos(vocab) ? token(llama_vocab_eos(vocab)) : "none");
    jina_log_setting("normal form of texts", self->normalises ? "NFC" : "none");
    jina_log_setting("tokens of an input, at most", number(self->longest));
    jina_log_setting("inputs of a request, at most", number(settings.max_inputs));
    jina_log_setting("bytes of a request, at most", number(settings.max_body_bytes));
    jina_log_setting("inputs that wait, at most", number(settings.max_waiting_inputs));
    jina_log_setting("bytes that wait, at most", number(settings.max_waiting_bytes));
    jina_log_setting("bytes of the cache of vectors", settings.cache_bytes > 0 ? number(settings.cache_bytes) : "none");
    jina_log_setting("seconds for draining", number(settings.drain_seconds));
    jina_model_is_loaded(jina_api_prefix());
}
