#include "jina-model.h"

#include "jina-settings.h"

#include "common.h"
#include "gguf.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>

namespace {

// What is read of the model file.
struct model_facts {
    std::string architecture;
    int         context = 0; // tokens
    bool        causal  = true;
};

// Nothing is known of a file that cannot be read: loading it will say why.
model_facts read_facts(const std::string & path) {
    model_facts found;

    const gguf_init_params                               params = { /*.no_alloc =*/ true, /*.ctx =*/ nullptr };
    const std::unique_ptr<gguf_context, void (*)(gguf_context *)> file(gguf_init_from_file(path.c_str(), params), gguf_free);
    if (!file) {
        return found;
    }
    const auto key = [&file](const std::string & name, gguf_type type) {
        const int64_t id = gguf_find_key(file.get(), name.c_str());
        return id >= 0 && gguf_get_kv_type(file.get(), id) == type ? id : -1;
    };
    const int64_t architecture = key("general.architecture", GGUF_TYPE_STRING);
    if (architecture < 0) {
        return found;
    }
    found.architecture    = gguf_get_val_str(file.get(), architecture);
    const int64_t context = key(found.architecture + ".context_length", GGUF_TYPE_UINT32);
    if (context >= 0) {
        found.context = (int) gguf_get_val_u32(file.get(), context);
    }
    // A file that does not say it is causal, unless its architecture is one of BERT's.
    const int64_t causal = key(found.architecture + ".attention.causal", GGUF_TYPE_BOOL);
    found.causal = causal >= 0 ? gguf_get_val_bool(file.get(), causal) : found.architecture.find("bert") == std::string::npos;
    return found;
}

bool is_given(int argc, char ** argv, const char * variable, std::initializer_list<const char *> options) {
    if (!jina_environment(variable).empty()) {
        return true;
    }
    for (int i = 1; i < argc; i++) {
        for (const char * option : options) {
            const size_t length = std::strlen(option);
            if (std::strncmp(argv[i], option, length) == 0 && (argv[i][length] == '\0' || argv[i][length] == '=')) {
                return true;
            }
        }
    }
    return false;
}

// The name in the two forms that it has in the sources that we build: one, or several.
template <typename Names> auto set_name(Names & names, const std::string & name, int) -> decltype(names.insert(name), void()) {
    names.insert(name);
}

template <typename Name> void set_name(Name & one, const std::string & name, long) { one = name; }

// A causal model is served with its whole context: upstream keeps room for one more token than an
// input has, in the context and in what the file says of itself. 256 is its unit of the KV cache.
void serve_whole_context(common_params & params, const model_facts & facts) {
    params.n_ctx = facts.context + 256;

    llama_model_kv_override longer = {};
    longer.tag                     = LLAMA_KV_OVERRIDE_TYPE_INT;
    longer.val_i64                 = facts.context + 1;
    std::snprintf(longer.key, sizeof(longer.key), "%s.context_length", facts.architecture.c_str());

    auto & given = params.kv_overrides; // ends with an entry without a key, unless it is empty
    const bool already = std::any_of(given.begin(), given.end(), [&longer](const llama_model_kv_override & each) {
        return std::strcmp(each.key, longer.key) == 0;
    });
    if (already) {
        return;
    }
    if (given.empty()) {
        given.emplace_back();
        given.back().key[0] = '\0';
    }
    given.insert(given.begin(), longer);
}

} // namespace

bool jina_prepare_model(common_params & params, int argc, char ** argv) {
    if (params.model.path.empty() && params.model.url.empty() && params.model.hf_repo.empty() && params.model.docker_repo.empty()) {
        fprintf(stderr, "error: no model is named; LLAMA_ARG_MODEL is the path of its file\n");
        return false;
    }
    if (params.pooling_type == LLAMA_POOLING_TYPE_RANK) {
        fprintf(stderr, "error: this server embeds texts, it cannot rerank them (pooling `rank`, --reranking)\n");
        return false;
    }
    const std::string & path = params.model.path;
    const std::string   file = path.substr(path.rfind('/') + 1);
    const std::string   said = jina_task_in(file);
    const std::string   task = jina_task_name(jina_get_settings().task);
    if (!said.empty() && said != task) {
        fprintf(stderr, "error: by its name %s is for %s, but this server is set to %s: set JINA_TASK=%s, or give the file another name\n",
                file.c_str(), said.c_str(), task.c_str(), said.c_str());
        return false;
    }
    if (params.model_alias.empty() && !path.empty()) {
        set_name(params.model_alias, file.substr(0, file.rfind(".gguf")), 0);
    }
    const model_facts facts = read_facts(path);
    if (facts.context == 0) {
        return true;
    }
    const bool context_given     = is_given(argc, argv, "LLAMA_ARG_CTX_SIZE", { "-c", "--ctx-size" }) && params.n_ctx > 0;
    const bool batch_given       = is_given(argc, argv, "LLAMA_ARG_BATCH", { "-b", "--batch-size" });
    const bool micro_batch_given = is_given(argc, argv, "LLAMA_ARG_UBATCH", { "-ub", "--ubatch-size" });
    if (!context_given && facts.causal) {
        serve_whole_context(params, facts);
    } else if (!context_given) {
        params.n_ctx = facts.context;
    }
    if (!micro_batch_given && !facts.causal) {
        params.n_ubatch = params.n_ctx; // a whole input is computed at once
    }
    if (!batch_given) {
        params.n_batch = params.n_ubatch; // for embeddings upstream makes them the same, and warns
    }
    return true;
}
