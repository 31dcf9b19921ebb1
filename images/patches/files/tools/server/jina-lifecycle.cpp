#include "jina-lifecycle.h"

#include "jina-connections.h"
#include "jina-requests.h"
#include "jina-settings.h"
#include "log.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

namespace {

using seconds = std::chrono::seconds;

std::atomic<bool> loaded{ false };
std::atomic<bool> draining{ false };
std::atomic<bool> drain_is_over{ false };
std::atomic<bool> not_finite{ false };
std::atomic<int>  n_working{ 0 };

int address_file = -1;

// The process ends here, not in main: threads may still wait for a client that sent half a request.
[[noreturn]] void end(int code) {
    common_log_flush(common_log_main());
#ifdef __SANITIZE_ADDRESS__
    __lsan_do_leak_check(); // what exit() would do
#endif
    std::_Exit(code);
}

// True if a signal came within a moment.
bool signalled(const sigset_t & signals) {
    const timespec moment = { 0, 20 * 1000 * 1000 };
    return sigtimedwait(&signals, nullptr, &moment) > 0;
}

void wait_for_work(const sigset_t & signals, std::chrono::steady_clock::time_point until) {
    while (n_working > 0 && std::chrono::steady_clock::now() < until) {
        if (signalled(signals)) {
            LOG("stop: a second signal, ending at once\n");
            end(1);
        }
    }
}

void wait_for_signals(sigset_t signals) {
    int signal = 0;
    sigwait(&signals, &signal);
    draining = true;
    if (!loaded) {
        LOG("stop: while the model was being loaded\n");
        end(0);
    }
    LOG("stop: answering what was taken (%d in work)\n", n_working.load());

    const auto start = std::chrono::steady_clock::now();
    wait_for_work(signals, start + seconds(jina_get_settings().drain_seconds));
    if (n_working > 0) {
        LOG("stop: %d not done in time, they are answered 503\n", n_working.load());
        drain_is_over = true;
        // A handler looks once a second whether it shall give up.
        wait_for_work(signals, std::chrono::steady_clock::now() + seconds(3));
    }
    LOG("stop: done\n");
    end(0);
}

// Where the server listens: an address and a port, or the path of a unix socket; empty if nowhere.
struct place {
    std::string ip;
    int         port = 0;
    std::string path;
};

// The first socket that listens where one could connect to the server. CUDA's driver listens, too, on
// a unix socket without a file (its name begins with a zero), and opened that before.
place find_place() {
    for (int fd = 0; fd < 1024; fd++) {
        int       listens = 0;
        socklen_t length  = sizeof(listens);
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) != 0 || !listens) {
            continue;
        }
        const jina_address address = jina_address_of(fd, getsockname);
        if (!address.ip.empty()) {
            return { address.ip, address.port, "" };
        }
        sockaddr_un path = {};
        length           = sizeof(path);
        const bool known = getsockname(fd, reinterpret_cast<sockaddr *>(&path), &length) == 0;
        if (known && path.sun_family == AF_UNIX && path.sun_path[0] != '\0') {
            return { "", 0, path.sun_path };
        }
    }
    return {};
}

// As one connects to it from the same machine.
std::string for_the_healthcheck(const place & where) {
    if (where.ip.empty()) {
        return where.path.empty() ? "" : "unix " + where.path + " 0";
    }
    const std::string ip = where.ip == "0.0.0.0" ? "127.0.0.1" : where.ip == "::" ? "::1" : where.ip;
    return "tcp " + ip + " " + std::to_string(where.port);
}

std::string for_people(const place & where) {
    if (where.ip.empty()) {
        return where.path;
    }
    const bool has_colons = where.ip.find(':') != std::string::npos;
    return "http://" + (has_colons ? "[" + where.ip + "]" : where.ip) + ":" + std::to_string(where.port);
}

} // namespace

bool jina_begin() {
    jina_drop_blank_variables();
    try {
        jina_get_settings();
    } catch (const std::invalid_argument & error) {
        fprintf(stderr, "error: %s\n", error.what());
        return false;
    }
    // What the server says by itself is for its developers, three lines an input; a line for each
    // request is ours. Newer and older sources have different names. And pages of foreign origins
    // are refused by us, so that upstream's own setting, of which it warns, is of no use.
    setenv("LLAMA_ARG_LOG_VERBOSITY", "2", 0);
    setenv("LLAMA_LOG_VERBOSITY", "2", 0);
    setenv("LLAMA_ARG_CORS_ORIGINS", "localhost", 0);

    // Made now, so that the healthcheck finds it among the first descriptors.
    address_file = memfd_create("jina-address", MFD_CLOEXEC);

    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    // Threads inherit this. The handlers that the server sets later never run, and a signal that
    // comes before is not lost: process 1 of a container ignores those that it has not asked for.
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::thread(wait_for_signals, signals).detach();
    return true;
}

void jina_model_is_loaded(const std::string & api_prefix) {
    loaded = true;
    const place       where = find_place();
    const std::string line  = for_the_healthcheck(where) + " " + api_prefix + "\n";
    if (address_file >= 0 && write(address_file, line.data(), line.size()) != (ssize_t) line.size()) {
        LOG_WRN("the address cannot be written for the healthcheck\n");
    }
    jina_log_setting("address", for_people(where) + api_prefix);
}

void jina_saw_not_finite() {
    if (!not_finite.exchange(true)) {
        LOG_ERR("a vector came out with numbers that are not finite: the model file or its weights are broken\n");
    }
}

std::string jina_not_ready() {
    if (draining) {
        return "the server is about to end";
    }
    if (!loaded) {
        return "Loading model";
    }
    if (not_finite) {
        return "a vector came out with numbers that are not finite: the model file or its weights are broken";
    }
    return "";
}

bool jina_is_draining() {
    return draining;
}

bool jina_drain_is_over() {
    return drain_is_over;
}

void jina_work_begins() {
    n_working++;
}

void jina_work_ends() {
    n_working--;
}
