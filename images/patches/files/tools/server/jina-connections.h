// Connections, before and between their requests.
//
// The HTTP library gives every connection a thread for as long as it is open. Here one thread watches
// all of them and reads what comes; a connection gets a thread only when a request has come as a
// whole. Requests without a body (health, models) have threads of their own, and so has /metrics, so
// that they are answered whatever the others are doing.

#pragma once

#include <cpp-httplib/httplib.h>

#include <functional>
#include <memory>
#include <string>

struct jina_address {
    std::string ip; // empty for a Unix socket
    int         port = 0;
};

// The address of a socket, by getsockname, or of its other side, by getpeername.
jina_address jina_address_of(int sock, int (*name)(int, sockaddr *, socklen_t *));

// A server whose connections are watched as said above. Without TLS only, which the image lacks.
std::unique_ptr<httplib::Server> jina_make_server();

struct jina_connection_rules {
    std::function<bool(const std::string & header)> may_send_body; // false: it is refused, so its body is not read
    std::function<void()>                           begin;         // before each request, in its thread
    std::function<bool()>                           end;           // behind it; whether the connection may be kept
};

// To be called before the server listens.
void jina_watch_connections(httplib::Server & server, jina_connection_rules rules);

// The value of a field in the raw header of a request, empty where it is not there. The name is in
// lower case.
std::string jina_header_field(const std::string & header, const std::string & name);

struct jina_connection_numbers {
    size_t n_open          = 0;
    size_t n_bytes         = 0; // of requests that have come in part, or are in work
    size_t refused_bytes   = 0; // requests that there was no room for
    size_t refused_threads = 0; // connections and requests that there was no descriptor or thread for
};

jina_connection_numbers jina_count_connections();

// Whether this thread's request ran out of time while its body was read.
bool jina_read_timed_out();

// The most threads that requests with a body may have; to be set before the server listens.
void jina_set_max_threads(int n_threads);
int  jina_max_threads();
