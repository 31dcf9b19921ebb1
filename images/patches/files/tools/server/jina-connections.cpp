#include "jina-connections.h"

#include "jina-lifecycle.h"
#include "jina-settings.h"
#include "log.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using clock_t_    = std::chrono::steady_clock;
using time_point  = clock_t_::time_point;
using seconds     = std::chrono::seconds;
using millisecond = std::chrono::milliseconds;

// More than the HTTP library allows for a line; a header that does not end within it is its to refuse.
const size_t MAX_PEEK = 64 * 1024;

// Descriptors that are not connections: the model, libraries, the log.
const size_t OTHER_DESCRIPTORS = 128;

// Threads that are neither for requests nor for computing: main, the watcher, signals, the log.
const size_t OTHER_THREADS = 16;

const size_t MAX_QUEUED = 16384;

const int N_QUICK = 4;

thread_local bool timed_out = false;

// Threads that are started when there is more to do than idle ones can take, and end when idle.
class thread_pool {
  public:
    // Keeps `n_kept` threads for good once they were needed.
    thread_pool(size_t n_kept, size_t n_most) : n_kept(n_kept), n_most(n_most) {}

    // False if there is no thread and none can be made, or too much waits.
    bool run(std::function<void()> job) {
        std::lock_guard<std::mutex> lock(mutex);
        if (jobs.size() >= MAX_QUEUED) {
            return false;
        }
        jobs.push_back(std::move(job));
        if (jobs.size() > n_idle && n_threads < n_most && !add_thread() && n_threads == 0) {
            jobs.pop_back();
            return false;
        }
        condition.notify_one();
        return true;
    }

  private:
    const size_t n_kept;
    const size_t n_most;
    size_t       n_threads = 0;
    size_t       n_idle    = 0;

    std::deque<std::function<void()>> jobs;
    std::mutex                        mutex;
    std::condition_variable           condition;

    bool add_thread() {
        try {
            std::thread([this] { work(); }).detach();
        } catch (const std::system_error &) {
            return false; // the process may have no more; those that there are go on
        }
        n_threads++;
        return true;
    }

    void work() {
        std::unique_lock<std::mutex> lock(mutex);
        while (true) {
            n_idle++;
            const bool some = condition.wait_for(lock, seconds(10), [this] { return !jobs.empty(); });
            n_idle--;
            if (!some) {
                if (n_threads > n_kept) {
                    n_threads--;
                    return;
                }
                continue;
            }
            std::function<void()> job = std::move(jobs.front());
            jobs.pop_front();
            lock.unlock();
            job();
            job = nullptr;
            lock.lock();
        }
    }
};

struct address {
    std::string ip;
    int         port = 0;
};

using name_function = int (*)(int, sockaddr *, socklen_t *);

address address_of(int sock, name_function name) {
    sockaddr_storage storage = {};
    socklen_t        length  = sizeof(storage);
    address          found;
    char             text[INET6_ADDRSTRLEN] = "";
    if (name(sock, reinterpret_cast<sockaddr *>(&storage), &length) != 0) {
        return found;
    }
    if (storage.ss_family == AF_INET) {
        const auto * in = reinterpret_cast<const sockaddr_in *>(&storage);
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
        found.port = ntohs(in->sin_port);
    } else if (storage.ss_family == AF_INET6) {
        const auto * in6 = reinterpret_cast<const sockaddr_in6 *>(&storage);
        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
        found.port = ntohs(in6->sin6_port);
    }
    found.ip = text;
    return found;
}

// A connection as the HTTP library reads and writes it during one request, with a time limit for all
// that is read, and one for each part that is written. What was read too far stays in `buffer`.
class socket_stream final : public httplib::Stream {
  public:
    socket_stream(int sock, std::string & buffer, address remote, address local)
        : sock(sock), buffer(buffer), remote(std::move(remote)), local(std::move(local)), start(clock_t_::now()) {}

    ~socket_stream() override { buffer.erase(0, taken); }

    bool is_readable() const override { return taken < buffer.size(); }

    bool wait_readable() const override {
        return is_readable() || wait(POLLIN, start + seconds(jina_get_settings().body_seconds));
    }

