#include "jina-threads.h"

#include "jina-connections.h"
#include "jina-requests.h"
#include "jina-settings.h"

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
    int    cores = INT_MAX; // that it may run on, counting SMT siblings once
    double quota = 0;       // CPUs' worth of time, 0 without a limit
};

struct thread_default {
    int         computing;
    std::string why;
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
        found.cores = (int) cores.size();
    }

    for (const std::string & folder : jina_cgroup_folders("cpu")) {
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
    const auto allowed = find_allowance();

    thread_default found = { upstream.n_threads, "the machine's cores" };
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
    if (params.n_threads_http > 0) {
        jina_set_max_threads(params.n_threads_http);
    }
    params.n_threads_http = 1; // the HTTP library's own pool, which has nothing to do
    // An input is a batch of tokens, for which upstream has a number of its own.
    const int  computing = params.cpuparams_batch.n_threads;
    const bool given     = computing != found.computing;
    jina_log_setting("threads", std::to_string(computing) + " for computing (" + (given ? "as set" : found.why) + "), up to " +
                                    std::to_string(jina_max_threads()) + " for requests");
}
