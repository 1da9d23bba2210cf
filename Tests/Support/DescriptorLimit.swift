import Glibc

/// How many descriptors this process may have: raised to what the system allows, once, also for the programs it starts.
package let descriptorLimit: Int = {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = min(limit.rlim_max, 1 << 20)
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return Int(clamping: limit.rlim_cur)
}()

/// The first of a hundred descriptors that nobody else in this process gets: the kernel gives the lowest that are free.
package let reservedDescriptors = Int32(clamping: min(descriptorLimit, 1 << 16) - 100)
