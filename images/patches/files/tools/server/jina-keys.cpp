#include "jina-keys.h"

#include "common.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

static const char * const VARIABLE = "LLAMA_ARG_API_KEY_FILE";

bool jina_read_api_keys(common_params & params) {
    const char * path = getenv(VARIABLE);
    if (!path || !*path) {
        return true;
    }
    std::ifstream file(path);
    if (!file) {
        fprintf(stderr, "error: %s: cannot read %s\n", VARIABLE, path);
        return false;
    }
    size_t n_keys = 0;
    for (std::string line; std::getline(file, line);) {
        const std::string key = string_strip(line);
        if (!key.empty() && key[0] != '#') {
            params.api_keys.push_back(key);
            ++n_keys;
        }
    }
    if (n_keys == 0) {
        fprintf(stderr, "error: %s: %s has no key\n", VARIABLE, path);
        return false;
    }
    // newer servers would read it once more, comments included
    unsetenv(VARIABLE);
    return true;
}
