#define _GNU_SOURCE

#include "SimulatedKernel.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// libc's own.
#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *function = dlsym(RTLD_NEXT, name);
    if (function == NULL) abort();
    return function;
}

#define CACHED(name)                          \
    static __typeof__(&name) next;            \
    if (next == NULL) next = REAL(name)

// MARK: State

struct process {
    bool is_dead;
    bool dies;
    unsigned calls_left;
    unsigned partial;
    unsigned full;
    bool disk_is_full;
};

static struct process processes[SIMULATED_PROCESSES_MAX];
static int current;
static uint64_t random_state;
static uint64_t clock_monotonic;
static uint64_t clock_wall;
static uint64_t trace;
static char network[80];
static int last_events;
static int last_timeout;
static unsigned next_peer_port;

#define DESCRIPTORS_MAX 4096
/// By descriptor: whose connection it is, 0 for none, and how many bytes may still be sent through it, -1 for no bound.
static struct {
    int process;
    int bytes_left;
    /// Nothing sent over it finds room.
    bool is_jammed;
    bool is_tcp;
} connections[DESCRIPTORS_MAX];

static uint64_t next_random(void) {
    random_state += 0x9E3779B97F4A7C15u;
    uint64_t mixed = random_state;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    return mixed ^ (mixed >> 31);
}

static void note(uint64_t call, uint64_t result) {
    trace = (trace ^ call ^ (result << 8) ^ ((uint64_t)current << 56)) * 0x100000001B3u;
}

void simulated_enter(int process) { current = process; }
void simulated_seed(uint64_t seed) {
    memset(processes, 0, sizeof processes);
    random_state = seed;
    trace = 0xCBF29CE484222325u;
    next_peer_port = 1024;
}
void simulated_set_clock(uint64_t monotonic, uint64_t wall) {
    clock_monotonic = monotonic;
    clock_wall = wall;
}
uint64_t simulated_trace(void) { return trace; }
void simulated_set_network(const char *directory) { snprintf(network, sizeof network, "%s", directory); }
int simulated_events(void) { return last_events; }
int simulated_timeout(void) { return last_timeout; }
bool simulated_is_dead(int process) { return processes[process].is_dead; }

void simulated_die_after(int process, unsigned calls) {
    processes[process].dies = calls > 0;
    processes[process].calls_left = calls;
    processes[process].is_dead = calls == 0;
}

void simulated_revive(int process) {
    processes[process].is_dead = false;
    processes[process].dies = false;
}

void simulated_set_transfers(int process, unsigned partial, unsigned full) {
    processes[process].partial = partial;
    processes[process].full = full;
}

bool simulated_is_disk_full(int process) { return processes[process].disk_is_full; }

void simulated_set_disk_full(int process, bool is_full) { processes[process].disk_is_full = is_full; }

/// To be called for everything that others would notice. Returns whether the process dies by it.
static bool has_effect(bool *is_last) {
    struct process *process = &processes[current];
    *is_last = false;
    if (process->is_dead) return false;
    if (process->dies && --process->calls_left == 0) {
        process->is_dead = true;
        *is_last = true;
    }
    return true;
}

// MARK: Time and randomness

int clock_gettime(clockid_t clock, struct timespec *time) {
    CACHED(clock_gettime);
    if (current == 0) return next(clock, time);
    uint64_t now = clock == CLOCK_REALTIME ? clock_wall : clock_monotonic;
    time->tv_sec = (time_t)(now / 1000000000u);
    time->tv_nsec = (long)(now % 1000000000u);
    return 0;
}

/// Swift's randomness is the system call itself.
long syscall(long number, ...) {
    va_list arguments;
    va_start(arguments, number);
    long values[6];
    for (int i = 0; i < 6; i++) values[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_getrandom && current != 0) {
        unsigned char *bytes = (unsigned char *)values[0];
        for (size_t i = 0; i < (size_t)values[1]; i++) bytes[i] = (unsigned char)next_random();
        return values[1];
    }
    CACHED(syscall);
    return next(number, values[0], values[1], values[2], values[3], values[4], values[5]);
}

/// OpenSSL's.
int RAND_bytes(unsigned char *bytes, int count);
int RAND_bytes(unsigned char *bytes, int count) {
    CACHED(RAND_bytes);
    if (current == 0) return next(bytes, count);
    for (int i = 0; i < count; i++) bytes[i] = (unsigned char)next_random();
    return 1;
}

// MARK: Threads

