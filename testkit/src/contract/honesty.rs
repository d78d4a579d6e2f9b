//! Point 8: what is enforced is said, with the reason, and what cannot be enforced is refused when it is required.

use ringfence_core::{Config, Error, Item, Policy, Status, Threat};

use super::{Order, Subject};

/// Every recorded item has a reason, and requiring an item works exactly where it is enforced.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_requirements(subject: &Subject<'_>) {
    for policy in [Policy::compute(), Policy::unfiltered()] {
        let sandbox = subject.with_policy(policy.clone());
        let guarantees = sandbox.guarantees();
        assert_eq!(guarantees.backend(), sandbox.backend_name());
        assert!(guarantees.iter().all(|entry| !entry.detail.is_empty()), "{guarantees}");
        for &item in Item::ALL {
            // The number of threads changes while tests run beside this one.
            if item == Item::ForkedAlone {
                continue;
            }
            let required = order(policy.clone().require(item), None);
            match (guarantees.status(item), subject.order(required)) {
                (Status::Enforced, Ok(_)) => {}
                (Status::BestEffort | Status::NotAvailable, Err(Error::Unavailable(refusal))) => {
                    assert!(refusal.to_string().contains(&item.to_string()), "{refusal}");
                    let reason = guarantees.get(item).map(|entry| &*entry.detail);
                    assert!(reason.is_none_or(|reason| refusal.reason() == reason), "{refusal}");
                }
                (status, built) => panic!("{item} is {status}, and requiring it gave {built:?}"),
            }
        }
    }
}

/// A backend that isolates holds against faults of honest code, with its filter and without.
///
/// # Panics
/// The backend breaks the contract.
pub fn against_faults(subject: &Subject<'_>) {
    holds_against(Threat::Faults, subject);
    assert!(subject.order(order(Policy::unfiltered(), Some(Threat::Faults))).is_ok());
}

/// A backend that holds hostile code does so with its filter, and without one refuses it, and says why.
///
/// # Panics
/// The backend breaks the contract.
pub fn against_hostile_code(subject: &Subject<'_>) {
    holds_against(Threat::Hostile, subject);
    let refused = subject.order(order(Policy::unfiltered(), Some(Threat::Hostile)));
    let Err(Error::Unavailable(refusal)) = refused else { panic!("{refused:?}") };
    let text = refusal.to_string();
    assert!(text.contains("hostile code") && text.contains("system calls"), "{text}");
}

/// A backend that does not hold hostile code refuses it with every policy, and says that it is hostile code which it refuses, and why.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_refused_hostile_code(subject: &Subject<'_>) {
    for policy in [Policy::compute(), Policy::unfiltered()] {
        let refused = subject.order(order(policy, Some(Threat::Hostile)));
        let Err(Error::Unavailable(refusal)) = refused else { panic!("{refused:?}") };
        assert!(refusal.to_string().contains("hostile code") && !refusal.reason().is_empty(), "{refusal}");
    }
}

/// A backend that isolates nothing says so, and holds against no threat.
///
/// # Panics
/// The backend breaks the contract.
pub fn of_no_isolation(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    for &item in Item::ALL {
        let claimed = sandbox.guarantees().status(item) == Status::Enforced;
        assert_eq!(claimed, item == Item::ReplySize, "{item}: {}", sandbox.guarantees());
    }
    for threat in [Threat::Faults, Threat::Hostile] {
        let refused = subject.order(order(Policy::compute(), Some(threat)));
        let Err(Error::Unavailable(refusal)) = refused else { panic!("{refused:?}") };
        assert!(refusal.reason().contains("isolates nothing"), "{refusal}");
    }
}

#[track_caller]
fn holds_against(threat: Threat, subject: &Subject<'_>) {
    let sandbox = subject.order(order(Policy::compute(), Some(threat))).unwrap();
    for item in [Item::MemoryIntegrity, Item::FaultContainment] {
        assert_eq!(sandbox.guarantees().status(item), Status::Enforced, "{item} against {threat}");
    }
}

fn order(policy: Policy, threat: Option<Threat>) -> Order {
    Order { config: Config { policy, ..Config::default() }, threat, ..Order::default() }
}
