//! A test program that ends with `conclude`, in the place of one that lacks something.
#![expect(clippy::unwrap_used, reason = "what cannot be started fails the test")]

use std::env;
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Trial};
use ringfence_testkit::trial::conclude;

/// Tells the program to be the one under test, and whether it has what it needs.
const VARIABLE: &str = "RINGFENCE_TRIAL";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let available = match env::var(VARIABLE).as_deref() {
        Ok("available") => Ok(()),
        Ok(_) => Err("no such keys"),
        Err(_) => return conclude(&arguments, tests(), Ok::<(), &str>(())),
    };
    let subjects = vec![Trial::test("good", || Ok(())), Trial::test("bad", || Err("on purpose".into()))];
    conclude(&arguments, subjects, available)
}

fn tests() -> Vec<Trial> {
    vec![
        Trial::test("what_is_not_run_is_said", || {
            ends(&run("missing", None, &[]), 0, "2 tests not run: no such keys\n", "");
            ends(&run("missing", None, &["goo"]), 0, "1 tests not run: no such keys\n", "");
            Ok(())
        }),
        Trial::test("what_is_required_must_be_there", || {
            let said = "REQUIRE_MPK is set, and 2 tests cannot run: no such keys\n";
            ends(&run("missing", Some("1"), &[]), 101, "", said);
            Ok(())
        }),
        Trial::test("what_is_available_runs", || {
            for required in [None, Some("1")] {
                assert_eq!(run("available", required, &[]).status.code(), Some(101));
                let good = run("available", required, &["good", "--exact"]);
                let said = String::from_utf8_lossy(&good.stdout);
                assert!(good.status.success() && said.contains("test result: ok. 1 passed"), "{said}");
            }
            Ok(())
        }),
        Trial::test("the_list_needs_nothing", || {
            ends(&run("missing", Some("1"), &["--list"]), 0, "good: test\nbad: test\n", "");
            Ok(())
        }),
    ]
}

fn run(available: &str, required: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(arguments).env(VARIABLE, available).env_remove("REQUIRE_MPK");
    command.envs(required.map(|value| ("REQUIRE_MPK", value))).output().unwrap()
}

#[track_caller]
fn ends(output: &Output, status: i32, stdout: &str, stderr: &str) {
    let said = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{said:?}");
    assert_eq!((&*said.0, &*said.1), (stdout, stderr));
}
