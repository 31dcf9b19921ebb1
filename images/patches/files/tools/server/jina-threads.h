// How many threads the server starts where nobody says so; 0005-threads.patch puts it in place.

#pragma once

struct common_params;

// To be called before the command line is read. Where the process may use fewer CPUs than the
// machine has, as many threads become the default; otherwise upstream's default stays.
void jina_default_threads(common_params & params);

// To be called once the command line is read: takes its number of HTTP threads, if it has one, as the
// most that requests may have, and logs how many threads there are, and why.
void jina_settle_threads(common_params & params);
