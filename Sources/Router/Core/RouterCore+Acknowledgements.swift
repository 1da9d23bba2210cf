import Common

// Packets other than PUBLISH from a connected client.
extension RouterCore {
    mutating func receivedOther(_ packet: UnsafeRawBufferPointer, _ header: FixedHeader, _ session: Session) {
        do {
            switch header.type {
            case .puback, .pubrec, .pubrel, .pubcomp:
                if let identifier = AcknowledgementPacket.bareIdentifier(packet, header: header) {
                    return self.receivedAcknowledgement(header.type, identifier, .success, session)
                }
                let version = session.version
                let ack = try AcknowledgementPacket.decode(packet, header: header, version: version)
                self.receivedAcknowledgement(header.type, ack.packetIdentifier, ack.reasonCode, session)
            case .subscribe:
                try self.receivedSubscribe(packet, header, session)
            case .unsubscribe:
                try self.receivedUnsubscribe(packet, header, session)
            case .disconnect:
                let disconnect = try DisconnectPacket.decode(packet, header: header, version: session.version)
                self.receivedDisconnect(disconnect, session)
            case .pingreq:
                // The listener answers these; one that comes here all the same is answered too [MQTT-3.12.4-1].
                self.control.write(PacketType.pingresp.rawValue << 4)
                self.control.write(0 as UInt8)
                self.countSent(packets: 1, bytes: 0)
            case .connect:
                // [MQTT-3.1.0-2]
                self.close(session, .protocolError, "a second CONNECT")
            case .auth:
                // Only after a CONNECT with an authentication method, which is refused [MQTT-4.12.0-6].
                self.close(session, .protocolError, "AUTH without authentication method")
            case .connack, .suback, .unsuback, .pingresp, .publish:
                self.close(session, .protocolError, "a packet that only servers send")
            }
        } catch {
            self.close(session, error)
        }
    }

    private mutating func receivedAcknowledgement(
        _ type: PacketType,
        _ identifier: UInt16,
        _ reason: ReasonCode,
        _ session: Session
    ) {
        switch type {
        case .puback: self.receivedPuback(identifier, session)
        case .pubrec: self.receivedPubrec(identifier, reason, session)
        case .pubrel: self.receivedPubrel(identifier, session)
        default: self.receivedPubcomp(identifier, session)
        }
    }

    private mutating func receivedPuback(_ identifier: UInt16, _ session: Session) {
        switch session.inflight.stage(of: identifier) {
        case .free:
            // One that we wait for no more may be late; nobody is harmed.
            return
        case .published where session.inflight.qos(of: identifier) != .exactlyOnce:
            self.finishDelivery(identifier, session)
        case .published, .released:
            self.close(session, .protocolError, "PUBACK for a QoS 2 message")
        }
    }

    mutating func receivedPubrec(_ identifier: UInt16, _ reason: ReasonCode, _ session: Session) {
        switch session.inflight.stage(of: identifier) {
        case .free:
            // The client may not know yet that the exchange is over; the answer lets it forget it too. Code 0x92 would tell of
            // a mismatch of states, which this need not be.
            if !reason.isFailure { self.acknowledge(.pubrel, identifier, .success, session) }
        case .released:
            return self.acknowledge(.pubrel, identifier, .success, session)
        case .published:
            guard session.inflight.qos(of: identifier) != .atLeastOnce else {
                return self.close(session, .protocolError, "PUBREC for a QoS 1 message")
            }
            // [MQTT-4.4.0-2], section 4.3.3: a failure ends the exchange.
            if reason.isFailure { return self.finishDelivery(identifier, session) }
            self.recordReleased(identifier, session)
            session.inflight.release(identifier)
            self.acknowledge(.pubrel, identifier, .success, session)
            // Its bytes are not held any more.
            if session.hasBacklog { self.markForPump(session) }
        }
    }

    /// [MQTT-4.3.3-11]; also for an identifier we do not know: its exchange was completed, and the PUBCOMP was lost with a
    /// connection.
    private mutating func receivedPubrel(_ identifier: UInt16, _ session: Session) {
        self.release(identifier, session)
        self.acknowledge(.pubcomp, identifier, .success, session)
    }

    private mutating func receivedPubcomp(_ identifier: UInt16, _ session: Session) {
        switch session.inflight.stage(of: identifier) {
        case .free: return
        case .released: self.finishDelivery(identifier, session)
        case .published: self.close(session, .protocolError, "PUBCOMP without PUBREC")
        }
    }

    mutating func finishDelivery(_ identifier: UInt16, _ session: Session) {
        self.recordDone(identifier, session)
        if session.isDurable {
            session.acknowledged(session.inflight.sequence(of: identifier), now: self.now)
            if session.inflight.awaitedFrom != 0 { self.awaitedIsDone = true }
        }
        session.inflight.remove(identifier)
        session.returnQuota()
        if session.hasBacklog { self.markForPump(session) }
    }

    /// Section 3.14.
    private mutating func receivedDisconnect(_ disconnect: DisconnectPacket, _ session: Session) {
        if let seconds = disconnect.properties.sessionExpiryInterval {
            // [MQTT-3.14.2-2], section 3.14.2.2.2: 0 in CONNECT cannot become anything else.
            guard session.expirySeconds != 0 || seconds == 0 else {
                return self.close(session, .protocolError, "session expiry set at DISCONNECT after 0 at CONNECT")
            }
            session.expirySeconds = min(seconds, self.settings.session.maxExpirySeconds)
        }
        self.flushControl(session)
        let link = session.link
        link?.disconnected = (session.handle, session)
        let hasUnstored = session.heldCount > 0 || session.touchedGroup > self.changes.committed
        var frame = ByteBuffer()
        let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
        SessionEnd.encode(.sessionClose, into: &frame, handle: session.handle, reason: .success, packet: nothing)
        // [MQTT-3.14.4-3]: only code 0 takes the will away.
        self.connectionEnded(session, publishesWill: disconnect.reasonCode != .success)
        guard let link else { return }
        // The listener has the DISCONNECT until we have stored what it means.
        if hasUnstored || self.changes.records != self.recordsBefore {
            self.send(afterCommit: frame, link)
        } else {
            link.output.write(frame.readable)
        }
    }
}
