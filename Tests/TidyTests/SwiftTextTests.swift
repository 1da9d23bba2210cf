import Testing

/// The tidy tests see what they are to see.
@Suite struct SwiftTextTests {
    @Test("Comments and strings are no code")
    func code() {
        let text = """
            let a = "try! // no" // try! b
            /// try!
            let c = "say \\"try!\\"" + d
            let e = \"\"\"
                try! \\\"\"\" try!
                \"\"\" + f
            g = try! h
            """
        let code = SwiftText.codeLines(text)
        #expect(SwiftText.lines(of: "try!", in: SwiftText.code(text)) == [7])
        #expect(SwiftText.lines(of: "try!", in: Array(text.utf8)) == [1, 1, 2, 3, 5, 5, 7])
        #expect(SwiftText.lines(of: "ry!", in: Array(text.utf8)) == [])
        #expect(code.map { $0.contains("try!") } == [false, false, false, false, false, false, true])
        #expect(code[2].hasSuffix("+ d"))
        #expect(code[5].hasSuffix("+ f"))
    }

    @Test("Imports, with and without attributes")
    func imports() {
        let text = """
            import Common
            @testable import Listener
            internal import struct Glibc.stat
            // import Foundation
            let important = 1
            """
        #expect(SwiftText.imports(SwiftText.codeLines(text)) == ["Common", "Listener", "Glibc"])
    }

    @Test("Functions and their lengths")
    func functions() {
        let text = """
            protocol P {
                func requirement(_ a: Int)
                func other() -> Int
            }
            struct S {
                init() {
                    a()
                }
                @inlinable package mutating func long(
                    a: Int,
                    b: (Int) -> Void = { }
                ) throws -> Int
                where X == Y {
                    if a {
                    }
                    return 1
                }
                func short() { a() }
                subscript(index: Int) -> Int {
                    1
                }
                let initial = 5
            }
            """
        let functions = SwiftText.functions(SwiftText.codeLines(text))
        #expect(functions.map(\.name) == ["init", "long", "subscript"])
        #expect(functions.map(\.lineCount) == [3, 9, 3])
        #expect(functions.map(\.line) == [6, 9, 19])
    }

    @Test("The tree was found")
    func tree() {
        #expect(SourceTree.sources.count > 100)
        #expect(SourceTree.file("Sources/Common/Limits.swift") != nil)
        #expect(SourceTree.file("Package.swift") != nil)
    }
}
