//! The trial says what holds in this program, which has no allocator of its own.

mod support;

use ringfence_shim::{Routing, inside, routing};

#[test]
fn the_trial_tells_whether_the_symbols_are_interposed_and_leaves_the_thread_as_it_was() {
    let interposed = cfg!(all(feature = "interpose", target_env = "gnu"));
    for _ in 0..100 {
        let found = routing();
        let left_inside = inside();
        support::leave();
        assert!(!left_inside);
        assert_eq!(found, Routing { c: interposed, rust: interposed });
    }
}