enum thread_state { ready, waiting, finished };

struct thread {
    pthread_t thread;
    int process;
    void *(*body)(void *);
    void *argument;
    sem_t go;
    sem_t stopped;
    enum thread_state state;
    pthread_cond_t *condition;
    uint64_t deadline;
    bool is_signalled;
    bool is_detached;
};

#define THREADS_MAX 64
static struct thread *threads[THREADS_MAX];
static __thread struct thread *own;

static void *run_thread(void *argument) {
    own = argument;
    while (sem_wait(&own->go) != 0) {}
    own->body(own->argument);
    own->state = finished;
    sem_post(&own->stopped);
    return NULL;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument) {
    CACHED(pthread_create);
    if (current == 0) return next(thread, attributes, body, argument);
    int slot = 0;
    while (slot < THREADS_MAX && threads[slot] != NULL) slot++;
    if (slot == THREADS_MAX) return EAGAIN;
    struct thread *made = calloc(1, sizeof *made);
    if (made == NULL) return EAGAIN;
    made->process = current;
    made->body = body;
    made->argument = argument;
    sem_init(&made->go, 0, 0);
    sem_init(&made->stopped, 0, 0);
    int code = next(&made->thread, attributes, run_thread, made);
    if (code != 0) {
        free(made);
        return code;
    }
    threads[slot] = made;
    *thread = made->thread;
    return 0;
}

static void forget_thread(int slot) {
    struct thread *thread = threads[slot];
    CACHED(pthread_join);
    next(thread->thread, NULL);
    sem_destroy(&thread->go);
    sem_destroy(&thread->stopped);
    free(thread);
    threads[slot] = NULL;
}

static void step(int slot) {
    struct thread *thread = threads[slot];
    int caller = current;
    current = thread->process;
    sem_post(&thread->go);
    while (sem_wait(&thread->stopped) != 0) {}
    current = caller;
    note(1, (uint64_t)thread->state);
    if (thread->state == finished && thread->is_detached) forget_thread(slot);
}

static bool has_something_to_do(const struct thread *thread) {
    return thread->state == ready
        || (thread->state == waiting && (thread->is_signalled || thread->deadline <= clock_monotonic));
}

bool simulated_step_thread(int process, uint64_t choice) {
    int slots[THREADS_MAX];
    int count = 0;
    for (int i = 0; i < THREADS_MAX; i++) {
        if (threads[i] != NULL && threads[i]->process == process && has_something_to_do(threads[i])) slots[count++] = i;
    }
    if (count == 0) return false;
    step(slots[choice % (uint64_t)count]);
    return true;
}

uint64_t simulated_thread_deadline(int process) {
    uint64_t earliest = UINT64_MAX;
    for (int i = 0; i < THREADS_MAX; i++) {
        const struct thread *thread = threads[i];
        if (thread == NULL || thread->process != process || thread->state == finished) continue;
        uint64_t deadline = has_something_to_do(thread) ? 0 : thread->deadline;
        if (deadline < earliest) earliest = deadline;
    }
    return earliest;
}

/// Gives the turn back until the thread is stepped again.
static void wait_for_step(pthread_cond_t *condition, uint64_t deadline) {
    own->state = waiting;
    own->condition = condition;
    own->deadline = deadline;
    own->is_signalled = false;
    sem_post(&own->stopped);
    while (sem_wait(&own->go) != 0) {}
    own->state = ready;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict time) {
    CACHED(pthread_cond_timedwait);
    if (current == 0) return next(condition, mutex, time);
    uint64_t deadline = (uint64_t)time->tv_sec * 1000000000u + (uint64_t)time->tv_nsec;
    pthread_mutex_unlock(mutex);
    bool is_over;
    if (own != NULL) {
        wait_for_step(condition, deadline);
        is_over = !own->is_signalled && deadline <= clock_monotonic;
    } else {
        // The loop waits for one of its threads: they go on meanwhile, and time does where they have nothing to do.
        bool went_on = false;
        int process = current;
        while (simulated_step_thread(process, 0)) went_on = true;
        is_over = !went_on;
    }
    pthread_mutex_lock(mutex);
    return is_over ? ETIMEDOUT : 0;
}

int pthread_cond_broadcast(pthread_cond_t *condition) {
    CACHED(pthread_cond_broadcast);
    for (int i = 0; i < THREADS_MAX; i++) {
        if (threads[i] != NULL && threads[i]->state == waiting && threads[i]->condition == condition) {
            threads[i]->is_signalled = true;
        }
    }
    return next(condition);
}

