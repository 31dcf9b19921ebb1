// Loaded into the server by LD_PRELOAD: listens on an abstract unix socket before anything else is
// open, as CUDA's driver does (@cuda-uvmfd-... in /proc/net/unix).
#include <sys/socket.h>

__attribute__((constructor)) static void listen_like_cuda(void) {
    const struct sockaddr unnamed = {.sa_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    // An address of nothing but the family: the kernel picks an abstract name (unix(7), "Autobind").
    if (fd < 0 || bind(fd, &unnamed, sizeof(unnamed.sa_family)) != 0 || listen(fd, 1) != 0) {
        __builtin_trap();
    }
}
