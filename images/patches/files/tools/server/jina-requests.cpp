#include "jina-requests.h"

#include "jina-apis.h"
#include "jina-aside.h"
#include "jina-cache.h"
#include "jina-embeddings.h"
#include "jina-lifecycle.h"
#include "jina-settings.h"

#include "common.h"
#include "log.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

using ordered_json = nlohmann::ordered_json;
using clock_t_     = std::chrono::steady_clock;

namespace {

struct served {
    const char * method;
    const char * path; // `*` for whatever follows
};

// All that the server answers. What generates text, changes the server or reads its files is not here.
const served OPEN[] = { // without a key, for pages of any origin, and while the model loads
    { "GET", "/health" },
    { "GET", "/v1/health" },
    { "GET", "/ready" },
};
const served KEYED[] = {
    { "GET",  "/metrics"                },
    { "GET",  "/models"                 },
    { "GET",  "/models/*"               },
    { "GET",  "/v1/models"              },
    { "GET",  "/v1/models/*"            },
    { "GET",  "/info"                   },
    { "POST", "/v1/embeddings"          },
    { "POST", "/embeddings"             },
    { "POST", "/embedding"              },
    { "POST", "/query/v1/embeddings"    },
    { "POST", "/document/v1/embeddings" },
    { "POST", "/embed"                  },
    { "POST", "/query/embed"            },
    { "POST", "/document/embed"         },
    { "POST", "/similarity"             },
    { "POST", "/v1/embed"               },
    { "POST", "/v2/embed"               },
    { "POST", "/tokenize"               },
    { "POST", "/detokenize"             },
};

// Upper limits of the histogram's buckets: a short input alone to a long batch on two cores.
const double SECONDS[] = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120 };
const size_t N_SECONDS = sizeof(SECONDS) / sizeof(SECONDS[0]);

// Of the request that this thread works on.
struct current {
    std::string          id;
    std::string          path; // as it is listed, empty for another
    clock_t_::time_point start;
    size_t               n_inputs = 0; // that room was taken for

    size_t               n_tokens = 0;
    jina_api             api      = jina_api::openai; // in whose form its errors are
    bool                 working  = false;
    bool                 keep     = true;
};

thread_local current now;

struct numbers {
    std::mutex                                           mutex;
    std::map<std::pair<std::string, int>, unsigned long> requests; // by path and status
    std::map<std::string, unsigned long>                 refused;  // by reason
    unsigned long                                        in_time[N_SECONDS + 1] = {};
    double                                               sum_seconds            = 0;
    unsigned long                                        n_inputs               = 0;
    unsigned long                                        n_tokens               = 0;
    size_t                                               waiting_inputs         = 0;
};

numbers & all() {
    static numbers * one = new numbers(); // never destroyed: threads may use it to the end
    return *one;
}

struct policy {
    std::string              prefix;
    std::vector<std::string> keys;
    const std::atomic<bool> *is_ready;
};

bool matches(const char * pattern, const std::string & path) {
    const std::string expected = pattern;
    if (expected.back() != '*') {
        return expected == path;
    }
    const size_t length = expected.size() - 1;
    return path.size() > length && path.compare(0, length, expected, 0, length) == 0;
}

template <size_t N> const served * find(const served (&routes)[N], const std::string & method, const std::string & path) {
    for (const served & each : routes) {
        if (matches(each.path, path) && (method.empty() || method == each.method || (method == "HEAD" && std::string(each.method) == "GET"))) {
            return &each;
        }
    }
    return nullptr;
}

using handled = httplib::Server::HandlerResponse;

handled refuse(httplib::Response & res, int status, const std::string & message, const std::string & type) {
    res.status = status;
    res.set_content(jina_error(message, type), "application/json; charset=utf-8");
    return handled::Handled;
}

void count_refused(const std::string & reason) {
    std::lock_guard<std::mutex> lock(all().mutex);
    all().refused[reason]++;
}

handled refuse_for_now(httplib::Response & res, const std::string & message, const std::string & type) {
    res.set_header("Retry-After", "1");
    return refuse(res, 503, message, type);
}

bool is_id(const std::string & text) {
    return !text.empty() && text.size() <= 128 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
        return std::isalnum(c) || c == '.' || c == '_' || c == '-';
    });
}

