#include "jina-connections.h"

#include "jina-lifecycle.h"
#include "jina-requests.h"
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

// Twice what the HTTP library allows for a line; a header that does not end within it is its to refuse.
const size_t MAX_HEADER = 16 * 1024;

// What is read of one connection before others have their turn.
const size_t MAX_TURN = 1024 * 1024;

// Descriptors that are not connections: the model, libraries, the log.
const size_t OTHER_DESCRIPTORS = 128;

// Threads that are neither for requests nor for computing: main, the watcher, signals, the log.
const size_t OTHER_THREADS = 16;

const size_t MAX_QUEUED = 16384;

// For requests without a body; for /metrics, each of which may wait a fifth of a second; and for
// bodies in chunks, which the library has to read while they come.
const int N_QUICK   = 4;
const int N_METRICS = 16;
const int N_CHUNKED = 8;

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

// A connection as the HTTP library reads and writes it during one request, with a time limit for all
// that is read, and one for each part that is written. What was read too far stays in `buffer`.
class socket_stream final : public httplib::Stream {
  public:
    socket_stream(int sock, std::string & buffer, jina_address remote, jina_address local)
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
        if (taken == buffer.size()) {
            std::string().swap(buffer); // a long body is needed once
            taken = 0;
        }
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
    const jina_address remote;
    const jina_address local;
    const time_point   start;

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
    STAGE_BODY,    // its header has, and a part of its body
    STAGE_WORKING, // it has a thread
    STAGE_CLOSING, // answered; what the client still sends is dropped, so that it can read the answer
};

enum lane { LANE_WORKING, LANE_QUICK, LANE_METRICS, LANE_CHUNKED, N_LANES };

struct connection {
    int              sock;
    watched_server * server;
    stage            state = STAGE_IDLE;
    time_point       deadline;
    std::string      buffer;        // what has come and is not taken
    size_t           n_wanted = 0;  // bytes of header and body, once they are known
    size_t           n_counted = 0; // bytes that are counted as waiting
};

class watched_server final : public httplib::Server {
  public:
    jina_connection_rules rules;

    // One request; true if the connection may be kept.
    bool serve(connection & one) {
        const jina_address remote = jina_address_of(one.sock, getpeername);
        const jina_address local  = jina_address_of(one.sock, getsockname);
        bool          closed = false;
        bool          good   = false;
        timed_out            = false;
        rules.begin();
        try {
            socket_stream stream(one.sock, one.buffer, remote, local);
            good = process_request(stream, remote.ip, remote.port, local.ip, local.port, jina_is_draining(), closed, nullptr);
        } catch (const std::exception & error) {
            LOG_ERR("a request ended with: %s\n", error.what());
        }
        return rules.end() && good && !closed && !timed_out && !jina_is_draining();
    }

  private:
    bool process_and_close_socket(socket_t sock) override;
};

