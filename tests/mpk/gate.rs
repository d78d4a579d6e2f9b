//! The gate as it is linked into this program, and what a call allocates.

mod allocations;
mod code;
mod text;

use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    macro_rules! trials {
        ($($module:ident::$name:ident;)+) => {
            vec![$(
                Trial::test(concat!("gate::", stringify!($name)), || {
                    $module::$name();
                    Ok(())
                })
            ),+]
        };
    }
    trials! {
        code::has_two_wrpkru_and_two_switches_of_fs;
        code::checks_every_wrpkru_at_once;
        code::reads_nothing_of_the_domain_before_it_has_left_its_stack;
        code::asks_nothing_of_the_kernel;
        text::has_no_wrpkru_but_the_gates;
        allocations::are_none_in_a_call_that_makes_none;
        allocations::are_counted;
    }
}
