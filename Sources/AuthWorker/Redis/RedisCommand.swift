import Common

/// Writes commands in Redis' protocol (RESP): an array of bulk strings.
enum RedisCommand {
    static func write(_ arguments: [[UInt8]], into buffer: inout ByteBuffer) {
        self.writeNumber(arguments.count, after: UInt8(ascii: "*"), into: &buffer)
        for argument in arguments {
            self.writeNumber(argument.count, after: UInt8(ascii: "$"), into: &buffer)
            buffer.write(argument)
            buffer.write(Self.lineEnd)
        }
    }

    private static let lineEnd = Array("\r\n".utf8)

    private static func writeNumber(_ number: Int, after type: UInt8, into buffer: inout ByteBuffer) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 24) { line in
            var start = line.count - 2
            line[start] = UInt8(ascii: "\r")
            line[start + 1] = UInt8(ascii: "\n")
            var rest = number
            repeat {
                start -= 1
                line[start] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            } while rest > 0
            start -= 1
            line[start] = type
            buffer.write(UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: line[start...])))
        }
    }
}