std::string make_id() {
    static thread_local std::mt19937_64 random(std::random_device{}());
    char text[33];
    std::snprintf(text, sizeof(text), "%016llx%016llx", (unsigned long long) random(), (unsigned long long) random());
    return text;
}

// Takes as long for a wrong key as for the right one.
bool same(const std::string & given, const std::string & key) {
    unsigned char different = given.size() == key.size() ? 0 : 1;
    for (size_t i = 0; i < given.size(); i++) {
        different |= (unsigned char) given[i] ^ (unsigned char) key[key.empty() ? 0 : i % key.size()];
    }
    return different == 0;
}

bool is_key(const policy & rules, const std::string & authorization, const std::string & api_key) {
    if (rules.keys.empty()) {
        return true;
    }
    std::string given = authorization.empty() ? api_key : authorization;
    // the scheme's name is in any case (RFC 9110, 11.1)
    std::string scheme = given.substr(0, 7);
    std::transform(scheme.begin(), scheme.end(), scheme.begin(), [](unsigned char c) { return std::tolower(c); });
    if (scheme == "bearer ") {
        given.erase(0, given.find_first_not_of(' ', 7));
    }
    bool known = false;
    for (const std::string & key : rules.keys) {
        known = same(given, key) || known;
    }
    return known;
}

bool is_allowed_origin(const std::string & origin) {
    for (const std::string & allowed : jina_get_settings().allowed_origins) {
        if (allowed == "*" || allowed == origin) {
            return true;
        }
    }
    return false;
}

// What the rules look at in a request.
struct question {
    std::string method;
    std::string path; // without what the query asks, and the prefix
    bool        from_page;
    std::string origin;
    std::string authorization;
    std::string api_key;
};

enum class verdict { pass, foreign_page, preflight, no_key, no_path, other_method, loading, draining };

// The path that clients mean: a proxy's form of a target has the host in it, and a base that ends with a
// slash makes two of one, or leaves one at the end.
std::string plain(const std::string & target) {
    const size_t scheme = target.compare(0, 7, "http://") == 0 ? 7 : target.compare(0, 8, "https://") == 0 ? 8 : 0;
    std::string  path;
    for (size_t i = scheme == 0 ? 0 : std::min(target.find('/', scheme), target.size()); i < target.size(); i++) {
        if (target[i] != '/' || path.empty() || path.back() != '/') {
            path += target[i];
        }
    }
    if (!path.empty() && path.back() == '/') {
        path.pop_back();
    }
    return path;
}

// The path as it is listed above: a client may be given the address of a side as its base, with /v1 or
// without, and asks for all that it needs under it. The base alone is where text-embeddings-inference embeds.
std::string listed(const std::string & path) {
    for (const std::string side : { "/query", "/document" }) {
        if (path.compare(0, side.size(), side) == 0 && (path.size() == side.size() || path[side.size()] == '/')) {
            const std::string rest = listed(path.substr(side.size()));
            if (rest == "/embed" || rest == "/v1/embeddings") {
                return side + rest;
            }
            if (rest == "/embeddings") {
                return side + "/v1" + rest;
            }
            return find(KEYED, "GET", rest) && rest != "/metrics" ? rest : path;
        }
    }
    return path.empty() ? "/embed" : path;
}

// What of a target is the path behind the prefix of all paths, as it is listed; a blank where it is
// another's, which no path is.
std::string path_of(const policy & rules, const std::string & target) {
    const std::string path = plain(target);
    return path.compare(0, rules.prefix.size(), rules.prefix) == 0 ? listed(path.substr(rules.prefix.size())) : " ";
}

verdict judge(const policy & rules, const question & asked) {
    // Browsers say which page a request comes from. Without this any page could use a server that
    // only its own machine can reach.
    if (asked.from_page && !is_allowed_origin(asked.origin)) {
        return verdict::foreign_page;
    }
    if (asked.method == "OPTIONS") {
        return verdict::preflight;
    }
    if (!is_key(rules, asked.authorization, asked.api_key)) {
        return verdict::no_key;
    }
    if (!find(KEYED, asked.method, asked.path)) {
        return find(KEYED, "", asked.path) ? verdict::other_method : verdict::no_path;
    }
    if (!rules.is_ready->load()) {
        return verdict::loading;
    }
    return jina_is_draining() ? verdict::draining : verdict::pass;
}