static int slot_of(pthread_t thread) {
    for (int i = 0; i < THREADS_MAX; i++) {
        if (threads[i] != NULL && pthread_equal(threads[i]->thread, thread)) return i;
    }
    return -1;
}

int pthread_join(pthread_t thread, void **result) {
    CACHED(pthread_join);
    int slot = slot_of(thread);
    if (slot < 0) return next(thread, result);
    // Waits may end early, so that a thread that is told to end does.
    for (int steps = 0; threads[slot]->state != finished; steps++) {
        if (steps > 100000) abort();
        step(slot);
    }
    forget_thread(slot);
    return 0;
}

int pthread_detach(pthread_t thread) {
    CACHED(pthread_detach);
    int slot = slot_of(thread);
    if (slot < 0) return next(thread);
    threads[slot]->is_detached = true;
    return 0;
}

int usleep(useconds_t microseconds) {
    CACHED(usleep);
    if (current == 0) return next(microseconds);
    if (own != NULL) wait_for_step(NULL, clock_monotonic + (uint64_t)microseconds * 1000u);
    return 0;
}

// MARK: The loop

int epoll_wait(int epoll, struct epoll_event *events, int maximum, int timeout) {
    CACHED(epoll_wait);
    if (current == 0) return next(epoll, events, maximum, timeout);
    last_events = next(epoll, events, maximum, 0);
    last_timeout = timeout;
    note(2, (uint64_t)last_events);
    return last_events;
}

// MARK: Sockets

static void remember(int descriptor, bool is_tcp) {
    if (descriptor < 0 || descriptor >= DESCRIPTORS_MAX) return;
    connections[descriptor].process = current;
    connections[descriptor].bytes_left = -1;
    connections[descriptor].is_jammed = false;
    connections[descriptor].is_tcp = is_tcp;
}

int socket(int family, int type, int protocol) {
    CACHED(socket);
    bool is_tcp = current != 0 && family == AF_INET;
    int descriptor = next(is_tcp ? AF_UNIX : family, type, protocol);
    if (current != 0 && descriptor >= 0 && descriptor < DESCRIPTORS_MAX) connections[descriptor].is_tcp = is_tcp;
    return descriptor;
}

int bind(int descriptor, const struct sockaddr *address, socklen_t length) {
    CACHED(bind);
    if (current == 0 || address->sa_family != AF_INET) return next(descriptor, address, length);
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    unsigned port = ntohs(((const struct sockaddr_in *)address)->sin_port);
    snprintf(path.sun_path, sizeof path.sun_path, "%s/port-%u", network, port);
    unlink(path.sun_path);
    return next(descriptor, (const struct sockaddr *)&path, sizeof path);
}

int accept4(int descriptor, struct sockaddr *address, socklen_t *length, int flags) {
    CACHED(accept4);
    if (current == 0) return next(descriptor, address, length, flags);
    struct sockaddr_un peer;
    socklen_t peer_length = sizeof peer;
    int accepted = next(descriptor, (struct sockaddr *)&peer, &peer_length, flags);
    if (accepted < 0) return accepted;
    bool is_tcp = descriptor < DESCRIPTORS_MAX && connections[descriptor].is_tcp;
    if (is_tcp) {
        struct sockaddr_in client = {.sin_family = AF_INET, .sin_port = htons((uint16_t)next_peer_port)};
        client.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        next_peer_port = next_peer_port == 65535 ? 1024 : next_peer_port + 1;
        memcpy(address, &client, sizeof client);
        *length = sizeof client;
    }
    remember(accepted, is_tcp);
    note(3, 0);
    return accepted;
}

int connect(int descriptor, const struct sockaddr *address, socklen_t length) {
    CACHED(connect);
    int result = next(descriptor, address, length);
    if (current != 0 && result == 0) remember(descriptor, false);
    if (current != 0) note(4, (uint64_t)result);
    return result;
}

int close(int descriptor) {
    CACHED(close);
    if (descriptor >= 0 && descriptor < DESCRIPTORS_MAX) connections[descriptor].process = 0;
    return next(descriptor);
}

static bool is_in(unsigned of_256) { return of_256 > 0 && next_random() % 256 < of_256; }

static bool is_own_connection(int descriptor) {
    return current != 0 && descriptor >= 0 && descriptor < DESCRIPTORS_MAX
        && connections[descriptor].process == current;
}

