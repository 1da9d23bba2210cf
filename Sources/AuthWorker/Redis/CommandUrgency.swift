/// Which of the commands that wait for being sent go first.
package enum CommandUrgency: Equatable, Sendable {
    /// Somebody waits for the answer, as a client for CONNACK.
    case client
    /// Nobody does: a live session is looked at again, or a row is fetched anew. It waits as long as it takes.
    case background
}