    bool wait_writable() const override {
        return wait(POLLOUT, clock_t_::now() + seconds(jina_get_settings().body_seconds)) && is_peer_alive();
    }

    bool is_peer_alive() const override {
        char          byte = 0;
        const ssize_t n    = recv(sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        return n > 0 || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR));
    }

    ssize_t read(char * to, size_t size) override {
        if (!is_readable()) {
            if (!wait_readable()) {
                timed_out = true;
                return -1;
            }
            if (size >= CHUNK) {
                return recv(sock, to, size, 0);
            }
            buffer.resize(CHUNK);
            taken           = 0;
            const ssize_t n = recv(sock, &buffer[0], CHUNK, 0);
            buffer.resize(n > 0 ? n : 0);
            if (n <= 0) {
                return n;
            }
        }
        const size_t n = std::min(size, buffer.size() - taken);
        std::memcpy(to, buffer.data() + taken, n);
        taken += n;
        return (ssize_t) n;
    }

    // Newer versions of the library look for the end of a line in here.
    const char * buffered_data(size_t & size) const {
        size = buffer.size() - taken;
        return size > 0 ? buffer.data() + taken : nullptr;
    }

    void consume_buffered(size_t size) { taken += size; }

    ssize_t write(const char * from, size_t size) override {
        while (wait_writable()) {
            const ssize_t n = send(sock, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
                return n;
            }
        }
        return -1;
    }

    void get_remote_ip_and_port(std::string & ip, int & port) const override {
        ip   = remote.ip;
        port = remote.port;
    }

    void get_local_ip_and_port(std::string & ip, int & port) const override {
        ip   = local.ip;
        port = local.port;
    }

    socket_t socket() const override { return sock; }

    time_t duration() const override {
        return std::chrono::duration_cast<millisecond>(clock_t_::now() - start).count();
    }

  private:
    static const size_t CHUNK = 4096;

    const int        sock;
    std::string &    buffer;
    size_t           taken = 0; // of the buffer
    const address    remote;
    const address    local;
    const time_point start;

    bool wait(short events, time_point until) const {
        pollfd one = { sock, events, 0 };
        while (true) {
            const auto left = std::chrono::duration_cast<millisecond>(until - clock_t_::now()).count();
            const int  n    = poll(&one, 1, (int) std::max<int64_t>(0, left));
            if (n >= 0 || errno != EINTR) {
                return n > 0;
            }
        }
    }
};

class watched_server;

enum stage {
    STAGE_IDLE,    // nothing of the next request has come
    STAGE_HEADER,  // a part of its header has
    STAGE_WORKING, // it has a thread
    STAGE_CLOSING, // answered; what the client still sends is dropped, so that it can read the answer
};

struct connection {
    int              sock;
    watched_server * server;
    stage            state = STAGE_IDLE;
    time_point       deadline;
    std::string      buffer; // of what was read beyond the last request
};

class watched_server final : public httplib::Server {
  public:
    std::function<void()> begin;
    std::function<bool()> end;

    // One request; true if the connection may be kept.
    bool serve(connection & one) {
        const address remote = address_of(one.sock, getpeername);
        const address local  = address_of(one.sock, getsockname);
        bool          closed = false;
        bool          good   = false;
        timed_out            = false;
        begin();
        try {
            socket_stream stream(one.sock, one.buffer, remote, local);
            good = process_request(stream, remote.ip, remote.port, local.ip, local.port, jina_is_draining(), closed, nullptr);
        } catch (const std::exception & error) {
            LOG_ERR("a request ended with: %s\n", error.what());
        }
        return end() && good && !closed && !timed_out && !jina_is_draining();
    }

  private:
    bool process_and_close_socket(socket_t sock) override;
};

