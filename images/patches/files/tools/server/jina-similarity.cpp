#include "jina-similarity.h"

#include "jina-fields.h"

#include <cmath>

using ordered_json = nlohmann::ordered_json;

static const char * const SOURCE    = "inputs.source_sentence";
static const char * const SENTENCES = "inputs.sentences";

void jina_take_sentences(ordered_json & body) {
    const ordered_json * inputs = jina_field(body, "inputs");
    if (!inputs || !inputs->is_object()) {
        throw jina_bad_request("`inputs` must be an object with `source_sentence` and `sentences`", "inputs");
    }
    const ordered_json * source = jina_field(*inputs, "source_sentence");
    if (!source || !source->is_string()) {
        throw jina_bad_request(std::string("`") + SOURCE + "` must be a text", SOURCE);
    }
    const ordered_json * sentences = jina_field(*inputs, "sentences");
    if (!sentences || !sentences->is_array() || sentences->empty()) {
        throw jina_bad_request(std::string("`") + SENTENCES + "` must be a list of texts that is not empty", SENTENCES);
    }
    ordered_json texts = ordered_json::array({ *source });
    for (const ordered_json & each : *sentences) {
        if (!each.is_string()) {
            throw jina_bad_request("`" + jina_sentence_name(texts.size()) + "` must be a text, not " + jina_shown(each), SENTENCES);
        }
        texts.push_back(each);
    }
    body["inputs"] = std::move(texts);
    jina_take_fields_in(body, "parameters");
}

std::string jina_sentence_name(size_t i) {
    return i == 0 ? SOURCE : std::string(SENTENCES) + "[" + std::to_string(i - 1) + "]";
}

static double product(const std::vector<float> & one, const std::vector<float> & other) {
    double sum = 0;
    for (size_t i = 0; i < one.size(); i++) {
        sum += (double) one[i] * other[i];
    }
    return sum;
}

ordered_json jina_similarities(const std::vector<std::vector<float>> & vectors) {
    const auto & source = vectors.front();
    ordered_json scores = ordered_json::array();
    for (size_t i = 1; i < vectors.size(); i++) {
        scores.push_back((float) (product(source, vectors[i]) / std::sqrt(product(source, source) * product(vectors[i], vectors[i]))));
    }
    return scores;
}
