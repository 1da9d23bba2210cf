import Listener

@main
struct Main {
    static func main() {}
}
