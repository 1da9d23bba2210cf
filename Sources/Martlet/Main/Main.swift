import Martlet

@main
struct Main {
    static func main() {}
}
