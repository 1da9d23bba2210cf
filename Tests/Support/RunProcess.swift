import Glibc

/// A program could not be started.
package struct ProcessError: Error, CustomStringConvertible {
    package var description: String

    package init(description: String) {
        self.description = description
    }
}

/// Runs a program to its end and returns its exit code (128 + number after a signal) and everything it wrote to standard
/// output and standard error, in the order written.
///
/// `path` without a slash is looked up in PATH. `input` is given to it as standard input and is bounded to 64 KiB.
/// `environment` is added to that of the test process.
package func runProcess(
    _ path: String,
    arguments: [String] = [],
    input: [UInt8] = [],
    environment: [String: String] = [:]
) throws -> (status: Int32, output: String) {
    let (status, output) = try runProcessBytes(path, arguments: arguments, input: input, environment: environment)
    return (status, String(decoding: output, as: UTF8.self))
}

/// As `runProcess`, with the output as it is.
package func runProcessBytes(
    _ path: String,
    arguments: [String] = [],
    input: [UInt8] = [],
    environment: [String: String] = [:]
) throws -> (status: Int32, output: [UInt8]) {
    precondition(input.count <= 65536, "the input must fit into the socket's buffer")
    let (outputReader, outputWriter) = try makePipe()
    defer { close(outputReader) }
    let process: pid_t
    do {
        defer { close(outputWriter) }
        let (inputReader, inputWriter) = try makePipe()
        defer { close(inputReader) }
        // Written before the program runs: the buffer holds 64 KiB, and a program that ignores it costs us no SIGPIPE.
        _ = input.withUnsafeBytes { write(inputWriter, $0.baseAddress, $0.count) }
        close(inputWriter)
        process = try spawn(
            path,
            arguments: arguments,
            environment: environment,
            input: inputReader,
            output: outputWriter
        )
    }
    let output = readToEnd(outputReader)
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0, errno == EINTR {}
    let signal = status & 0x7f
    return (signal == 0 ? (status >> 8) & 0xff : 128 + signal, output)
}

/// A socket pair, because Swift's Glibc has no pipe2(2), and a pipe that another test's child inherits would never end.
private func makePipe() throws -> (reader: Int32, writer: Int32) {
    var descriptors: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    guard socketpair(AF_UNIX, type, 0, &descriptors) == 0 else {
        throw ProcessError(description: "socketpair: errno \(errno)")
    }
    shutdown(descriptors[1], Int32(SHUT_RD))
    return (descriptors[0], descriptors[1])
}

private func spawn(
    _ path: String,
    arguments: [String],
    environment: [String: String],
    input: Int32,
    output: Int32
) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, input, 0)
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    posix_spawn_file_actions_adddup2(&actions, output, 2)

    let argumentVector: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
    let environmentVector = currentEnvironment(adding: environment).map { strdup($0) } + [nil]
    defer { (argumentVector + environmentVector).forEach { free($0) } }
    var process: pid_t = 0
    let error = posix_spawnp(&process, path, &actions, nil, argumentVector, environmentVector)
    guard error == 0 else {
        throw ProcessError(description: "cannot start \(path): \(String(cString: strerror(error)))")
    }
    return process
}

private func currentEnvironment(adding additions: [String: String]) -> [String] {
    var result = additions.map { "\($0.key)=\($0.value)" }
    var entry = environ
    while let text = entry.pointee {
        let line = String(cString: text)
        if let name = line.split(separator: "=", maxSplits: 1).first, additions[String(name)] == nil {
            result.append(line)
        }
        entry += 1
    }
    return result
}

private func readToEnd(_ descriptor: Int32) -> [UInt8] {
    var result: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        if count > 0 {
            result += chunk[..<count]
        } else if count == 0 || errno != EINTR {
            return result
        }
    }
}