// All connections, and the thread that watches them. It is never destroyed: threads may still use it
// when the process ends.
class watcher {
  public:
    watcher() : poll_fd(epoll_create1(EPOLL_CLOEXEC)) {
        const size_t most[N_LANES] = { (size_t) jina_max_threads(), N_QUICK, N_METRICS, N_CHUNKED };
        for (int i = 0; i < N_LANES; i++) {
            // Those that must answer in any case keep a thread.
            lanes[i] = std::make_unique<thread_pool>(i == LANE_QUICK ? N_QUICK : i == LANE_METRICS ? 1 : 0, most[i]);
        }
        rlimit files = {};
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
            files.rlim_cur = files.rlim_max;
            setrlimit(RLIMIT_NOFILE, &files);
            getrlimit(RLIMIT_NOFILE, &files);
            const size_t room = files.rlim_cur > 2 * OTHER_DESCRIPTORS ? files.rlim_cur - OTHER_DESCRIPTORS : OTHER_DESCRIPTORS;
            n_most            = std::min(n_most, room);
        }
        std::thread([this] { watch(); }).detach();
    }

    void add(int sock, watched_server * server) {
        std::lock_guard<std::mutex> lock(mutex);
        if (stopped || all.size() >= n_most) {
            numbers.refused_threads++;
            refuse(sock, "too many connections; try again later");
            close(sock);
            return;
        }
        auto one      = std::make_unique<connection>();
        one->sock     = sock;
        one->server   = server;
        one->deadline = clock_t_::now() + seconds(jina_get_settings().idle_seconds);
        all[sock]     = std::move(one);
        ask(EPOLL_CTL_ADD, sock);
    }

    // No request starts from now on; waits for those that run, which are short (the model is not loaded).
    void stop() {
        const time_point             until = clock_t_::now() + seconds(2);
        std::unique_lock<std::mutex> lock(mutex);
        stopped = true;
        while (n_working > 0 && clock_t_::now() < until) {
            lock.unlock();
            std::this_thread::sleep_for(millisecond(10));
            lock.lock();
        }
    }

    jina_connection_numbers count() {
        std::lock_guard<std::mutex> lock(mutex);
        numbers.n_open = all.size();
        return numbers;
    }

  private:
    std::unique_ptr<thread_pool> lanes[N_LANES];
    const int                    poll_fd;
    size_t                       n_most    = 8192; // times MAX_HEADER is 128 MB
    size_t                       n_working = 0;
    bool                         stopped   = false;

    std::mutex                                           mutex;
    std::unordered_map<int, std::unique_ptr<connection>> all;
    jina_connection_numbers                              numbers;

    // To be told once when something comes, or has come already.
    void ask(int operation, int sock) {
        epoll_event event = {};
        event.events      = EPOLLIN | EPOLLRDHUP | EPOLLET;
        event.data.fd     = sock;
        epoll_ctl(poll_fd, operation, sock, &event);
    }

    static void refuse(int sock, const std::string & why) {
        say(sock, "503 Service Unavailable\r\nRetry-After: 1", jina_error(why, "overloaded_error"));
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
            const int                   n = epoll_wait(poll_fd, events.data(), (int) events.size(), 250);
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
        std::vector<int> late;
        for (const auto & [sock, one] : all) {
            if (one->state != STAGE_WORKING && one->deadline < now) {
                late.push_back(sock);
            }
        }
        for (int sock : late) {
            connection & one = *all[sock];
            if (one.state == STAGE_HEADER || one.state == STAGE_BODY) {
                say(sock, "408 Request Timeout", jina_error("the request did not come in time", "invalid_request_error"));
                close_after_answer(one);
            } else {
                forget(one);
            }
        }
    }

    void forget(connection & one) {
        const int sock = one.sock;
        numbers.n_bytes -= one.n_counted;
        all.erase(sock);
        close(sock);
    }

    // The client may still be sending: it reads the answer only if the connection is not cut.
    void close_after_answer(connection & one) {
        numbers.n_bytes -= one.n_counted;
        one.n_counted = 0;
        std::string().swap(one.buffer);
        shutdown(one.sock, SHUT_WR);
        one.state    = STAGE_CLOSING;
        one.deadline = clock_t_::now() + seconds(2);
        ask(EPOLL_CTL_MOD, one.sock);
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
        static std::vector<char> bytes(64 * 1024); // of the watcher's thread
        bool                     gone = false;
        bool                     more = true;
        for (size_t turn = 0; more && turn < MAX_TURN && !is_whole(one);) {
            const ssize_t n = recv(one.sock, bytes.data(), bytes.size(), MSG_DONTWAIT);
            gone            = n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
            more            = n > 0;
            if (more) {
                one.buffer.append(bytes.data(), (size_t) n);
                turn += (size_t) n;
                if (one.state == STAGE_BODY && !take_bytes(one, (size_t) n)) {
                    return;
                }
                if (one.state != STAGE_BODY && !read_header(one)) {
                    return;
                }
            }
        }
        if (is_whole(one)) {
            start(one);
        } else if (gone) {
            forget(one);
        } else if (more) {
            ask(EPOLL_CTL_MOD, one.sock); // others first
        }
    }

    static bool is_whole(const connection & one) { return one.n_wanted > 0 && one.buffer.size() >= one.n_wanted; }

    // Looks whether the header has come; false if the connection is no longer to be read.
    bool read_header(connection & one) {
        if (one.state == STAGE_IDLE) {
            one.state    = STAGE_HEADER;
            one.deadline = clock_t_::now() + seconds(jina_get_settings().header_seconds);
        }
        const bool   http = one.buffer[0] >= 'A' && one.buffer[0] <= 'Z';
        const size_t end  = one.buffer.find("\r\n\r\n");
        if (end == std::string::npos) {
            if (!http || one.buffer.size() >= MAX_HEADER) {
                one.n_wanted = 1; // as it is, for the library to refuse
            }
            return true;
        }
        const std::string header   = one.buffer.substr(0, end);
        const std::string length   = jina_header_field(header, "content-length");
        const size_t      n_body   = std::strtoull(length.c_str(), nullptr, 10);
        const bool        refused  = n_body > jina_get_settings().max_body_bytes || (n_body > 0 && !one.server->rules.may_send_body(header));
        one.n_wanted               = end + 4 + (refused ? 0 : n_body);
        if (refused || n_body == 0) {
            return true;
        }
        one.state    = STAGE_BODY;
        one.deadline = clock_t_::now() + seconds(jina_get_settings().body_seconds);
        if (!jina_header_field(header, "expect").empty() && one.buffer.size() < one.n_wanted) {
            static const char answer[] = "HTTP/1.1 100 Continue\r\n\r\n";
            (void) !send(one.sock, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        return take_bytes(one, one.buffer.size() - end - 4);
    }

    // Counts bytes of a body. Where there is no room, the body that has been coming for the longest
    // time makes some; that of a client that means well is there in a moment. False if it was refused.
    bool take_bytes(connection & one, size_t n_bytes) {
        while (numbers.n_bytes > 0 && numbers.n_bytes + n_bytes > jina_get_settings().max_waiting_bytes) {
            connection * oldest = nullptr;
            for (const auto & [sock, each] : all) {
                if (each->state == STAGE_BODY && each->n_counted > 0 && (!oldest || each->deadline < oldest->deadline)) {
                    oldest = each.get();
                }
            }
            const time_point started_before = clock_t_::now() + seconds(jina_get_settings().body_seconds) - seconds(1);
            if (!oldest || oldest->deadline > started_before) {
                oldest = &one;
            }
            numbers.refused_bytes++;
            refuse(oldest->sock, "too much text waits already; try again later");
            close_after_answer(*oldest);
            if (oldest == &one) {
                return false;
            }
        }
        numbers.n_bytes += n_bytes;
        one.n_counted += n_bytes;
        return true;
    }

    static lane lane_of(const std::string & request) {
        const std::string header = request.substr(0, request.find("\r\n\r\n"));
        if (!jina_header_field(header, "transfer-encoding").empty()) {
            return LANE_CHUNKED;
        }
        if (header.compare(0, 4, "GET ") != 0 && header.compare(0, 5, "HEAD ") != 0) {
            return LANE_WORKING;
        }
        return header.substr(0, header.find("\r\n")).find("/metrics") == std::string::npos ? LANE_QUICK : LANE_METRICS;
    }

    void start(connection & one) {
        if (stopped) {
            forget(one);
            return;
        }
        one.state        = STAGE_WORKING;
        one.n_wanted     = 0;
        const bool taken = lanes[lane_of(one.buffer)]->run([this, &one] { work(one); });
        if (!taken) {
            numbers.refused_threads++;
            refuse(one.sock, "too many requests; try again later");
            close_after_answer(one);
            return;
        }
        n_working++;
    }

    // In a thread of its own.
    void work(connection & one) {
        const bool                  keep = one.server->serve(one);
        std::lock_guard<std::mutex> lock(mutex);
        n_working--;
        if (!keep) {
            close_after_answer(one);
            return;
        }
        numbers.n_bytes -= one.n_counted;
        one.n_counted = 0;
        one.state     = STAGE_IDLE;
        one.deadline  = clock_t_::now() + seconds(jina_get_settings().idle_seconds);
        if (!one.buffer.empty() && !read_header(one)) {
            return; // the client did not wait for the answer, and what it sent is refused
        }
        if (is_whole(one)) {
            start(one);
        } else {
            ask(EPOLL_CTL_MOD, one.sock);
        }
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
        ask(EPOLL_CTL_MOD, one.sock); // others first
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

jina_address jina_address_of(int sock, int (*name)(int, sockaddr *, socklen_t *)) {
    sockaddr_storage storage = {};
    socklen_t        length  = sizeof(storage);
    jina_address     found;
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

std::unique_ptr<httplib::Server> jina_make_server() {
    return std::make_unique<watched_server>();
}

void jina_watch_connections(httplib::Server & server, jina_connection_rules rules) {
    static_cast<watched_server &>(server).rules = std::move(rules);
    server.new_task_queue                       = [] { return new accept_queue(); };
    // Said to clients only, connections are kept here.
    server.set_keep_alive_timeout(jina_get_settings().idle_seconds);
    server.set_keep_alive_max_count(1000000);
}

std::string jina_header_field(const std::string & header, const std::string & name) {
    for (size_t line = header.find('\n'); line != std::string::npos; line = header.find('\n', line + 1)) {
        const size_t colon = line + 1 + name.size();
        if (colon >= header.size() || header[colon] != ':') {
            continue;
        }
        const bool found = std::equal(name.begin(), name.end(), header.begin() + (std::ptrdiff_t) line + 1,
                                      [](char a, char b) { return a == std::tolower((unsigned char) b); });
        if (found) {
            const size_t end   = std::min(header.find('\r', colon), header.size());
            const size_t begin = header.find_first_not_of(" \t", colon + 1);
            return begin < end ? header.substr(begin, header.find_last_not_of(" \t", end - 1) + 1 - begin) : "";
        }
    }
    return "";
}

jina_connection_numbers jina_count_connections() {
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
    const size_t others = OTHER_THREADS + N_QUICK + N_METRICS + N_CHUNKED + std::thread::hardware_concurrency();
    return (int) std::min<size_t>(512, limit > others + 8 ? (limit - others) / 2 : 4);
}
