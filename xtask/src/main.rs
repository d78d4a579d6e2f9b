//! The project's own commands: `cargo xtask test`. Only the standard library, so that it builds in seconds on a fresh machine.

mod process;
mod root;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask test [--no-install] [STAGE…]
           every check that a change must pass; with stages named, only those
           --no-install: name what the system lacks, install nothing";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((command, rest)) if command == "test" => test::main(rest),
        Some((command, _)) if command == "--help" || command == "-h" => help(),
        Some((command, _)) => usage_error(&format!("unknown command `{command}`")),
        None => usage_error("no command"),
    }
}

fn help() -> ExitCode {
    println!("{USAGE}\nstages: {}", test::stage_names());
    ExitCode::SUCCESS
}

fn usage_error(what: &str) -> ExitCode {
    eprintln!("xtask: {what}\n{USAGE}\nstages: {}", test::stage_names());
    ExitCode::from(2)
}