// All connections, and the thread that watches them. It is never destroyed: threads may still use it
// when the process ends.
class watcher {
  public:
    watcher() : quick(N_QUICK, N_QUICK), working(0, (size_t) jina_max_threads()), poll_fd(epoll_create1(EPOLL_CLOEXEC)) {
        rlimit files = {};
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
            files.rlim_cur = files.rlim_max;
            setrlimit(RLIMIT_NOFILE, &files);
            getrlimit(RLIMIT_NOFILE, &files);
            n_most = std::min<size_t>(n_most, files.rlim_cur > 2 * OTHER_DESCRIPTORS ? files.rlim_cur - OTHER_DESCRIPTORS : OTHER_DESCRIPTORS);
        }
        std::thread([this] { watch(); }).detach();
    }

    void add(int sock, watched_server * server) {
        std::lock_guard<std::mutex> lock(mutex);
        if (stopped || all.size() >= n_most) {
            refuse(sock);
            close(sock);
            return;
        }
        auto one      = std::make_unique<connection>();
        one->sock     = sock;
        one->server   = server;
        one->deadline = clock_t_::now() + seconds(jina_get_settings().idle_seconds);
        all[sock]     = std::move(one);
        epoll_event event = {};
        event.events      = EPOLLIN | EPOLLRDHUP | EPOLLET;
        event.data.fd     = sock;
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, sock, &event);
    }

    // No request starts from now on; waits for those that run, which are short (the model is not loaded).
    void stop() {
        const time_point until = clock_t_::now() + seconds(2);
        std::unique_lock<std::mutex> lock(mutex);
        stopped = true;
        while (n_working > 0 && clock_t_::now() < until) {
            lock.unlock();
            std::this_thread::sleep_for(millisecond(10));
            lock.lock();
        }
    }

    size_t count() {
        std::lock_guard<std::mutex> lock(mutex);
        return all.size();
    }

  private:
    thread_pool quick;
    thread_pool working;
    const int   poll_fd;
    size_t      n_most    = 65536;
    size_t      n_working = 0;
    bool        stopped   = false;

    std::mutex                                           mutex;
    std::unordered_map<int, std::unique_ptr<connection>> all;

    static void refuse(int sock) {
        const std::string body =
            R"({"error":{"code":503,"message":"too many connections; try again later","type":"overloaded_error"}})";
        say(sock, "503 Service Unavailable\r\nRetry-After: 1", body);
    }

    // As much as fits the socket's buffer, which is all of it unless the client reads nothing.
    static void say(int sock, const std::string & status, const std::string & body) {
        const std::string answer = "HTTP/1.1 " + status + "\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8" +
                                   "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
        (void) !send(sock, answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }

    void watch() {
        std::vector<epoll_event> events(256);
        time_point               swept = clock_t_::now();
        while (true) {
            const int n = epoll_wait(poll_fd, events.data(), (int) events.size(), 250);
            std::lock_guard<std::mutex> lock(mutex);
            for (int i = 0; i < n; i++) {
                const auto found = all.find(events[i].data.fd);
                if (found != all.end()) {
                    look_at(*found->second);
                }
            }
            if (clock_t_::now() - swept > millisecond(250)) {
                sweep();
                swept = clock_t_::now();
            }
        }
    }

    // Closes what is out of time.
    void sweep() {
        const time_point now = clock_t_::now();
        for (auto it = all.begin(); it != all.end();) {
            connection & one = *it->second;
            if (one.state != STAGE_WORKING && one.deadline < now) {
                if (one.state == STAGE_HEADER) {
                    say(one.sock, "408 Request Timeout",
                        R"({"error":{"code":408,"message":"the request's header did not come in time","type":"invalid_request_error"}})");
                }
                close(one.sock);
                it = all.erase(it);
            } else {
                ++it;
            }
        }
    }

    void forget(connection & one) {
        const int sock = one.sock;
        all.erase(sock);
        close(sock);
    }

    // Something has come, or the other side has gone.
    void look_at(connection & one) {
        if (one.state == STAGE_WORKING) {
            return;
        }
        if (one.state == STAGE_CLOSING) {
            drop_input(one);
            return;
        }
        static std::vector<char> bytes(MAX_PEEK); // of the watcher's thread
        const ssize_t n = recv(one.sock, bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
            forget(one);
            return;
        }
        if (n < 0) {
            return;
        }
        const std::string begin(bytes.data(), (size_t) n);
        const bool        http = begin[0] >= 'A' && begin[0] <= 'Z';
        const bool whole = begin.find("\r\n\r\n") != std::string::npos || begin.find("\n\n") != std::string::npos;
        if (http && !whole && begin.size() < MAX_PEEK) {
            if (one.state == STAGE_IDLE) {
                one.state    = STAGE_HEADER;
                one.deadline = clock_t_::now() + seconds(jina_get_settings().header_seconds);
            }
            return;
        }
        start(one, http && whole && is_quick(begin));
    }

    // Whether a request has no body and no work to wait for.
    static bool is_quick(const std::string & header) {
        if (header.compare(0, 4, "GET ") != 0 && header.compare(0, 5, "HEAD ") != 0) {
            return false;
        }
        std::string lower = header.substr(0, header.find("\r\n\r\n"));
        std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
        return lower.find("\ncontent-length:") == std::string::npos && lower.find("\ntransfer-encoding:") == std::string::npos;
    }

    void start(connection & one, bool is_quick) {
        if (stopped) {
            forget(one);
            return;
        }
        one.state  = STAGE_WORKING;
        const bool taken = (is_quick ? quick : working).run([this, &one] { work(one); });
        if (!taken) {
            refuse(one.sock);
            forget(one);
            return;
        }
        n_working++;
    }

    // In a thread of its own.
    void work(connection & one) {
        bool keep = one.server->serve(one);
        while (keep && !one.buffer.empty()) {
            keep = one.server->serve(one); // the client did not wait for the answer
        }
        if (!keep) {
            shutdown(one.sock, SHUT_WR);
        }
        std::lock_guard<std::mutex> lock(mutex);
        n_working--;
        one.state    = keep ? STAGE_IDLE : STAGE_CLOSING;
        one.deadline = clock_t_::now() + seconds(keep ? jina_get_settings().idle_seconds : 2);
        // What came in the meantime is reported anew.
        epoll_event event = {};
        event.events      = EPOLLIN | EPOLLRDHUP | EPOLLET;
        event.data.fd     = one.sock;
        epoll_ctl(poll_fd, EPOLL_CTL_MOD, one.sock, &event);
    }

    void drop_input(connection & one) {
        char bytes[16 * 1024];
        for (int i = 0; i < 64; i++) {
            const ssize_t n = recv(one.sock, bytes, sizeof(bytes), MSG_DONTWAIT);
            if (n > 0) {
                continue;
            }
            if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
                forget(one);
            }
            return;
        }
        // There is more: to be asked again, so that other connections have their turn.
        epoll_event event = {};
        event.events      = EPOLLIN | EPOLLRDHUP | EPOLLET;
        event.data.fd     = one.sock;
        epoll_ctl(poll_fd, EPOLL_CTL_MOD, one.sock, &event);
    }
};

