#include "jina-fields.h"

#include <algorithm>
#include <cctype>
#include <utility>

using ordered_json = nlohmann::ordered_json;

std::string jina_shown(const std::string & value) {
    const size_t most = 100;
    return value.size() <= most ? value : value.substr(0, most) + "...";
}

std::string jina_shown(const ordered_json & value) {
    if (value.is_structured()) {
        return value.is_array() ? "a list" : "an object";
    }
    return jina_shown(value.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
}

std::string jina_join(const std::vector<int> & numbers) {
    std::string text;
    for (int number : numbers) {
        text += (text.empty() ? "" : ", ") + std::to_string(number);
    }
    return text;
}

const ordered_json * jina_field(const ordered_json & body, const char * name) {
    const auto found = body.find(name);
    return found == body.end() || found->is_null() ? nullptr : &*found;
}

std::string jina_text_field(const ordered_json & body, const char * name) {
    const ordered_json * value = jina_field(body, name);
    if (value && !value->is_string()) {
        throw jina_bad_request(std::string("`") + name + "` must be a string, not " + value->type_name(), name);
    }
    return value ? value->get<std::string>() : "";
}

namespace {

const std::string PATH = "the path"; // where it names the side, beside the fields

// What the fields of one meaning say. They may be several, but must agree.
struct said {
    std::string name; // of the field that says it, in quotes; empty where none does
    int         value = 0;
    std::string shown;
    const char *hint = ""; // ends the sentence on a contradiction

    void say(const std::string & by, int what, const std::string & as) {
        if (!name.empty() && value != what) {
            throw jina_bad_request("`" + by + "` says " + as + ", but " + name + " says " + shown + hint, by);
        }
        name  = by == PATH ? by : "`" + by + "`";
        value = what;
        shown = as;
    }
};

// All that is said in a request.
struct reading {
    said side;
    said size;
    said form;    // the numbers, and whether they are written as base64
    said numbers; // Voyage's field for the numbers alone
    said truncate;
    said normalize;

    std::vector<int> sizes; // that `dimensions` may be
    jina_task        task;  // that the weights are for
};

struct choice {
    const char * text;
    int          value;
};

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
    return text;
}

// The choice that a text names, in any case. `more` ends the sentence where there is none.
template <size_t N>
const choice & choose(const choice (&choices)[N], const char * name, const std::string & text, const char * more = "") {
    const std::string given = lower(text);
    std::string       known;
    for (const choice & each : choices) {
        if (given == each.text) {
            return each;
        }
        known += (known.empty() ? "" : ", ") + std::string(each.text);
    }
    throw jina_bad_request(std::string("`") + name + "` must be one of " + known + ", not '" + jina_shown(text) + "'" + more, name);
}

// A word says a side, and for which tasks the weights must be. All texts of a task without sides have the
// prefix of documents, so the word for it is taken there, and those for queries are not.
const struct {
    const char * text;
    jina_side    side;
    int          tasks;
} SIDES[] = {
    { "query",               JINA_SIDE_QUERY,    JINA_RETRIEVAL      },
    { "document",            JINA_SIDE_DOCUMENT, JINA_ANY_TASK       },
    { "search",              JINA_SIDE_QUERY,    JINA_RETRIEVAL      }, // Elasticsearch
    { "ingest",              JINA_SIDE_DOCUMENT, JINA_ANY_TASK       },
    { "passage",             JINA_SIDE_DOCUMENT, JINA_ANY_TASK       }, // NVIDIA, whose other one is query
    { "search_query",        JINA_SIDE_QUERY,    JINA_RETRIEVAL      }, // Cohere
    { "search_document",     JINA_SIDE_DOCUMENT, JINA_RETRIEVAL      },
    { "retrieval.query",     JINA_SIDE_QUERY,    JINA_RETRIEVAL      }, // Jina
    { "retrieval.passage",   JINA_SIDE_DOCUMENT, JINA_RETRIEVAL      },
    { "retrieval_query",     JINA_SIDE_QUERY,    JINA_RETRIEVAL      }, // Gemini
    { "retrieval_document",  JINA_SIDE_DOCUMENT, JINA_RETRIEVAL      },
    { "text-matching",       JINA_SIDE_DOCUMENT, JINA_TEXT_MATCHING  }, // Jina
    { "semantic_similarity", JINA_SIDE_DOCUMENT, JINA_TEXT_MATCHING  }, // Gemini
    { "clustering",          JINA_SIDE_DOCUMENT, JINA_CLUSTERING     }, // Jina, Cohere, Gemini, Elasticsearch
    { "separation",          JINA_SIDE_DOCUMENT, JINA_CLUSTERING     }, // Jina's older name for it, as Elasticsearch sends it
    { "classification",      JINA_SIDE_DOCUMENT, JINA_CLASSIFICATION }, // the same as for clustering
};

// Why another side or task than that of the weights is refused.
std::string why_other(jina_task task) {
    const std::string name = jina_task_name(task);
    return task == JINA_RETRIEVAL ? ": these weights are for " + name + ", other tasks need other weights" :
                                    ": these weights are for " + name + ", which has no queries; other tasks need other weights";
}

void read_side(reading & all, const char * name, const ordered_json & value) {
    if (!value.is_string()) {
        throw jina_bad_request(std::string("`") + name + "` must be a string, not " + value.type_name(), name);
    }
    const auto & text = value.get_ref<const std::string &>();
    if (text.empty() || text == "TASK_TYPE_UNSPECIFIED") {
        return;
    }
    const std::string given = lower(text);
    for (const auto & each : SIDES) {
        if (given == each.text && (each.tasks & all.task)) {
            all.side.say(name, each.side, each.side == JINA_SIDE_QUERY ? "query" : "document");
            return;
        }
    }
    throw jina_bad_request(std::string("`") + name + "` must be one of " + jina_side_words(all.task) + ", not '" + jina_shown(text) + "'" +
                           why_other(all.task), name);
}

void read_size(reading & all, const char * name, const ordered_json & value) {
    if (!value.is_number_integer() || std::find(all.sizes.begin(), all.sizes.end(), value) == all.sizes.end()) {
        throw jina_bad_request(std::string("`") + name + "` must be one of " + jina_join(all.sizes) + ", not " + jina_shown(value), name);
    }
    all.size.say(name, value.get<int>(), jina_shown(value));
}

const int    AS_BASE64 = 8; // added to the numbers
const choice FORMS[]   = {
    { "float",   JINA_FLOAT             },
    { "base64",  JINA_FLOAT + AS_BASE64 },
    { "int8",    JINA_INT8              },
    { "uint8",   JINA_UINT8             },
    { "binary",  JINA_BINARY            },
    { "ubinary", JINA_UBINARY           },
};

} // namespace