// Before the body is read and the handler is called.
handled check(const policy & rules, const httplib::Request & req, httplib::Response & res) {
    const std::string given = req.get_header_value("X-Request-Id");
    now.id                  = is_id(given) ? given : make_id();
    now.start               = clock_t_::now();
    res.set_header("X-Request-Id", now.id);

    const question asked = { req.method,
                             path_of(rules, req.path),
                             req.has_header("Origin"),
                             req.get_header_value("Origin"),
                             req.get_header_value("Authorization"),
                             req.get_header_value("X-Api-Key") };

    now.api = jina_api_of(asked.path);
    // The library finds the handler by the path. The request is its own and not constant; only this
    // handler sees it so.
    auto & own = const_cast<httplib::Request &>(req);
    own.path   = rules.prefix + asked.path;

    if (const served * open = find(OPEN, "", asked.path)) {
        now.path = open->path;
        res.set_header("Access-Control-Allow-Origin", "*");
        const std::string why   = jina_not_ready();
        const bool        ready = std::string(open->path) == "/ready";
        if (req.method != "GET" && req.method != "HEAD") {
            res.set_header("Allow", "GET, HEAD");
            return refuse(res, 405, "this path is for GET", "invalid_request_error");
        }
        if (ready ? !why.empty() : !rules.is_ready->load()) {
            return refuse(res, 503, why.empty() ? "Loading model" : why, "unavailable_error");
        }
        res.status = 200;
        res.set_content(ready ? R"({"status":"ready"})" : R"({"status":"ok"})", "application/json; charset=utf-8");
        return handled::Handled;
    }

    const verdict found = judge(rules, asked);
    if (asked.from_page && found != verdict::foreign_page) {
        res.set_header("Access-Control-Allow-Origin", asked.origin);
        res.set_header("Access-Control-Expose-Headers", "X-Request-Id, Retry-After");
        res.set_header("Vary", "Origin");
    }
    if (found == verdict::pass || found == verdict::other_method || found == verdict::loading || found == verdict::draining) {
        now.path = find(KEYED, "", asked.path)->path;
    }
    switch (found) {
        case verdict::foreign_page:
            count_refused("origin");
            return refuse(res, 403, "pages of this origin may not use the server; its operator allows some with JINA_ALLOWED_ORIGINS",
                          "permission_error");
        case verdict::preflight:
            res.set_header("Allow", "GET, HEAD, POST, OPTIONS");
            if (asked.from_page) {
                res.set_header("Access-Control-Allow-Methods", "GET, POST");
                res.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Api-Key, X-Request-Id");
                res.set_header("Access-Control-Max-Age", "600");
            }
            res.status = 204;
            return handled::Handled;
        case verdict::no_key:
            res.set_header("WWW-Authenticate", "Bearer");
            return refuse(res, 401, "Invalid API Key", "authentication_error");
        case verdict::no_path:
            return refuse(res, 404, "there is no such path: this server only embeds texts, see its documentation", "not_found_error");
        case verdict::other_method: {
            const std::string method = find(KEYED, "", asked.path)->method;
            res.set_header("Allow", method == "GET" ? "GET, HEAD" : method);
            return refuse(res, 405, "this path is for " + method, "invalid_request_error");
        }
        case verdict::loading:
            return refuse_for_now(res, "Loading model", "unavailable_error");
        case verdict::draining:
            count_refused("draining");
            return refuse_for_now(res, "the server is about to end", "unavailable_error");
        case verdict::pass:
            break;
    }
    const size_t n_bytes = std::strtoull(req.get_header_value("Content-Length").c_str(), nullptr, 10);
    const size_t most    = jina_get_settings().max_body_bytes;
    if (n_bytes > most) {
        count_refused("body");
        return refuse(res, 413, "the request has " + std::to_string(n_bytes) + " bytes, but at most " + std::to_string(most) +
                      " are allowed; send fewer inputs in a request", "invalid_request_error");
    }
    // What waits for an answer gives up when the time for draining is over.
    own.is_connection_closed = [closed = own.is_connection_closed] { return jina_drain_is_over() || closed(); };
    return handled::Unhandled;
}

