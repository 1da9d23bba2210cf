#define _GNU_SOURCE

#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int martlet_peer_credentials(int fd, uid_t *uid, gid_t *gid, pid_t *pid) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return -1;
    *uid = credentials.uid;
    *gid = credentials.gid;
    *pid = credentials.pid;
    return 0;
}

int martlet_accept(int fd, struct sockaddr_storage *address, socklen_t *length) {
    return accept4(fd, (struct sockaddr *)address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void martlet_signal_set(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR1);
    sigaddset(set, SIGCHLD);
}

int martlet_signal_fd(void) {
    sigset_t set;
    martlet_signal_set(&set);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) return -1;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

// Between fork and exec only async-signal-safe calls are made: the environment is prepared before the fork, with room for
// the child's pid in the LISTEN_PID entry.
pid_t martlet_spawn(const char *path, char *const argv[], char *const envp[], const int *fds, int fd_count,
                    int output_fd, int listen_pid, int end_with_thread) {
    int failure[2];
    if (pipe2(failure, O_CLOEXEC) != 0) return -1;
    size_t entries = 0;
    while (envp[entries] != NULL) entries++;
    char **environment = calloc(entries + 2, sizeof(char *));
    char listen_entry[40] = "LISTEN_PID=";
    // Descriptors are first lifted above the range they are dup'ed into, so that none overwrites another.
    int *lifted = fd_count > 0 ? calloc((size_t)fd_count, sizeof(int)) : NULL;
    if (environment == NULL || (fd_count > 0 && lifted == NULL)) {
        free(environment);
        free(lifted);
        close(failure[0]);
        close(failure[1]);
        errno = ENOMEM;
        return -1;
    }
    memcpy(environment, envp, entries * sizeof(char *));
    if (listen_pid) environment[entries++] = listen_entry;
    pid_t parent = getpid();

    pid_t pid = fork();
    if (pid == 0) {
        if (end_with_thread) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            if (getppid() != parent) _exit(1);
        }
        setpgid(0, 0);
        char digits[24];
        int count = 0;
        long own = getpid();
        do {
            digits[count++] = (char)('0' + own % 10);
            own /= 10;
        } while (own > 0);
        char *cursor = listen_entry + strlen("LISTEN_PID=");
        while (count > 0) *cursor++ = digits[--count];
        *cursor = 0;
        if (output_fd >= 0) {
            dup2(output_fd, STDOUT_FILENO);
            dup2(output_fd, STDERR_FILENO);
        }
        int report = fcntl(failure[1], F_DUPFD_CLOEXEC, 3 + fd_count);
        for (int i = 0; i < fd_count; i++) lifted[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3 + fd_count);
        for (int i = 0; i < fd_count; i++) dup2(lifted[i], 3 + i);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        signal(SIGXFSZ, SIG_DFL);
        execve(path, argv, environment);
        int error = errno;
        (void)!write(report, &error, sizeof error);
        _exit(127);
    }
    int saved = errno;
    close(failure[1]);
    free(environment);
    free(lifted);
    if (pid > 0) {
        int error = 0;
        ssize_t got;
        do {
            got = read(failure[0], &error, sizeof error);
        } while (got < 0 && errno == EINTR);
        if (got == (ssize_t)sizeof error) {
            while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
            }
            saved = error;
            pid = -1;
        }
    }
    close(failure[0]);
    errno = saved;
    return pid;
}

/// jemalloc(3), without its header: there in the programs that are linked with it.
int mallctl(const char *name, void *old, size_t *old_length, void *new, size_t new_length) __attribute__((weak));

static size_t jemalloc_figure(const char *name) {
    size_t value = 0;
    size_t length = sizeof(value);
    return mallctl(name, &value, &length, NULL, 0) == 0 ? value : 0;
}

struct martlet_heap martlet_heap(void) {
    struct martlet_heap heap;
    if (mallctl) {
        // Its figures are those of the last epoch.
        uint64_t epoch = 1;
        mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
        size_t used = jemalloc_figure("stats.allocated");
        size_t resident = jemalloc_figure("stats.resident");
        heap.used = used;
        heap.kept = resident > used ? resident - used : 0;
    } else {
        struct mallinfo2 info = mallinfo2();
        heap.used = (uint64_t)info.uordblks + (uint64_t)info.hblkhd;
        heap.kept = info.fordblks;
    }
    return heap;
}

void martlet_heap_give_back(void) {
    if (mallctl) {
        // 4096 is MALLCTL_ARENAS_ALL.
        mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
    } else {
        malloc_trim(0);
    }
}