ssize_t send(int descriptor, const void *bytes, size_t count, int flags) {
    CACHED(send);
    if (!is_own_connection(descriptor)) return next(descriptor, bytes, count, flags);
    bool is_last;
    if (!has_effect(&is_last)) return (ssize_t)count;
    const struct process *process = &processes[current];
    if (is_last) {
        size_t part = next_random() % (count + 1);
        if (part > 0) next(descriptor, bytes, part, flags);
        return (ssize_t)count;
    }
    if (connections[descriptor].is_jammed || is_in(process->full)) {
        errno = EAGAIN;
        return -1;
    }
    size_t part = count;
    if (is_in(process->partial) && part > 1) part = 1 + next_random() % (part < 64 ? part : 64);
    int left = connections[descriptor].bytes_left;
    if (left >= 0 && part > (size_t)left) part = (size_t)left;
    ssize_t sent = part == 0 ? 0 : next(descriptor, bytes, part, flags);
    note(5, (uint64_t)sent);
    if (left < 0) return sent;
    if (sent > 0) connections[descriptor].bytes_left -= (int)sent;
    if (connections[descriptor].bytes_left > 0) return sent;
    shutdown(descriptor, SHUT_RDWR);
    if (sent > 0) return sent;
    errno = EPIPE;
    return -1;
}

ssize_t recv(int descriptor, void *bytes, size_t count, int flags) {
    CACHED(recv);
    if (!is_own_connection(descriptor)) return next(descriptor, bytes, count, flags);
    if (is_in(processes[current].partial) && count > 1) count = 1 + next_random() % (count < 64 ? count : 64);
    ssize_t received = next(descriptor, bytes, count, flags);
    note(6, (uint64_t)received);
    return received;
}

static bool is_cuttable(int descriptor, int process) {
    return connections[descriptor].process == process && connections[descriptor].bytes_left < 0
        && !connections[descriptor].is_tcp;
}

/// One of the process's links, or -1.
static int chosen_link(int process, uint64_t choice) {
    unsigned count = 0;
    for (int i = 0; i < DESCRIPTORS_MAX; i++) count += is_cuttable(i, process);
    if (count == 0) return -1;
    unsigned chosen = (unsigned)(choice % count);
    for (int i = 0; i < DESCRIPTORS_MAX; i++) {
        if (is_cuttable(i, process) && chosen-- == 0) return i;
    }
    return -1;
}

bool simulated_cut_connection(int process, uint64_t choice, unsigned bytes) {
    int link = chosen_link(process, choice);
    if (link < 0) return false;
    connections[link].bytes_left = (int)bytes;
    if (bytes == 0) shutdown(link, SHUT_RDWR);
    return true;
}

bool simulated_jam_connection(int process, uint64_t choice) {
    int link = chosen_link(process, choice);
    if (link >= 0) connections[link].is_jammed = true;
    return link >= 0;
}

void simulated_spare_connections(void) {
    for (int i = 0; i < DESCRIPTORS_MAX; i++) {
        connections[i].bytes_left = -1;
        connections[i].is_jammed = false;
    }
}

// MARK: Files

#define SECTOR 512

/// What a file's sector had been before it was written, and has to be again if power is lost before it is synced.
struct unsynced {
    char path[160];
    off_t offset;
    off_t file_size;
    unsigned char before[SECTOR];
    struct unsynced *earlier;
};

static bool tracks_writes;
static struct unsynced *latest;

/// Forgets what was written to a file from `offset` on; to all of them where `path` is NULL.
static void forget_unsynced(const char *path, off_t offset) {
    for (struct unsynced **link = &latest; *link != NULL;) {
        struct unsynced *record = *link;
        if (path == NULL || (strcmp(record->path, path) == 0 && record->offset >= offset)) {
            *link = record->earlier;
            free(record);
        } else {
            link = &record->earlier;
        }
    }
}

void simulated_track_writes(bool tracks) {
    tracks_writes = tracks;
    forget_unsynced(NULL, 0);
}

/// Whether a change to a file takes place; sets errno where it does not.
static bool may_write(void) {
    if (current == 0) return true;
    bool is_last;
    if (!has_effect(&is_last)) {
        errno = EIO;
        return false;
    }
    if (processes[current].disk_is_full) {
        errno = ENOSPC;
        return false;
    }
    return true;
}

