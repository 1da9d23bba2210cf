import ArgumentParser
import Martlet

@main
struct Main {
    static func main() {
        MartletCommand.main()
    }
}
