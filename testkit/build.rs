//! Compiles the foreign code of `c/`.

/// C files in groups of one idea each; all but one are compiled alike.
const SOURCES: &[&str] = &[
    "c/crash.c",
    "c/exit.c",
    "c/hang.c",
    "c/memory.c",
    "c/processes.c",
    "c/signals.c",
    "c/stdio.c",
    "c/syscalls.c",
    "c/threads.c",
];

fn main() {
    println!("cargo::rerun-if-changed=c");
    build("fixtures", "-fno-stack-protector", |build| build.std("gnu17").files(SOURCES));
    build("fixtures_smash", "-fstack-protector-all", |build| build.std("gnu17").file("c/smash.c"));
    build("fixtures_cpp", "-fno-stack-protector", |build| build.cpp(true).std("c++17").file("c/cpp.cpp"));
}

/// One archive. Optimised a little, so that code looks like a library's, with frames and lines for backtraces, and without the
/// checks that some distributions switch on by default: what each fixture does must be the same everywhere.
fn build(name: &str, stack_protector: &str, add: impl Fn(&mut cc::Build) -> &mut cc::Build) {
    let mut build = cc::Build::new();
    add(&mut build)
        .opt_level(1)
        .debug(true)
        .force_frame_pointer(true)
        .flag("-U_FORTIFY_SOURCE")
        .flag(stack_protector)
        .compile(&format!("ringfence_{name}"));
}