jina_form jina_form_of(const char * field, const ordered_json & value) {
    if (!value.is_string()) {
        throw jina_bad_request(std::string("`") + field + "` must be a string, not " + jina_shown(value), field);
    }
    const choice & found = choose(FORMS, field, value.get<std::string>());
    return { found.text, (jina_numbers) (found.value % AS_BASE64), found.value >= AS_BASE64 };
}

namespace {

void read_form(reading & all, const char * name, const ordered_json & value) {
    // Jina's and Cohere's APIs have a list of forms, for which an answer of ours has no room.
    if (value.is_array() && value.size() > 1) {
        throw jina_bad_request(std::string("`") + name + "` can name one form: an answer has one vector of each input", name);
    }
    const ordered_json & one  = value.is_array() && value.size() == 1 ? value.front() : value;
    const jina_form      form = jina_form_of(name, one);
    all.form.say(name, form.numbers + (form.base64 ? AS_BASE64 : 0), form.name);
}

const choice NUMBERS[] = {
    { "float",   JINA_FLOAT   },
    { "int8",    JINA_INT8    },
    { "uint8",   JINA_UINT8   },
    { "binary",  JINA_BINARY  },
    { "ubinary", JINA_UBINARY },
};

void read_numbers(reading & all, const char * name, const ordered_json & value) {
    if (!value.is_string()) {
        throw jina_bad_request(std::string("`") + name + "` must be a string, not " + jina_shown(value), name);
    }
    const choice & found = choose(NUMBERS, name, value.get<std::string>());
    all.numbers.say(name, found.value, found.text);
}

const choice CUTS[] = {
    { "none", 0 },
    { "end",  1 },
};

// True and false, and the words of NVIDIA and Cohere.
void read_truncate(reading & all, const char * name, const ordered_json & value) {
    if (value.is_boolean()) {
        all.truncate.say(name, value.get<bool>(), jina_shown(value));
        return;
    }
    if (!value.is_string()) {
        throw jina_bad_request(std::string("`") + name + "` must be true, false, NONE or END, not " + jina_shown(value), name);
    }
    const choice & found = choose(CUTS, name, value.get<std::string>(), ": the end of an input can be cut (true, END), or nothing (false, NONE)");
    all.truncate.say(name, found.value, found.text);
}

// vLLM's number of tokens that stay; -1 stands for as many as the model takes.
void read_kept_tokens(reading & all, const char * name, const ordered_json & value) {
    if (!value.is_number_integer() || value != -1) {
        throw jina_bad_request(std::string("`") + name + "` can only be -1, which cuts at the model's context, not " + jina_shown(value), name);
    }
    all.truncate.say(name, true, "true");
}

void read_normalized(reading & all, const char * name, const ordered_json & value) {
    if (!value.is_boolean()) {
        throw jina_bad_request(std::string("`") + name + "` must be true or false, not " + jina_shown(value), name);
    }
    all.normalize.say(name, value.get<bool>() ? 2 : -1, jina_shown(value));
}

// llama.cpp's own field: the values that its --embd-normalize documents, up to any p-norm in use. A
// number that is too large for int64_t is unsigned, and would become another one.
void read_norm(reading & all, const char * name, const ordered_json & value) {
    if (!value.is_number_integer() || (value.is_number_unsigned() && value > 100U) || value < -1 || value > 100) {
        throw jina_bad_request(std::string("`") + name + "` must be a number from -1 to 100, not " + jina_shown(value), name);
    }
    all.normalize.say(name, value.get<int>(), jina_shown(value));
}

const struct {
    const char * name;
    void (*read)(reading & all, const char * name, const ordered_json & value);
} FIELDS[] = {
    { "input_type",            read_side        }, // Voyage, Cohere, NVIDIA, Elasticsearch
    { "task",                  read_side        }, // Jina
    { "task_type",             read_side        }, // Gemini
    { "taskType",              read_side        },
    { "prompt_name",           read_side        }, // text-embeddings-inference
    { "prompt_type",           read_side        }, // MTEB

    { "dimensions",            read_size        }, // OpenAI, Jina, text-embeddings-inference
    { "output_dimension",      read_size        }, // Voyage, Cohere
    { "output_dimensionality", read_size        }, // Gemini
    { "outputDimensionality",  read_size        },

    { "encoding_format",       read_form        }, // OpenAI
    { "embedding_type",        read_form        }, // Jina, NVIDIA
    { "embedding_types",       read_form        }, // Cohere
    { "encoding_type",         read_form        }, // LlamaIndex
    { "output_dtype",          read_numbers     }, // Voyage: `encoding_format` is apart from it

    { "truncate",              read_truncate    }, // Jina, NVIDIA, Cohere, text-embeddings-inference
    { "truncation",            read_truncate    }, // Voyage
    { "auto_truncate",         read_truncate    }, // Gemini
    { "autoTruncate",          read_truncate    },
    { "truncate_prompt_tokens", read_kept_tokens }, // vLLM

    { "normalized",            read_normalized  }, // Jina
    { "normalize",             read_normalized  }, // text-embeddings-inference, vLLM
    { "use_activation",        read_normalized  }, // vLLM
    { "embd_normalize",        read_norm        }, // llama.cpp
};

// Fields that would change a vector in a way that is not here: only what changes nothing is taken.
// Empty texts and lists change nothing either.
const struct {
    const char *              name;
    std::vector<ordered_json> taken;
    const char *              why;
} FIXED[] = {
    { "late_chunking",          { false },              "each input is embedded by itself"                          }, // Jina
    { "return_multivector",     { false },              "an input has one vector"                                   },
    { "return_tokenized_input", { false },              "/tokenize tells the tokens of a text"                      },
    { "truncation_direction",   { "right", "Right" },   "only the end of an input can be cut"                       }, // text-embeddings-inference
    { "truncation_side",        { "right" },            "only the end of an input can be cut"                       }, // vLLM
    { "add_special_tokens",     { true },               "without the token that ends it a text is taken for another" },
    { "embed_dtype",            { "float32" },          "`encoding_format` names the other forms that there are"    },
    { "endianness",             { "native", "little" }, "base64 is little-endian"                                   },
    { "modality",               { "text" },             "this server embeds texts only"                             }, // NVIDIA
    { "max_tokens",             {},                     "`truncate` cuts at the model's context"                    }, // Cohere
    { "title",                  {},                     "these models know no titles; put it into the text"         }, // Gemini
    { "prompt",                 {},                     "these models know two prompts, which `input_type` names"   },
    { "instruction",            {},                     "these models know two prompts, which `input_type` names"   },
    { "images",                 {},                     "this server embeds texts only"                             },
    { "image",                  {},                     "this server embeds texts only"                             },
};

void check_fixed(const ordered_json & body) {
    for (const auto & each : FIXED) {
        const ordered_json * value = jina_field(body, each.name);
        if (!value || *value == "" || *value == ordered_json::array() ||
            std::find(each.taken.begin(), each.taken.end(), *value) != each.taken.end()) {
            continue;
        }
        const std::string name = std::string("`") + each.name + "`";
        if (each.taken.empty()) {
            throw jina_bad_request(name + " is not known here: " + each.why, each.name);
        }
        throw jina_bad_request(name + " can only be " + jina_shown(each.taken.front()) + ", not " + jina_shown(*value) + ": " + each.why, each.name);
    }
}

} // namespace

