//! The project's own commands: `cargo xtask test` and `cargo xtask guest`. Only the standard library, so that it builds in seconds on a fresh machine.

mod guest;
mod needs;
mod process;
mod root;
mod system;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask test [--no-install] [STAGE…]
           every check that a change must pass; with stages named, only those
           --no-install: name what the system lacks, install nothing
       cargo xtask guest run [--kernel 6.1|6.12] [OPTION…] PROGRAM [ARGUMENT…]
           the program in an emulated machine that has protection keys; its exit status is passed on
       cargo xtask guest test [--kernel 6.1|6.12|all] [OPTION…] [FILTER…] [-- ARGUMENT…]
           the suites that need protection keys, in such machines
       options of both:
           --icount              one CPU whose clock counts instructions, one a nanosecond
           --with FILE[=PATH]    brings a file along, at its own path or at PATH
           --env NAME[=VALUE]    passes a variable on, or sets it
           --timeout SECONDS     how long a program may take (600)
           --smp NUMBER          CPUs (2)
           --memory MIB          memory (2048, or what the files need)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((command, rest)) if command == "test" => test::main(rest),
        Some((command, rest)) if command == "guest" => guest::main(rest),
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
