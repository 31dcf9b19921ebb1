#include "jina-threads.h"

#include "common.h"
#include "log.h"

#include <algorithm>
#include <climits>
#include <fstream>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#ifdef __linux__
#include <sched.h>

// OpenMP's library is there or not, as ggml was built; the server itself is built without it.
extern "C" void omp_set_num_threads(int n_threads) __attribute__((weak));
#endif

namespace {

// What the process may use of the machine.
struct allowance {
    int    cpus  = INT_MAX; // CPUs that it may run on
    int    cores = INT_MAX; // the same, counting SMT siblings once
    double quota = 0;       // CPUs' worth of time, 0 without a limit
};

struct thread_default {
    int         computing;
    std::string why;
    int         cpus; // that can be busy at the same time
};

#ifdef __linux__

// The CPUs' worth of time that one cgroup grants, 0 without a limit. Version 2 has one file with
// "QUOTA PERIOD" or "max PERIOD", version 1 has two, and -1 for no limit (Linux,
// Documentation/admin-guide/cgroup-v2.rst and Documentation/scheduler/sched-bwc.rst).
double quota_of(const std::string & cgroup) {
    double        quota  = 0;
    double        period = 0;
    std::ifstream both(cgroup + "/cpu.max");
    if (both.is_open()) {
        both >> quota >> period;
    } else {
        std::ifstream(cgroup + "/cpu.cfs_quota_us") >> quota;
        std::ifstream(cgroup + "/cpu.cfs_period_us") >> period;
    }
    return quota > 0 && period > 0 ? quota / period : 0;
}

// The folders of the process's cgroup and of those above it, as far as they can be seen: in a
// container its own is usually what is mounted, whatever path /proc says.
std::vector<std::string> cgroup_folders() {
    const std::string              v2    = "/sys/fs/cgroup";
    const std::vector<std::string> v1    = { v2 + "/cpu", v2 + "/cpu,cpuacct" };
    std::vector<std::string>       found = { v2, v1[0], v1[1] };

    // Lines of HIERARCHY:CONTROLLERS:PATH; version 2 names no controllers.
    std::ifstream file("/proc/self/cgroup");
    std::string   hierarchy;
    std::string   controllers;
    std::string   path;
    while (std::getline(file, hierarchy, ':') && std::getline(file, controllers, ':') && std::getline(file, path)) {
        const bool is_cpu = ("," + controllers + ",").find(",cpu,") != std::string::npos;
        for (; path.size() > 1; path.erase(path.rfind('/'))) {
            if (controllers.empty()) {
                found.push_back(v2 + path);
            } else if (is_cpu) {
                found.push_back(v1[0] + path);
                found.push_back(v1[1] + path);
            }
        }
    }
    return found;
}

allowance find_allowance() {
    allowance found;

    std::vector<cpu_set_t> mask(16); // 16384 CPUs, more than Linux can have
    const size_t           size = mask.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, size, mask.data()) == 0) {
        std::unordered_set<std::string> cores;
        for (size_t cpu = 0; cpu < size * CHAR_BIT; cpu++) {
            if (CPU_ISSET_S(cpu, size, mask.data())) {
                const std::string name = "cpu" + std::to_string(cpu);
                std::ifstream     file("/sys/devices/system/cpu/" + name + "/topology/thread_siblings");
                std::string       siblings;
                cores.insert(std::getline(file, siblings) ? siblings : name);
            }
        }
        found.cpus  = CPU_COUNT_S(size, mask.data());
        found.cores = (int) cores.size();
    }

    for (const std::string & folder : cgroup_folders()) {
        const double quota = quota_of(folder);
        if (quota > 0 && (found.quota == 0 || quota < found.quota)) {
            found.quota = quota;
        }
    }
    return found;
}

#else

allowance find_allowance() {
    return {};
}

#endif

thread_default find_default() {
    auto upstream = common_params().cpuparams;
    postprocess_cpu_params(upstream, nullptr);
    const int  machine = (int) std::thread::hardware_concurrency();
    const auto allowed = find_allowance();

    thread_default found = { upstream.n_threads, "the machine's cores", std::min(machine, allowed.cpus) };
    if (allowed.cores < found.computing) {
        found.computing = allowed.cores;
        found.why       = "the cores that it may run on";
    }
    // Rounded down: the threads wait for each other after every operation, and when the time is
    // used up all of them stand still for as long as the one that was stopped.
    const int quota = std::max(1, (int) std::min<double>(allowed.quota, INT_MAX));
    if (allowed.quota > 0 && quota < found.computing) {
        found.computing = quota;
        found.why       = string_format("the container's limit of %.2f CPUs", allowed.quota);
    }
    if (allowed.quota > 0) {
        found.cpus = std::min(found.cpus, quota);
    }
    return found;
}

} // namespace

void jina_default_threads(common_params & params) {
    const thread_default found = find_default();
    params.cpuparams.n_threads = found.computing;
#ifdef __linux__
    // ggml's AMX code packs the weights with OpenMP's own default, a thread for each CPU.
    if (omp_set_num_threads) {
        omp_set_num_threads(found.computing);
    }
#endif
}

void jina_settle_threads(common_params & params) {
    const thread_default found = find_default();
    if (params.n_threads_http < 1) {
        // upstream's own formula, with the CPUs that may be used
        params.n_threads_http = std::max(params.n_parallel + 4, found.cpus - 1);
    }
    // An input is a batch of tokens, for which upstream has a number of its own.
    const int  computing = params.cpuparams_batch.n_threads;
    const bool given     = computing != found.computing;
    LOG_INF("threads: %d for computing (%s), %d for HTTP\n", computing, given ? "as set" : found.why.c_str(),
            params.n_threads_http);
}
