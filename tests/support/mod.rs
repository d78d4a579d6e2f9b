//! From what the testkit orders to a sandbox of the facade.

use ringfence::{Builder, Error};
use ringfence_testkit::contract::Order;

/// The sandbox of an order, on the backend that the builder was given.
pub(crate) fn build(builder: Builder, order: Order) -> Result<ringfence_core::Sandbox, Error> {
    let Order { config, threat, tracker } = order;
    let builder =
        builder.limits(config.limits).policy(config.policy).workers(config.workers).tracker(tracker);
    let sandbox = match threat {
        Some(threat) => builder.threat(threat).build()?,
        None => builder.build()?,
    };
    Ok((*sandbox).clone())
}
