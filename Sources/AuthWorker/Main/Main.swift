import AuthWorker

@main
struct Main {
    static func main() {}
}