// Whether check() will let a request pass, as far as its raw header tells: the body of another is not
// waited for.
bool may_send_body(const policy & rules, const std::string & header) {
    const std::string line   = header.substr(0, header.find_first_of("\r\n"));
    const size_t      begin  = std::min(line.find(' '), line.size());
    const std::string target = begin < line.size() ? line.substr(begin + 1, line.find_first_of(" ?", begin + 1) - begin - 1) : "";
    const std::string origin = jina_header_field(header, "origin");
    return judge(rules, { line.substr(0, begin), path_of(rules, target), !origin.empty(), origin,
                          jina_header_field(header, "authorization"), jina_header_field(header, "x-api-key") }) == verdict::pass;
}

// What the library itself refuses has no body.
void explain(const policy & rules, const httplib::Request & req, httplib::Response & res) {
    if (!res.body.empty()) {
        return;
    }
    if (now.id.empty()) { // refused before check()
        now.id    = make_id();
        now.start = clock_t_::now();
        now.api   = jina_api_of(path_of(rules, req.path));
        res.set_header("X-Request-Id", now.id);
    }
    if (jina_read_timed_out()) {
        res.status = 408;
    }
    const std::string why = res.status == 408 ? "the request's body did not come in time" : httplib::status_message(res.status);
    res.set_content(jina_error(why, res.status < 500 ? "invalid_request_error" : "server_error"),
                    "application/json; charset=utf-8");
}

void log_line(const ordered_json & json, const std::string & text) {
    if (jina_get_settings().json_log) {
        LOG("%s\n", json.dump(-1, ' ', false, ordered_json::error_handler_t::replace).c_str());
    } else {
        LOG("%s\n", text.c_str());
    }
}

// Once the answer is written, or could not be.
void finish(const httplib::Request & req, const httplib::Response & res) {
    const double seconds = std::chrono::duration<double>(clock_t_::now() - now.start).count();
    const bool   probe   = now.path == "/health" || now.path == "/v1/health" || now.path == "/ready" || now.path == "/metrics";
    const bool   embeds  = now.path.find("/embed") != std::string::npos || now.path == "/similarity";
    {
        std::lock_guard<std::mutex> lock(all().mutex);
        all().requests[{ now.path.empty() ? "other" : now.path, res.status }]++;
        if (embeds && res.status == 200) {
            size_t i = 0;
            while (i < N_SECONDS && seconds > SECONDS[i]) {
                i++;
            }
            all().in_time[i]++;
            all().sum_seconds += seconds;
            all().n_inputs += now.n_inputs;
            all().n_tokens += now.n_tokens;
        }
    }
    if (now.id.empty() || (probe && res.status == 200)) {
        return;
    }
    const std::string path = now.path.empty() ? "other" : now.path;
    char              ms[32];
    std::snprintf(ms, sizeof(ms), "%.1f", seconds * 1000);
    log_line({ { "event", "request" }, { "method", req.method }, { "path", path }, { "status", res.status },
               { "inputs", now.n_inputs }, { "tokens", now.n_tokens }, { "ms", std::stod(ms) }, { "id", now.id } },
             "request: " + req.method + " " + path + " " + std::to_string(res.status) + " inputs=" + std::to_string(now.n_inputs) +
             " tokens=" + std::to_string(now.n_tokens) + " ms=" + ms + " id=" + now.id);
}

// The request is over, whatever became of it; true if the connection may be kept.
bool leave() {
    {
        std::lock_guard<std::mutex> lock(all().mutex);
        all().waiting_inputs -= now.n_inputs;
    }
    if (now.working) {
        jina_work_ends();
    }
    return now.keep;
}

