//! The `littfs` program. Everything is in `cli/`, which uses only the public API of the library:
//! what the command line can do, other programs can do too.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
