/// Why a run could not be made, as a sentence.
package struct BenchFailure: Error, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}
