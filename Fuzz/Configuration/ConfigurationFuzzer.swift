import Common
import Glibc

// Feeds arbitrary bytes to the reader of the configuration file. It must end with a configuration, or with mistakes that say
// where they are, and not crash, hang or run out of memory. Run it with `make fuzz`.

/// libFuzzer used as a library: the package manager links only executables that have a main of their own.
@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
    _ argumentCount: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ input: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

@main struct ConfigurationFuzzer {
    static func main() {
        var argumentCount = CommandLine.argc
        var arguments = CommandLine.unsafeArgv
        exit(runFuzzer(&argumentCount, &arguments, fuzzConfiguration))
    }
}

/// Called by libFuzzer for each input; bytes that break a promise end the process by a trap.
@_cdecl("LLVMFuzzerTestOneInput")
package func fuzzConfiguration(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let text = [UInt8](UnsafeBufferPointer(start: start, count: count))
    do throws(ConfigurationError) {
        let configuration = try Configuration.parse(text, file: "m.yaml", baseDirectory: "/")
        precondition(!configuration.listeners.isEmpty, "a configuration without listeners was taken")
    } catch {
        precondition(error.lines.allSatisfy { $0.hasPrefix("m.yaml") }, "a mistake without its place")
    }
    return 0
}