static bool path_of(int descriptor, char path[160]) {
    if (current == 0) return false;
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, 159);
    if (length < 0) return false;
    path[length] = 0;
    return true;
}

static void keep_before(int descriptor, off_t offset, size_t count) {
    char path[160];
    struct stat information;
    if (!tracks_writes || !path_of(descriptor, path) || fstat(descriptor, &information) != 0) return;
    for (off_t sector = offset / SECTOR * SECTOR; sector < offset + (off_t)count; sector += SECTOR) {
        struct unsynced *record = calloc(1, sizeof *record);
        if (record == NULL) abort();
        memcpy(record->path, path, sizeof path);
        record->offset = sector;
        record->file_size = information.st_size;
        // Where writing alone is allowed nothing was there.
        if (pread(descriptor, record->before, SECTOR, sector) < 0) memset(record->before, 0, SECTOR);
        record->earlier = latest;
        latest = record;
    }
}

static void synced(int descriptor) {
    char path[160];
    if (tracks_writes && path_of(descriptor, path)) forget_unsynced(path, 0);
}

static bool is_taken_back(const struct unsynced *record, uint64_t salt, off_t offset) {
    uint64_t mixed = salt ^ (uint64_t)offset;
    // The folder's name is another one in each run.
    for (const char *at = strrchr(record->path, '/'); at != NULL && *at != 0; at++) mixed = (mixed ^ (unsigned char)*at) * 0x100000001B3u;
    return (mixed * 0x9E3779B97F4A7C15u) >> 63;
}

void simulated_lose_power(void) {
    CACHED(pwrite64);
    uint64_t salt = next_random();
    for (const struct unsynced *record = latest; record != NULL; record = record->earlier) {
        // All that was written to a sector is kept, or none of it.
        if (!is_taken_back(record, salt, record->offset)) continue;
        int file = open(record->path, O_RDWR | O_CLOEXEC);
        if (file < 0) continue;
        next(file, record->before, SECTOR, record->offset);
        close(file);
    }
    // A file that has grown may have its old end.
    for (const struct unsynced *record = latest; record != NULL; record = record->earlier) {
        struct stat information;
        if (!is_taken_back(record, salt, -1) || stat(record->path, &information) != 0) continue;
        if (information.st_size > record->file_size && truncate(record->path, record->file_size) != 0) abort();
    }
    forget_unsynced(NULL, 0);
}

/// The folder of packets under way: it is never full, and what is in it is not lost with the power.
static bool is_in_memory(int descriptor) {
    char path[160];
    return path_of(descriptor, path) && strstr(path, "/packets/") != NULL;
}

static bool may_act(void) {
    bool is_last;
    if (current == 0 || has_effect(&is_last)) return true;
    errno = EIO;
    return false;
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) {
    CACHED(pwrite64);
    if (is_in_memory(descriptor)) return may_act() ? next(descriptor, bytes, count, offset) : -1;
    if (!may_write()) return -1;
    keep_before(descriptor, offset, count);
    note(7, count);
    return next(descriptor, bytes, count, offset);
}

/// Its other name, which Swift calls.
ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
    return pwrite64(descriptor, bytes, count, offset);
}

int ftruncate64(int descriptor, off64_t length) {
    CACHED(ftruncate64);
    if (!may_write()) return -1;
    char path[160];
    if (tracks_writes && path_of(descriptor, path)) forget_unsynced(path, length);
    note(8, (uint64_t)length);
    return next(descriptor, length);
}

int unlink(const char *path) {
    CACHED(unlink);
    // A dead process leaves its socket files, too.
    if (current != 0 && processes[current].is_dead) {
        errno = EIO;
        return -1;
    }
    if (tracks_writes) forget_unsynced(path, 0);
    return next(path);
}

int rename(const char *from, const char *to) {
    CACHED(rename);
    if (!may_write()) return -1;
    return next(from, to);
}

int unlinkat(int folder, const char *path, int flags) {
    CACHED(unlinkat);
    return may_act() ? next(folder, path, flags) : -1;
}

/// Nothing is brought to a disk: it is only not lost with the power any more.
static int sync_file(int descriptor) {
    if (!may_write()) return -1;
    synced(descriptor);
    return 0;
}

int fdatasync(int descriptor) {
    CACHED(fdatasync);
    return current == 0 ? next(descriptor) : sync_file(descriptor);
}

int fsync(int descriptor) {
    CACHED(fsync);
    return current == 0 ? next(descriptor) : sync_file(descriptor);
}