std::string our_metrics() {
    std::string text;
    const auto  line = [&text](const std::string & name, const std::string & labels, double value) {
        char number[64];
        std::snprintf(number, sizeof(number), " %.17g\n", value);
        text += "jina_" + name + (labels.empty() ? "" : "{" + labels + "}") + number;
    };
    const auto head = [&text](const std::string & name, const std::string & type, const std::string & help) {
        text += "# HELP jina_" + name + " " + help + "\n# TYPE jina_" + name + " " + type + "\n";
    };
    const jina_connection_numbers connections = jina_count_connections();

    std::lock_guard<std::mutex> lock(all().mutex);
    head("requests_total", "counter", "Requests by path and status.");
    for (const auto & [key, count] : all().requests) {
        line("requests_total", "path=\"" + key.first + "\",status=\"" + std::to_string(key.second) + "\"", (double) count);
    }
    head("request_seconds", "histogram", "Time of requests for embeddings that were answered with 200.");
    double count = 0;
    for (size_t i = 0; i < N_SECONDS; i++) {
        char limit[32];
        std::snprintf(limit, sizeof(limit), "le=\"%g\"", SECONDS[i]);
        count += (double) all().in_time[i];
        line("request_seconds_bucket", limit, count);
    }
    count += (double) all().in_time[N_SECONDS];
    line("request_seconds_bucket", "le=\"+Inf\"", count);
    line("request_seconds_sum", "", all().sum_seconds);
    line("request_seconds_count", "", count);
    head("inputs_total", "counter", "Inputs embedded.");
    line("inputs_total", "", (double) all().n_inputs);
    head("tokens_total", "counter", "Tokens embedded.");
    line("tokens_total", "", (double) all().n_tokens);
    head("waiting_inputs", "gauge", "Inputs of requests that are not answered yet.");
    line("waiting_inputs", "", (double) all().waiting_inputs);
    head("waiting_bytes", "gauge", "Bytes in the bodies of requests that are not answered yet.");
    line("waiting_bytes", "", (double) connections.n_bytes);
    head("refused_total", "counter", "Requests refused, by reason.");
    auto refused       = all().refused;
    refused["bytes"]   = connections.refused_bytes;
    refused["threads"] = connections.refused_threads;
    for (const char * reason : { "body", "bytes", "draining", "inputs", "origin", "threads" }) {
        line("refused_total", std::string("reason=\"") + reason + "\"", (double) refused[reason]);
    }
    const jina_cache_numbers cache = jina_count_cache();
    head("cache_hits_total", "counter", "Inputs whose vectors were in the cache.");
    line("cache_hits_total", "", (double) cache.n_hits);
    head("cache_misses_total", "counter", "Inputs whose vectors were not in the cache.");
    line("cache_misses_total", "", (double) cache.n_misses);
    head("cache_vectors", "gauge", "Vectors in the cache.");
    line("cache_vectors", "", (double) cache.n_vectors);
    head("cache_bytes", "gauge", "Bytes that the cache takes.");
    line("cache_bytes", "", (double) cache.n_bytes);
    head("aside_inputs_total", "counter", "Inputs computed between two parts of a long batch.");
    line("aside_inputs_total", "", (double) jina_count_aside());
    head("connections", "gauge", "Open connections.");
    line("connections", "", (double) connections.n_open);
    head("ready", "gauge", "1 where the server takes work.");
    line("ready", "", jina_not_ready().empty() ? 1 : 0);
    return text;
}

// A request for /metrics, in the two forms that the type has in the sources that we build: the older
// one has no files.
template <typename Request, typename Stop>
auto metrics_request(const Stop & stop, int) -> decltype(Request{ {}, {}, "", "", "", {}, stop }) {
    return Request{ {}, {}, "/metrics", "", "", {}, stop };
}

template <typename Request, typename Stop> Request metrics_request(const Stop & stop, long) {
    return Request{ {}, {}, "/metrics", "", "", stop };
}

// Asks for the server's own metrics in a thread of its own, and keeps what it last said.
class upstream_metrics {
  public:
    explicit upstream_metrics(server_http_context::handler_t handler) : handler(std::move(handler)) {
        std::thread([this] { ask(); }).detach();
    }

    // As of now if the server answers within a moment, else as of the last time.
    std::string get() {
        std::unique_lock<std::mutex> lock(mutex);
        wanted = true;
        condition.notify_all();
        condition.wait_for(lock, std::chrono::milliseconds(200), [this] { return !wanted; });
        return text;
    }

  private:
    const server_http_context::handler_t handler;
    std::mutex                           mutex;
    std::condition_variable              condition;
    bool                                 wanted = false;
    std::string                          text;

    void ask() {
        const std::function<bool()> never = [] { return false; };
        while (true) {
            std::unique_lock<std::mutex> lock(mutex);
            condition.wait(lock, [this] { return wanted; });
            lock.unlock();
            std::string said;
            try {
                const auto res = handler(metrics_request<server_http_req>(never, 0));
                said           = res && res->status == 200 ? res->data : "";
            } catch (const std::exception & error) {
                LOG_WRN("the server's own metrics cannot be had: %s\n", error.what());
            }
            lock.lock();
            text   = said;
            wanted = false;
            condition.notify_all();
        }
    }
};

} // namespace

