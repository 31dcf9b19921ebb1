#include "jina-tasks.h"

#include <stdexcept>

static const struct {
    jina_task    task;
    const char * name;
} TASKS[] = {
    { JINA_RETRIEVAL,      "retrieval"      },
    { JINA_TEXT_MATCHING,  "text-matching"  },
    { JINA_CLUSTERING,     "clustering"     },
    { JINA_CLASSIFICATION, "classification" },
};

const char * jina_task_name(jina_task task) {
    for (const auto & each : TASKS) {
        if (each.task == task) {
            return each.name;
        }
    }
    return "";
}

jina_task jina_task_of(const std::string & name) {
    std::string known;
    for (const auto & each : TASKS) {
        if (name == each.name) {
            return each.task;
        }
        known += (known.empty() ? "" : ", ") + std::string(each.name);
    }
    throw std::invalid_argument("'" + name + "' is not one of " + known);
}

std::string jina_task_in(const std::string & name) {
    for (const auto & each : TASKS) {
        if (name.find("-" + std::string(each.name)) != std::string::npos) {
            return each.name;
        }
    }
    return "";
}
