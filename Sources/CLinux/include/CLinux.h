// Kernel interfaces that Swift's Glibc module lacks, and macros that Swift cannot import.
#pragma once

#include <crypt.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>

// epoll_data is a union; these keep Swift away from its members.
static inline struct epoll_event martlet_epoll_event(uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data = {.u64 = data}};
    return event;
}
static inline uint64_t martlet_epoll_data(const struct epoll_event *event) { return event->data.u64; }
static inline uint32_t martlet_epoll_events(const struct epoll_event *event) { return event->events; }

/// The uid, gid and pid at the other end of a Unix socket (SO_PEERCRED); -1 with errno set on failure.
int martlet_peer_credentials(int fd, uid_t *uid, gid_t *gid, pid_t *pid);

/// accept4 with SOCK_NONBLOCK | SOCK_CLOEXEC.
int martlet_accept(int fd, struct sockaddr_storage *address, socklen_t *length);

/// Bytes written to a TCP socket that its peer has not acknowledged (SIOCOUTQ); -1: it is none.
static inline int martlet_unacknowledged_bytes(int fd) {
    int bytes = 0;
    return ioctl(fd, SIOCOUTQ, &bytes) == 0 ? bytes : -1;
}

/// Bytes written to a Unix stream socket that its peer has not read, with what the kernel itself needs for them (SIOCOUTQ); -1: the
/// kernel does not say.
static inline int martlet_unread_bytes(int fd) {
    int bytes = 0;
    return ioctl(fd, SIOCOUTQ, &bytes) == 0 ? bytes : -1;
}

/// A signalfd for SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGCHLD, with these blocked for normal delivery. SIGPIPE and
/// SIGXFSZ are ignored: writes fail with EPIPE and, beyond the file size limit (RLIMIT_FSIZE), EFBIG.
int martlet_signal_fd(void);

/// What the program has from malloc: glibc's, or jemalloc's where it is linked with that.
struct martlet_heap {
    /// Bytes that it has and has not freed.
    uint64_t used;
    /// Bytes that it freed and malloc keeps. For glibc, pages that were given back to the kernel count as before.
    uint64_t kept;
};
struct martlet_heap martlet_heap(void);

/// Gives back to the kernel what malloc keeps, as far as whole pages are free.
void martlet_heap_give_back(void);

static inline int martlet_wait_status_exited(int status) { return WIFEXITED(status); }
static inline int martlet_wait_exit_code(int status) { return WEXITSTATUS(status); }
static inline int martlet_wait_signal(int status) { return WIFSIGNALED(status) ? WTERMSIG(status) : 0; }

/// Starts a program: `fds[i]` becomes descriptor 3 + i in the child (LISTEN_FDS as in sd_listen_fds(3)), `output_fd` (if not
/// negative) its stdout and stderr. With `listen_pid`, LISTEN_PID is set to the child's own pid. Signals are unblocked and
/// reset. With `end_with_thread` the child gets SIGTERM when the calling thread ends: for programs whose main thread calls.
/// Returns the pid, or -1 with errno set (also that of a failed exec).
pid_t martlet_spawn(const char *path, char *const argv[], char *const envp[], const int *fds, int fd_count,
                    int output_fd, int listen_pid, int end_with_thread);
