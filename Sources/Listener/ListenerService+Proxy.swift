import CLinux
import Common
import Glibc

// Connections that come through a load balancer, which says first where they come from.
extension ListenerService {
    /// Has the header read before anything else of the connection, if the listener wants one.
    /// - Returns: false when the listener wants none: the connection goes on at once.
    func awaitsProxyHeader(_ fileDescriptor: Int32, _ address: SocketAddress, _ policy: ListenerPolicy) -> Bool {
        let trusted = policy.configuration.proxyProtocolTrusted
        guard !trusted.isEmpty else { return false }
        guard let peer = address.listenAddress, trusted.contains(where: { $0.contains(peer) }) else {
            self.refuseProxy(fileDescriptor, address, policy, "not an address that may send PROXY headers")
            return true
        }
        do throws(SystemError) {
            let reader = try ProxyHeaderReader(
                loop: self.loop,
                fileDescriptor: fileDescriptor,
                timeoutNanoseconds: policy.configuration.handshakeTimeoutNanoseconds
            ) { [unowned self] reader, outcome in
                self.proxyReaders[reader.fileDescriptor] = nil
                switch outcome {
                case .source(let source):
                    self.take(fileDescriptor, source.map { SocketAddress($0) } ?? address, policy)
                case .failed(let problem):
                    self.refuseProxy(fileDescriptor, address, policy, problem)
                }
            }
            self.proxyReaders[fileDescriptor] = reader
        } catch {
            self.refuseProxy(fileDescriptor, address, policy, "the descriptor cannot be watched")
        }
        return true
    }

    private func refuseProxy(
        _ fileDescriptor: Int32,
        _ address: SocketAddress,
        _ policy: ListenerPolicy,
        _ problem: String
    ) {
        self.refusedAtOnce(.proxyHeader, address, policy, detail: problem)
        self.drop(fileDescriptor, policy)
    }

    func closeProxyReaders() {
        for (fileDescriptor, reader) in self.proxyReaders {
            reader.cancel()
            close(fileDescriptor)
        }
        self.proxyReaders = [:]
    }
}
