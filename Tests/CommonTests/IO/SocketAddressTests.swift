import Common
import Glibc
import Testing

@Suite struct SocketAddressTests {
    private func text(_ bytes: [UInt8], _ port: UInt16) -> String {
        ListenAddress(bytes: bytes, port: port).withSocketAddress { address, length in
            var storage = sockaddr_storage()
            memcpy(&storage, address, Int(length))
            return SocketAddress(storage).description
        }
    }

    @Test("Addresses are written as people write them")
    func descriptions() {
        #expect(self.text([192, 0, 2, 7], 40112) == "192.0.2.7:40112")
        let documentation: [UInt8] = [0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
        #expect(self.text(documentation, 40112) == "[2001:db8::1]:40112")
        #expect(self.text([UInt8](repeating: 0, count: 15) + [1], 1) == "[::1]:1")
        // An IPv4 client of a socket that listens on [::].
        let mapped: [UInt8] = [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF, 192, 0, 2, 7]
        #expect(self.text(mapped, 65535) == "192.0.2.7:65535")
    }

    @Test("Another family is unknown, and a descriptor that is no socket has no address")
    func unknown() {
        var storage = sockaddr_storage()
        storage.ss_family = sa_family_t(AF_UNIX)
        #expect(SocketAddress(storage).description == "unknown")
        #expect(SocketAddress(storage).listenAddress == nil)
        #expect(SocketAddress.local(of: -1) == nil)
    }
}
