import Common
import Testing

@Suite struct LookupKeyTests {
    @Test func fieldsAreWhatWasAppended() {
        let fields: [[UInt8]] = [[], [1, 2, 3], [UInt8](repeating: 7, count: 300), []]
        var bytes: [UInt8] = []
        for field in fields { LookupKey.append(field, to: &bytes) }
        #expect(LookupKey.fields(of: bytes) == fields)
        #expect(LookupKey.fields(of: []) == [])
        #expect(LookupKey.fields(of: Array(bytes.dropLast(5))) == nil)
        #expect(LookupKey.fields(of: [1, 0, 0]) == nil)
        #expect(LookupKey.fields(of: [255, 255, 255, 255, 1]) == nil)
    }
}
