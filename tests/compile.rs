//! What the compiler refuses, and with which words.

/// The passing case makes all of them be built rather than checked: some are refused only when code is generated.
#[test]
fn misuse_is_refused_when_it_is_compiled() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile/what_is_fine.rs");
    cases.compile_fail("tests/compile/call_captures.rs");
    cases.compile_fail("tests/compile/call_of_a_function_pointer.rs");
    cases.compile_fail("tests/compile/argument_is_not_portable.rs");
    cases.compile_fail("tests/compile/reply_borrows.rs");
    cases.compile_fail("tests/compile/reply_of_units.rs");
    cases.compile_fail("tests/compile/run_mutates.rs");
    cases.compile_fail("tests/compile/run_consumes.rs");
    cases.compile_fail("tests/compile/derive_on_a_field_that_is_not_portable.rs");
    cases.compile_fail("tests/compile/derive_on_a_union.rs");
}
