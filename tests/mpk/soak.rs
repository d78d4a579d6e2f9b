//! Many rewinds, many domains.
//!
//! # Safety
//! Foreign code misbehaves in domains only, which are made pristine afterwards; keys are asked for and given back at once.
#![expect(unsafe_code, reason = "calls foreign functions that misbehave, and pkey_alloc")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what is not as it should be fails the test")]

mod domains;

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use ringfence::{Backend, Error, FaultKind, Limits, Sandbox, Tracker};
use ringfence_testkit::alone::alone;
use ringfence_testkit::fixtures;
use ringfence_testkit::resources::Usage;

const REWINDS: usize = 20_000;
/// Room for what the heap and the page tables keep more at one moment than at another: less than 20,000 of the smallest piece that `malloc`
/// gives, which is 32 bytes with its header.
const RESIDENT_SLACK_BYTES: u64 = 256 << 10;
/// The heap may keep a piece more or less mapped.
const MAPPINGS_SLACK: usize = 4;

pub(crate) fn trials() -> Vec<Trial> {
    const NAME: &str = "soak::twenty_thousand_rewinds";
    let rewinds = Trial::test(NAME, || {
        alone(NAME, nothing_is_left_of_twenty_thousand_rewinds);
        Ok(())
    });
    std::iter::once(rewinds).chain(domains::trials()).collect()
}

/// A fixture as the inside of a crossing.
macro_rules! inside {
    ($($call:tt)+) => {
        || {
            // SAFETY: as the module says: the domain is made pristine after this.
            let _ = unsafe { fixtures::$($call)+ };
        }
    };
}
use inside;

/// What no domain may change.
static HOST: AtomicU8 = AtomicU8::new(7);

/// One rewind of each round of a thousand, by its place in the round: the more one costs, the fewer there are.
fn rewind(roomy: &Sandbox, hasty: &Sandbox, number: usize) {
    let null_write = inside!(null_write());
    let panic = || assert!(std::hint::black_box(false), "on purpose");
    let target = HOST.as_ptr() as usize;
    let violate = move |target: usize| {
        // SAFETY: as the module says: the store is refused, and ends the crossing.
        unsafe { fixtures::store_at(target, 1) };
    };
    let (result, kind): (Result<(), Error>, FaultKind) = match number % 1000 {
        0 => (hasty.call(|()| inside!(endless_loop())(), ()), FaultKind::Timeout),
        1..20 => (roomy.call(|()| inside!(stack_overflow())(), ()), FaultKind::StackOverflow),
        20..40 => (roomy.call(move |()| panic(), ()), FaultKind::Panic),
        40..50 => (roomy.run(panic), FaultKind::Panic),
        50..60 => (session(roomy), FaultKind::Signal),
        60..100 => (roomy.call(violate, target), FaultKind::KeyViolation),
        100..300 => (roomy.call(|()| inside!(call_abort())(), ()), FaultKind::Abort),
        300..500 => (roomy.call(|()| inside!(exit_with(3))(), ()), FaultKind::Exit { code: 3 }),
        500..600 => (roomy.run(null_write), FaultKind::Signal),
        _ => (roomy.call(move |()| null_write(), ()), FaultKind::Signal),
    };
    let error = result.unwrap_err();
    assert_eq!(error.fault().unwrap().kind(), &kind, "rewind {number}: {error}");
}

fn session(sandbox: &Sandbox) -> Result<(), Error> {
    sandbox.session()?.call(|()| inside!(null_write())(), ())
}

/// Resident memory, counted page by page: what `statm` says is up to 256 KiB behind.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// How many keys the kernel has left for this process.
fn free_keys() -> usize {
    let taken: Vec<i64> = std::iter::repeat_with(|| {
        // SAFETY: two numbers.
        unsafe { libc::syscall(libc::SYS_pkey_alloc, 0, 0) }
    })
    .take_while(|key| *key > 0)
    .collect();
    for key in &taken {
        // SAFETY: a key that was taken above, which no page carries.
        assert_eq!(unsafe { libc::syscall(libc::SYS_pkey_free, *key) }, 0);
    }
    taken.len()
}

fn nothing_is_left_of_twenty_thousand_rewinds() {
    // A small record: the default one grows to its budget, as it may.
    let tracker = Tracker::builder().budget_bytes(64 << 10).build();
    let limits = Limits::new().stack_bytes(64 << 10);
    let builder = Sandbox::builder().backend(Backend::Mpk).tracker(tracker).limits(limits.clone());
    let roomy = builder.clone().build().unwrap();
    let hasty = builder.limits(limits.wall(Duration::from_millis(5))).build().unwrap();
    (0..1000).for_each(|number| rewind(&roomy, &hasty, number));
    let (before, keys_before, resident_before) = (Usage::now().unwrap(), free_keys(), resident_bytes());

    let start = Instant::now();
    (0..REWINDS).for_each(|number| rewind(&roomy, &hasty, number));
    println!("{REWINDS} rewinds in {:.1?}", start.elapsed());

    let (after, keys_after, resident_after) = (Usage::now().unwrap(), free_keys(), resident_bytes());
    println!("before {before:?}, {keys_before} keys free, {resident_before} bytes");
    println!("after  {after:?}, {keys_after} keys free, {resident_after} bytes");
    assert_eq!(keys_after, keys_before);
    assert_eq!(after.descendants, before.descendants);
    assert_eq!(after.descriptors, before.descriptors);
    assert_eq!(after.threads, before.threads);
    assert!(after.mappings <= before.mappings + MAPPINGS_SLACK, "{} mappings", after.mappings);
    let limit = resident_before + RESIDENT_SLACK_BYTES;
    assert!(resident_after <= limit, "{resident_after} bytes resident, {limit} allowed");
    assert_eq!(HOST.load(Ordering::Relaxed), 7);
    assert_eq!(roomy.call(|x: u64| x, 1_u64).unwrap(), 1);
}
