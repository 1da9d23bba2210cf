import ArgumentParser
import Martlet

@main
struct Main {
    static func main() {
        CommandLineText.require()
        MartletCommand.main(CommandLineText.split(Array(CommandLine.arguments.dropFirst())))
    }
}
