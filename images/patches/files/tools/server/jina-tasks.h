// What a model file is for. The models' makers publish a file for each task; a server serves one of them.

#pragma once

#include <string>

// Bits, so that a word of a request can be of several.
enum jina_task {
    JINA_RETRIEVAL      = 1, // the only one with sides: a query has another prefix than a document
    JINA_TEXT_MATCHING  = 2,
    JINA_CLUSTERING     = 4,
    JINA_CLASSIFICATION = 8,
};

const int JINA_ANY_TASK = 15;

// As Jina's API and the names of the files have it.
const char * jina_task_name(jina_task task);

// The task of a name. Throws std::invalid_argument with the names that there are.
jina_task jina_task_of(const std::string & name);

// The task that the name of a model or of its file says (v5-nano-clustering-Q8_0); empty where it says none.
std::string jina_task_in(const std::string & name);
