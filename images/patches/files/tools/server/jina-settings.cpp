#include "jina-settings.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#ifndef _WIN32
#include <sys/resource.h>
extern char ** environ;
#endif

static const size_t MB = 1024 * 1024;

void jina_drop_blank_variables() {
#ifndef _WIN32
    std::vector<std::string> blank;
    for (char ** each = environ; *each; each++) {
        const std::string variable = *each;
        const size_t      equals   = variable.find('=');
        const bool        ours     = variable.compare(0, 6, "LLAMA_") == 0 || variable.compare(0, 5, "JINA_") == 0;
        if (ours && equals != std::string::npos && variable.find_first_not_of(" \t", equals + 1) == std::string::npos) {
            blank.push_back(variable.substr(0, equals));
        }
    }
    for (const std::string & name : blank) {
        unsetenv(name.c_str());
    }
#endif
}

std::string jina_environment(const char * name) {
    const char * value = std::getenv(name);
    return value ? value : "";
}

namespace {

// The number that a variable holds, or the default where it is not set.
size_t number(const char * variable, size_t otherwise, size_t least, size_t most) {
    const std::string text = jina_environment(variable);
    if (text.empty()) {
        return otherwise;
    }
    char *     end   = nullptr;
    const long value = std::strtol(text.c_str(), &end, 10);
    if (*end != '\0' || value < (long) least || value > (long) most) {
        throw std::invalid_argument(std::string(variable) + ": '" + text + "' is not a number from " +
                                    std::to_string(least) + " to " + std::to_string(most));
    }
    return (size_t) value;
}

std::vector<std::string> list(const char * variable, char separator) {
    std::vector<std::string> values;
    std::istringstream       text(jina_environment(variable));
    for (std::string value; std::getline(text, value, separator);) {
        value.erase(0, value.find_first_not_of(' '));
        value.erase(value.find_last_not_of(' ') + 1);
        if (!value.empty()) {
            values.push_back(value);
        }
    }
    return values;
}

jina_settings read() {
    jina_settings found;
    found.header_seconds = (int) number("JINA_HEADER_SECONDS", 10, 1, 3600);
    found.body_seconds   = (int) number("JINA_BODY_SECONDS", 60, 1, 3600);
    found.idle_seconds   = (int) number("JINA_IDLE_SECONDS", 75, 1, 3600);
    found.drain_seconds  = (int) number("JINA_DRAIN_SECONDS", 25, 0, 3600);

    // A body takes up to 30 times its size in memory while it is worked on (a number of a token array
    // is two bytes of JSON and 16 in each of two parsed forms), so what waits is bound by the memory.
    const size_t limit   = jina_memory_limit();
    const size_t waiting = limit == 0 ? 32 : std::min<size_t>(32, std::max<size_t>(8, limit / 64 / MB));

    found.max_body_bytes     = number("JINA_MAX_BODY_MB", 8, 1, 1024) * MB;
    found.max_inputs         = number("JINA_MAX_INPUTS", 2048, 1, 1000000); // OpenAI's own limit
    found.max_waiting_inputs = number("JINA_MAX_WAITING_INPUTS", 8192, 1, 10000000);
    found.max_waiting_bytes  = number("JINA_MAX_WAITING_MB", waiting, 1, 65536) * MB;
    found.max_waiting_bytes  = std::max(found.max_waiting_bytes, found.max_body_bytes);
    found.cache_bytes        = number("JINA_CACHE_MB", 0, 0, 65536) * MB;
    found.allowed_origins    = list("JINA_ALLOWED_ORIGINS", ',');

    const std::string format = jina_environment("JINA_LOG_FORMAT");
    if (!format.empty() && format != "text" && format != "json") {
        throw std::invalid_argument("JINA_LOG_FORMAT: '" + format + "' is neither text nor json");
    }
    found.json_log = format == "json";

    const std::string task = jina_environment("JINA_TASK");
    if (!task.empty()) {
        try {
            found.task = jina_task_of(task);
        } catch (const std::invalid_argument & error) {
            throw std::invalid_argument(std::string("JINA_TASK: ") + error.what());
        }
    }

    for (const std::string & entry : list("JINA_MODELS", ' ')) {
        const size_t equals = entry.find('=');
        if (equals == std::string::npos) {
            throw std::invalid_argument("JINA_MODELS: '" + entry + "' is not NAME=ARCHITECTURE");
        }
        found.catalogue_names.push_back(entry.substr(0, equals));
        found.catalogue_architectures.push_back(entry.substr(equals + 1));
    }
    return found;
}

// The smallest number in the given files of the folders; "max" and what stands for it are no limit.
size_t smallest(const std::string & controller, std::initializer_list<const char *> files) {
    size_t least = 0;
    for (const std::string & folder : jina_cgroup_folders(controller)) {
        for (const char * file : files) {
            unsigned long long value = 0;
            // version 1 says "no limit" with a number near 2^63
            if (std::ifstream(folder + "/" + file) >> value && value > 0 && value < (1ULL << 60)) {
                least = least == 0 ? (size_t) value : std::min(least, (size_t) value);
            }
        }
    }
    return least;
}

} // namespace

const jina_settings & jina_get_settings() {
    static const jina_settings settings = read();
    return settings;
}

std::vector<std::string> jina_cgroup_folders(const std::string & controller) {
    const std::string        v2 = "/sys/fs/cgroup";
    std::vector<std::string> v1 = { v2 + "/" + controller };
    if (controller == "cpu") {
        v1.push_back(v2 + "/cpu,cpuacct");
    }
    std::vector<std::string> found = { v2 };
    found.insert(found.end(), v1.begin(), v1.end());

    // Lines of HIERARCHY:CONTROLLERS:PATH; version 2 names no controllers.
    std::ifstream file("/proc/self/cgroup");
    std::string   hierarchy;
    std::string   controllers;
    std::string   path;
    while (std::getline(file, hierarchy, ':') && std::getline(file, controllers, ':') && std::getline(file, path)) {
        const bool named = ("," + controllers + ",").find("," + controller + ",") != std::string::npos;
        for (; path.size() > 1; path.erase(path.rfind('/'))) {
            if (controllers.empty()) {
                found.push_back(v2 + path);
            } else if (named) {
                for (const std::string & folder : v1) {
                    found.push_back(folder + path);
                }
            }
        }
    }
    return found;
}

size_t jina_memory_limit() {
    return smallest("memory", { "memory.max", "memory.limit_in_bytes" });
}

size_t jina_pids_limit() {
    size_t limit = smallest("pids", { "pids.max" });
#ifndef _WIN32
    rlimit own = {};
    if (getrlimit(RLIMIT_NPROC, &own) == 0 && own.rlim_cur != RLIM_INFINITY) {
        limit = limit == 0 ? own.rlim_cur : std::min<size_t>(limit, own.rlim_cur);
    }
#endif
    return limit;
}
