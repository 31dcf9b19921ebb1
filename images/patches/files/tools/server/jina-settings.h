// The settings that the image's own code reads, and the limits of the container around it.

#pragma once

#include "jina-tasks.h"

#include <cstddef>
#include <string>
#include <vector>

// Removes each LLAMA_... and JINA_... variable that is blank: compose and Kubernetes cannot leave a
// variable out, and a blank one would be read as a number or a file name.
void jina_drop_blank_variables();

struct jina_settings {
    int header_seconds = 10; // for a request's header to be complete
    int body_seconds   = 60; // for a request's body to be complete, and for a part of an answer to be taken
    int idle_seconds   = 75; // for the next request on a connection
    int drain_seconds  = 25; // for what was taken to be answered once the server is to end

    size_t max_body_bytes     = 0;
    size_t max_inputs         = 0; // of one request
    size_t max_waiting_inputs = 0; // of all requests
    size_t max_waiting_bytes  = 0; // bodies of all requests
    size_t cache_bytes        = 0; // for vectors of inputs that come again

    std::vector<std::string> allowed_origins; // of browsers' pages; "*" for any
    bool                     json_log = false;

    jina_task task = JINA_RETRIEVAL; // that the model file is for

    std::vector<std::string> catalogue_names;         // models that a client may take this one for,
    std::vector<std::string> catalogue_architectures; // and their architecture in the model file
};

// Reads the settings once, at the first call. Throws std::invalid_argument naming the variable.
const jina_settings & jina_get_settings();

// The value of a variable, empty where it is not set.
std::string jina_environment(const char * name);

// The smallest limit that the container's cgroup and those above it set, 0 for none.
size_t jina_memory_limit(); // bytes
size_t jina_pids_limit();   // processes and threads

// The folders of the process's cgroup and of those above it, as far as they can be seen: in a
// container its own is usually what is mounted, whatever path /proc says. The controller is the one
// whose folders a version 1 hierarchy has: cpu, memory or pids.
std::vector<std::string> jina_cgroup_folders(const std::string & controller);
