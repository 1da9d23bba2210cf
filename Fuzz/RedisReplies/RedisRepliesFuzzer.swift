import Common
import FuzzSupport

@testable import AuthWorker

// A hostile or broken Redis: arbitrary bytes at any state of the connection. Every look-up gets one answer, and what is read does
// not depend on the pieces in which it came. Run it with `make fuzz`.

@main struct RedisRepliesFuzzer {
    static func main() { runFuzzer(fuzzRedisReplies) }
}

private func fuzzRedisReplies(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = FuzzInput(start, count)
    let options = input.byte()
    let stream = input.rest()
    let whole = replies(stream, pieceBytes: max(1, stream.count))
    let inPieces = replies(stream, pieceBytes: 1 + Int(options & 15))
    precondition(whole == inPieces, "other replies when they come in pieces")
    interpret(whole)
    converse(stream, pieceBytes: 1 + Int(options >> 4))
    return 0
}

private func replies(_ stream: UnsafeRawBufferPointer, pieceBytes: Int) -> [RedisReply] {
    var reader = RedisReplyReader()
    var replies: [RedisReply] = []
    var offset = 0
    while offset < stream.count {
        let end = min(stream.count, offset + pieceBytes)
        do throws(RedisFailure) {
            reader.feed(UnsafeRawBufferPointer(rebasing: stream[offset..<end]))
            while let reply = try reader.next() { replies.append(reply) }
        } catch {
            precondition(!error.description.isEmpty, "a failure without words")
            return replies
        }
        offset = end
    }
    return replies
}

private func interpret(_ replies: [RedisReply]) {
    for line in ["HMGET mqtt:%C password_hash salt is_superuser", "GET k:%C", "HGET mqtt:%C password"] {
        guard let template = try? CommandTemplate(line) else { preconditionFailure("\(line) is a good command") }
        for reply in replies {
            if case .found(let row) = template.interpret(reply) {
                precondition((row.secret?.count ?? 0) <= AuthLimits.credentialBytesMax, "a secret beyond the limit")
            }
        }
    }
}

/// Answers of this Redis to a client with look-ups under way.
private func converse(_ stream: UnsafeRawBufferPointer, pieceBytes: Int) {
    var now: Instant = Nanoseconds.perSecond
    let settings = RedisClient.Settings(password: Array("p".utf8), database: 3, pipelineMax: 4, queueMax: 8)
    var client = RedisClient(settings: settings, random: SystemRandomNumberGenerator(), now: now)
    var waiting: Set<UInt64> = []
    var token: UInt64 = 0
    client.advance(now: now)
    client.connected(now: now)
    var offset = 0
    while offset < stream.count {
        token += 1
        do throws(RedisFailure) {
            try client.submit([Array("GET".utf8), Array("k\(token)".utf8)], token: token, now: now)
            waiting.insert(token)
        } catch {
            // Refused at once: no answer follows.
        }
        client.fillPipeline(now: now)
        let end = min(stream.count, offset + pieceBytes)
        client.received(UnsafeRawBufferPointer(rebasing: stream[offset..<end]), now: now)
        offset = end
        take(&client, &waiting)
        if case .waiting(let until) = client.state {
            now = until
            client.advance(now: now)
            client.connected(now: now)
            take(&client, &waiting)
        }
    }
    now += 10 * Nanoseconds.perSecond
    client.advance(now: now)
    client.stop()
    take(&client, &waiting)
    precondition(waiting.isEmpty, "a look-up was never answered")
}

private func take(_ client: inout RedisClient, _ waiting: inout Set<UInt64>) {
    for action in client.actions {
        switch action {
        case .answered(let token, _), .notAnswered(let token, _):
            precondition(waiting.remove(token) != nil, "a look-up was answered twice")
        case .connect, .close, .lost, .back: break
        }
    }
    client.actions = []
    client.output.clear()
}
