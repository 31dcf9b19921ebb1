// From the first line of main to the end: whether the server is ready, and how it ends.
//
// SIGTERM or SIGINT starts the drain: no new work is taken, what was taken is answered, and the
// process ends with 0. What is not done after JINA_DRAIN_SECONDS is answered 503. A second signal
// ends the process at once, with 1.

#pragma once

#include <string>

// The first thing that main does: reads the image's settings, and takes the signals over while there
// is no other thread. False, and says why, where a setting is wrong.
bool jina_begin();

// The server takes work from now on, and the image's healthcheck can find it: its address is written to
// a file in memory (/memfd:jina-address), a line of FAMILY HOST-OR-PATH PORT API-PREFIX.
void jina_model_is_loaded(const std::string & api_prefix);

// A vector came out with a number that is not finite: from now on the server is not ready.
void jina_saw_not_finite();

// Empty where the server takes work, else why it does not.
std::string jina_not_ready();

bool jina_is_draining();

// True when the time for draining is over: handlers give up waiting.
bool jina_drain_is_over();

// Around a request, from when its body is read until its answer is written.
void jina_work_begins();
void jina_work_ends();
