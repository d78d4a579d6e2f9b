//! `RINGFENCE_BACKEND` counts where the builder allowed it, and never goes below what was asked for.

use ringfence::{Backend, Error, Item, Policy, Sandbox, Threat};
use ringfence_testkit::alone::alone_with;

#[test]
fn the_variable_counts_where_it_is_allowed() {
    alone_with(
        "environment::the_variable_counts_where_it_is_allowed",
        &[("RINGFENCE_BACKEND", "direct")],
        || {
            assert_eq!(Sandbox::auto().unwrap().backend_name(), "process");
            assert_eq!(Sandbox::builder().build().unwrap().backend_name(), "process");
            let allowed = Sandbox::builder().backend(Backend::Process).backend_from_env();
            assert_eq!(allowed.clone().build().unwrap().backend_name(), "direct");

            for threat in [Threat::Faults, Threat::Hostile] {
                let refused = allowed.clone().threat(threat).build();
                assert!(matches!(&refused, Err(Error::Unavailable(_))), "{refused:?}");
            }
            let required = allowed.policy(Policy::compute().require(Item::WallTime)).build();
            assert!(matches!(&required, Err(Error::Unavailable(_))), "{required:?}");
        },
    );
}

#[test]
fn the_variable_can_go_up() {
    alone_with("environment::the_variable_can_go_up", &[("RINGFENCE_BACKEND", "process")], || {
        let sandbox = Sandbox::builder().backend(Backend::Direct).backend_from_env().build().unwrap();
        assert_eq!(sandbox.backend_name(), "process");
    });
}

#[test]
fn a_backend_that_is_not_there_is_not_replaced() {
    alone_with(
        "environment::a_backend_that_is_not_there_is_not_replaced",
        &[("RINGFENCE_BACKEND", "mpk")],
        || {
            let refused = Sandbox::builder().backend_from_env().build();
            let Err(Error::Unavailable(refusal)) = refused else { panic!("{refused:?}") };
            assert!(refusal.to_string().contains("mpk"), "{refusal}");
        },
    );
}

#[test]
fn a_name_that_is_none_is_an_error() {
    alone_with("environment::a_name_that_is_none_is_an_error", &[("RINGFENCE_BACKEND", "Process")], || {
        let refused = Sandbox::builder().backend_from_env().build();
        assert!(matches!(&refused, Err(Error::Configuration(_))), "{refused:?}");
        assert!(Sandbox::builder().build().is_ok(), "and is nobody's matter where it was not asked for");
    });
}