watcher & the_watcher() {
    static watcher * one = new watcher();
    return *one;
}

bool watched_server::process_and_close_socket(socket_t sock) {
    the_watcher().add(sock, this);
    return true;
}

// The library hands each new connection to a queue of jobs; ours does the job at once, which only
// hands the connection to the watcher.
class accept_queue final : public httplib::TaskQueue {
  public:
    bool enqueue(std::function<void()> job) override {
        job();
        return true;
    }

    void shutdown() override { the_watcher().stop(); }
};

std::atomic<int> max_threads{ 0 };

} // namespace

std::unique_ptr<httplib::Server> jina_make_server() {
    return std::make_unique<watched_server>();
}

void jina_watch_connections(httplib::Server & server, std::function<void()> begin, std::function<bool()> end) {
    auto & watched = static_cast<watched_server &>(server);
    watched.begin  = std::move(begin);
    watched.end    = std::move(end);
    server.new_task_queue = [] { return new accept_queue(); };
    server.set_keep_alive_timeout(jina_get_settings().idle_seconds);
    server.set_keep_alive_max_count(1000000); // said to clients only, connections are kept here
}

size_t jina_connection_count() {
    return the_watcher().count();
}

bool jina_read_timed_out() {
    return timed_out;
}

void jina_set_max_threads(int n_threads) {
    max_threads = n_threads;
}

int jina_max_threads() {
    if (max_threads > 0) {
        return max_threads;
    }
    const size_t limit = jina_pids_limit();
    if (limit == 0) {
        return 512;
    }
    // Half of what is left after the threads that compute: room for what else runs in the container.
    const size_t others = OTHER_THREADS + N_QUICK + std::thread::hardware_concurrency();
    return (int) std::min<size_t>(512, limit > others + 8 ? (limit - others) / 2 : 4);
}
