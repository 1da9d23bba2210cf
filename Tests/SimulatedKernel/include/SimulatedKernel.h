#ifndef SIMULATED_KERNEL_H
#define SIMULATED_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What the simulation says to its kernel: definitions of some of libc's functions that the linker prefers to libc's own, so that
// the roles' real code runs in one thread, on a clock that stands still until it is set, with faults where the simulation wants
// them. Calls of process 0, the simulation itself, pass through.

#define SIMULATED_PROCESSES_MAX 16

/// Whose calls come from here on.
void simulated_enter(int process);
/// All randomness of the processes comes from this.
void simulated_seed(uint64_t seed);
/// Nanoseconds.
void simulated_set_clock(uint64_t monotonic, uint64_t wall);
/// Changes with every call and its result: two runs of a seed must have the same.
uint64_t simulated_trace(void);

/// TCP sockets of the processes are Unix sockets in this folder, named by their port.
void simulated_set_network(const char *directory);

// The loop: epoll_wait never waits.

/// Of the last epoll_wait: events that it reported, and the milliseconds that it would have waited, -1 for ever.
int simulated_events(void);
int simulated_timeout(void);

// Threads of the processes run one at a time, from one wait to the next.

/// Lets a thread of `process` go on that has something to do; false when there is none.
bool simulated_step_thread(int process, uint64_t choice);
/// When the first of its threads stops waiting; UINT64_MAX: never.
uint64_t simulated_thread_deadline(int process);

// Faults.

/// After so many more sends and writes to files nothing that `process` does has an effect any more: it is dead, and only its memory
/// has to be given back. The last send may be cut short.
void simulated_die_after(int process, unsigned calls);
bool simulated_is_dead(int process);
/// A new process of that number.
void simulated_revive(int process);
/// How many of 256 sends and reads are of a few bytes only, and how many sends find no room.
void simulated_set_transfers(int process, unsigned partial, unsigned full);
/// Ends one of the process's links, which are all but its clients' connections, after a few more bytes that it sends. Returns
/// false when it has none.
bool simulated_cut_connection(int process, uint64_t choice, unsigned bytes);
/// The other end of one of the process's links takes nothing any more: what is sent finds no room.
bool simulated_jam_connection(int process, uint64_t choice);
/// Those that were to end later live, and all take what is sent.
void simulated_spare_connections(void);
/// Writes to files fail, with ENOSPC.
void simulated_set_disk_full(int process, bool is_full);
bool simulated_is_disk_full(int process);
/// From here on what is not synced is remembered; `simulated_lose_power` takes a random part of it back, sector by sector.
void simulated_track_writes(bool tracks);
void simulated_lose_power(void);

#endif