void jina_take_fields_in(ordered_json & body, const std::string & object) {
    const ordered_json * found = jina_field(body, object.c_str());
    if (!found) {
        return;
    }
    if (!found->is_object()) {
        throw jina_bad_request("`" + object + "` must be an object, not " + jina_shown(*found), object);
    }
    const ordered_json more = *found;
    body.erase(object);
    for (const auto & [name, value] : more.items()) {
        const ordered_json * given = jina_field(body, name.c_str());
        if (given && *given != value) {
            throw jina_bad_request("`" + jina_shown(name) + "` says " + jina_shown(*given) + ", but in `" + object +
                                   "` it says " + jina_shown(value), object);
        }
        body[name] = value;
    }
}

std::string jina_side_words(jina_task task) {
    std::string words;
    for (const auto & each : SIDES) {
        if (each.tasks & task) {
            words += (words.empty() ? "" : ", ") + std::string(each.text);
        }
    }
    return words;
}

jina_options jina_read_fields(const ordered_json & body, jina_side given, const std::vector<int> & sizes, jina_task task) {
    check_fixed(body);

    reading all;
    all.sizes     = sizes;
    all.task      = task;
    all.form.hint = "; OpenAI's client says base64 by itself, so put `encoding_format` into its extra_body";
    if (given == JINA_SIDE_QUERY && task != JINA_RETRIEVAL) {
        throw jina_bad_request("the path asks for queries" + why_other(task));
    }
    if (given != JINA_SIDE_NONE) {
        all.side.say(PATH, given, given == JINA_SIDE_QUERY ? "query" : "document");
    }
    for (const auto & each : FIELDS) {
        if (const ordered_json * value = jina_field(body, each.name)) {
            each.read(all, each.name, *value);
        }
    }

    jina_options wanted;
    wanted.side       = (jina_side) all.side.value;
    wanted.dimensions = all.size.value;
    wanted.truncate   = all.truncate.value != 0;
    if (!all.normalize.name.empty()) {
        wanted.normalize = all.normalize.value;
    }
    wanted.base64     = all.form.value >= AS_BASE64;
    wanted.numbers    = (jina_numbers) (all.form.value % AS_BASE64);
    // Voyage's two fields say two things: which numbers, and whether they are written as base64.
    if (!all.numbers.name.empty()) {
        if (wanted.numbers != JINA_FLOAT && wanted.numbers != all.numbers.value) {
            throw jina_bad_request(all.numbers.name + " says " + all.numbers.shown + ", but " + all.form.name + " says " + all.form.shown,
                                   "output_dtype");
        }
        wanted.numbers = (jina_numbers) all.numbers.value;
    }
    if (wanted.normalize.value_or(2) != 2 && (wanted.numbers == JINA_INT8 || wanted.numbers == JINA_UINT8)) {
        throw jina_bad_request("int8 and uint8 are steps of vectors of length 1, but " + all.normalize.name + " says " + all.normalize.shown);
    }
    return wanted;
}

void jina_refuse_fields(const ordered_json & body) {
    for (const auto & each : FIELDS) {
        const ordered_json * value = jina_field(body, each.name);
        if (value && std::string(each.name) != "embd_normalize" && *value != "float") {
            throw jina_bad_request(std::string("`") + each.name + "` is known together with `input` only, not with `content`", each.name);
        }
    }
}
