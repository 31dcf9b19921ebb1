// Connections, before and between their requests.
//
// The HTTP library gives every connection a thread for as long as it is open. Here one thread watches
// all of them, and a connection gets a thread only when the header of a request has come as a whole.
// Requests without a body (health, metrics) have threads of their own, so that they are answered
// whatever the others are doing.

#pragma once

#include <cpp-httplib/httplib.h>

#include <functional>
#include <memory>

// A server whose connections are watched as said above. Without TLS only, which the image lacks.
std::unique_ptr<httplib::Server> jina_make_server();

// To be called before it listens. `begin` and `end` are called around each request, in its thread;
// `end` tells whether the connection may be kept.
void jina_watch_connections(httplib::Server & server, std::function<void()> begin, std::function<bool()> end);

size_t jina_connection_count();

// Whether this thread's request ran out of time while its body was read.
bool jina_read_timed_out();

// The most threads that requests with a body may have; to be set before the server listens.
void jina_set_max_threads(int n_threads);
int  jina_max_threads();