static std::string api_prefix;

const std::string & jina_api_prefix() {
    return api_prefix;
}

void jina_configure_http(httplib::Server & server, const common_params & params, const std::atomic<bool> & is_ready) {
    api_prefix       = params.api_prefix;
    const auto rules = std::make_shared<policy>(policy{ params.api_prefix, params.api_keys, &is_ready });
    server.set_pre_routing_handler([rules](const httplib::Request & req, httplib::Response & res) {
        const handled result = check(*rules, req, res);
        // The body of what was refused may be on its way, and would be taken for another request.
        if (result == handled::Handled && (req.has_header("Content-Length") || req.has_header("Transfer-Encoding"))) {
            now.keep = false;
            if (!jina_is_draining()) { // then the library says so already
                res.set_header("Connection", "close");
            }
        }
        return result;
    });
    server.set_error_handler([rules](const httplib::Request & req, httplib::Response & res) { explain(*rules, req, res); });
    server.set_logger(finish);
    server.set_payload_max_length(jina_get_settings().max_body_bytes);
    jina_watch_connections(server, { [rules](const std::string & header) { return may_send_body(*rules, header); },
                                     [] { now = current(); }, leave });
}

// An error of the server's own handlers, in the form that all have here.
static void dress(server_http_res & res) {
    const ordered_json said = ordered_json::parse(res.data, nullptr, false);
    if (!said.is_object() || !said.contains("error") || !said.at("error").is_object() || said.contains("detail")) {
        return;
    }
    ordered_json      error   = said.at("error");
    const std::string message = error.value("message", "");
    const std::string type    = error.value("type", "server_error");
    error.erase("message");
    error.erase("type");
    error.erase("code");
    res.data = jina_error(message, type, error);
}

server_http_res_ptr jina_call(const server_http_context::handler_t & handler, const server_http_req & request) {
    if (!now.working) {
        now.working = true;
        jina_work_begins();
    }
    try {
        jina_check_nesting(request.body);
        server_http_res_ptr res = handler(request);
        if (res && !res->is_stream() && res->data.empty()) {
            // It has given up: the time for draining is over, or the client has gone (499 is nginx's word for that).
            return jina_drain_is_over() ?
                       jina_refusal(503, "the server ended before this was done; send it again", "unavailable_error") :
                       jina_refusal(499, "the client has gone", "client_closed_request");
        }
        if (res && res->status >= 400) {
            dress(*res);
        }
        return res;
    } catch (const std::exception & error) {
        const bool clients = jina_is_clients_error(error);
        return jina_refusal(clients ? 400 : 500, error.what(), clients ? "invalid_request_error" : "server_error");
    }
}

std::string jina_error(const std::string & message, const std::string & type, const ordered_json & more) {
    return jina_api_error(now.api, now.id, message, type, more);
}

server_http_res_ptr jina_refusal(int status, const std::string & message, const std::string & type, const ordered_json & more) {
    auto res    = std::make_unique<server_http_res>();
    res->status = jina_api_status(now.api, status, type);
    res->data   = jina_error(message, type, more);
    if (status == 503) {
        res->headers["Retry-After"] = "1";
    }
    return res;
}

const std::string & jina_request_id() {
    return now.id;
}

bool jina_take_inputs(size_t n_inputs) {
    std::unique_lock<std::mutex> lock(all().mutex);
    if (all().waiting_inputs > 0 && all().waiting_inputs + n_inputs > jina_get_settings().max_waiting_inputs) {
        all().refused["inputs"]++;
        return false;
    }
    all().waiting_inputs += n_inputs;
    now.n_inputs += n_inputs;
    return true;
}

void jina_note_tokens(size_t n_tokens) {
    now.n_tokens = n_tokens;
}

server_http_context::handler_t jina_metrics(server_http_context::handler_t upstream) {
    auto * const own = new upstream_metrics(std::move(upstream)); // never destroyed: its thread goes on to the end
    return [own](const server_http_req &) {
        auto res          = std::make_unique<server_http_res>();
        res->content_type = "text/plain; version=0.0.4";
        res->data         = own->get() + our_metrics();
        return res;
    };
}

void jina_log_setting(const std::string & name, const std::string & value) {
    log_line({ { "event", "setting" }, { "name", name }, { "value", value } }, "setting: " + name + " = " + value);
}
