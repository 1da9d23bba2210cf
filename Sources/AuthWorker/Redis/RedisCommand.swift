import CHiredis
import Common
import Glibc

/// Writes commands in Redis' protocol: hiredis' formatter.
enum RedisCommand {
    static func write(_ arguments: [[UInt8]], into buffer: inout ByteBuffer) {
        var lengths: [Int] = []
        var bytes: [CChar] = []
        lengths.reserveCapacity(arguments.count)
        for argument in arguments {
            lengths.append(argument.count)
            argument.withUnsafeBytes { bytes.append(contentsOf: $0.bindMemory(to: CChar.self)) }
        }
        bytes.append(0)
        var formatted: UnsafeMutablePointer<CChar>?
        let count = bytes.withUnsafeBufferPointer { all -> Int32 in
            var starts: [UnsafePointer<CChar>?] = []
            starts.reserveCapacity(lengths.count)
            var offset = 0
            for length in lengths {
                starts.append(all.baseAddress.map { $0 + offset })
                offset += length
            }
            return redisFormatCommandArgv(&formatted, Int32(truncatingIfNeeded: lengths.count), &starts, &lengths)
        }
        guard let formatted, count >= 0 else { preconditionFailure("out of memory") }
        defer { redisFreeCommand(formatted) }
        buffer.write(UnsafeRawBufferPointer(start: formatted, count: Int(count)))
    }
}
