//! Twenty thousand crashes leave nothing behind, and a sandbox that waits uses no CPU.
//!
//! # Safety
//! Foreign code misbehaves in isolates only, whose memory nobody relies on afterwards.
#![expect(unsafe_code, reason = "calls foreign functions that misbehave")]
#![expect(clippy::unwrap_used, reason = "what a test's own helpers cannot have fails the test")]

use std::time::{Duration, Instant};

use ringfence::{Error, FaultKind, Limits, Policy, Sandbox, Tracker, Waiting};
use ringfence_testkit::alone::alone;
use ringfence_testkit::contract::pipe::{Pipe, meet};
use ringfence_testkit::fixtures;
use ringfence_testkit::resources::{Usage, children, cpu_time, descendants, resident_bytes};

const CRASHES: usize = 20_000;
/// What comes and goes with the heap: far less than 20,000 times the smallest thing that could be kept.
const RESIDENT_SLACK_BYTES: u64 = 1 << 20;
/// The heap may keep a piece more or less mapped.
const MAPPINGS_SLACK: usize = 8;

/// A fixture as the inside of a crossing.
macro_rules! inside {
    ($($call:tt)+) => {
        || {
            // SAFETY: as the module says: an isolate is ended by this.
            let _ = unsafe { fixtures::$($call)+ };
        }
    };
}

/// One crash of each round of a hundred, by its place in the round.
fn crash(roomy: &Sandbox, hasty: &Sandbox, number: usize) {
    let (null_write, abort) = (inside!(null_write()), inside!(call_abort()));
    let exit = inside!(underscore_exit(3));
    let panic = || assert!(std::hint::black_box(false), "on purpose");
    let (result, kind): (Result<(), Error>, FaultKind) = match number % 100 {
        0 => (hasty.call(move |()| inside!(endless_loop())(), ()), FaultKind::Timeout),
        1 => (roomy.run(null_write), FaultKind::Signal),
        2 => (roomy.run(abort), FaultKind::Abort),
        3 => (roomy.run(exit), FaultKind::Exit { code: 3 }),
        4 => (roomy.run(panic), FaultKind::Panic),
        5..10 => (roomy.call(move |()| abort(), ()), FaultKind::Abort),
        10..15 => (roomy.call(move |()| exit(), ()), FaultKind::Exit { code: 3 }),
        15..20 => (roomy.call(move |()| panic(), ()), FaultKind::Panic),
        20..24 => (session(roomy), FaultKind::Signal),
        _ => (roomy.call(move |()| null_write(), ()), FaultKind::Signal),
    };
    let error = result.unwrap_err();
    assert_eq!(error.fault().unwrap().kind(), &kind, "crash {number}: {error}");
}

fn session(sandbox: &Sandbox) -> Result<(), Error> {
    sandbox.session()?.call(move |()| inside!(null_write())(), ())
}

/// Calls until several in a row have succeeded: a sandbox has its worker and its spare then, whatever came before.
fn calm(sandbox: &Sandbox) {
    let mut row = 0;
    while row < 8 {
        row = if sandbox.call(|x: u64| x, 1_u64).is_ok() { row + 1 } else { 0 };
    }
}

/// What is there once everything that is to go has gone.
fn settled(expected: Option<&Usage>) -> Usage {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let usage = Usage::now().unwrap();
        let zombies = descendants(std::process::id()).unwrap().iter().any(|process| process.is_zombie());
        let back = expected.is_none_or(|before| {
            (usage.descendants, usage.descriptors, usage.threads)
                == (before.descendants, before.descriptors, before.threads)
        });
        if (back && !zombies) || Instant::now() > deadline {
            return usage;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn nothing_is_left_of_twenty_thousand_crashes() {
    alone("nothing_is_left_of_twenty_thousand_crashes", || {
        // A small record: the default one grows to its budget, as it may.
        let tracker = Tracker::builder().budget_bytes(64 << 10).build();
        let builder = Sandbox::builder().tracker(tracker);
        let roomy = builder.clone().build().unwrap();
        let hasty = builder.limits(Limits::new().wall(Duration::from_millis(2))).build().unwrap();
        (0..1000).for_each(|number| crash(&roomy, &hasty, number));
        [&roomy, &hasty].into_iter().for_each(calm);
        let before = settled(None);
        let zygotes = children(std::process::id()).unwrap();
        let resident = || zygotes.iter().map(|zygote| resident_bytes(zygote.pid).unwrap()).sum::<u64>();
        let resident_before = resident();

        let start = Instant::now();
        (0..CRASHES).for_each(|number| crash(&roomy, &hasty, number));
        let elapsed = start.elapsed();
        let rate = CRASHES as f64 / elapsed.as_secs_f64();
        println!("{CRASHES} crashes in {elapsed:.1?}: {rate:.0} a second");

        [&roomy, &hasty].into_iter().for_each(calm);
        let after = settled(Some(&before));
        println!("before {before:?}\nafter  {after:?}");
        assert_eq!(children(std::process::id()).unwrap(), zygotes, "the zygotes are the same ones");
        assert_eq!(after.descendants, before.descendants);
        assert_eq!(after.descriptors, before.descriptors);
        assert_eq!(after.threads, before.threads);
        assert!(after.mappings <= before.mappings + MAPPINGS_SLACK, "{} mappings", after.mappings);
        let (limit, own) = (before.resident_bytes + RESIDENT_SLACK_BYTES, after.resident_bytes);
        assert!(own <= limit, "{own} bytes resident, {limit} allowed");
        let (limit, theirs) = (resident_before + RESIDENT_SLACK_BYTES, resident());
        assert!(theirs <= limit, "{theirs} bytes resident in zygotes, {limit} allowed");

        assert_eq!(roomy.call(|x: u64| x, 1_u64).unwrap(), 1);
        drop((roomy, hasty));
        assert_eq!(descendants(std::process::id()).unwrap(), []);
    });
}

/// The CPU time of this process and all below it.
fn cpu_of_all() -> Duration {
    let own = std::process::id();
    let below = descendants(own).unwrap();
    below.iter().map(|process| process.pid).chain([own]).map(|pid| cpu_time(pid).unwrap()).sum()
}

/// CPU time, not wall time: a sandbox nobody uses, and a call that waits inside, for a second each.
#[test]
fn waiting_uses_no_cpu() {
    const MOST: Duration = Duration::from_millis(20);
    alone("waiting_uses_no_cpu", || {
        for waiting in [Waiting::Sleep, Waiting::Spin] {
            let (arrived, leave) = (Pipe::new().unwrap(), Pipe::new().unwrap());
            let (arrived_end, arrived_number) = arrived.lend_writer().unwrap();
            let (leave_end, leave_number) = leave.lend_reader().unwrap();
            let policy = Policy::compute().lend(arrived_end).lend(leave_end);
            let sandbox = Sandbox::builder().policy(policy).waiting(waiting).workers(2).build().unwrap();
            let _session = sandbox.session().unwrap();
            sandbox.call(|x: u64| x, 1_u64).unwrap();

            let used = || {
                let before = cpu_of_all();
                std::thread::sleep(Duration::from_secs(1));
                cpu_of_all() - before
            };
            let idle = used();
            let blocked = std::thread::scope(|scope| {
                let call = scope.spawn(|| sandbox.call(meet, (arrived_number, leave_number)));
                arrived.take(1).unwrap();
                let blocked = used();
                leave.put(1).unwrap();
                assert!(call.join().unwrap().unwrap());
                blocked
            });
            println!("{waiting:?}: idle {idle:?}, blocked {blocked:?}");
            assert!(idle < MOST, "{waiting:?}: idle for a second took {idle:?}");
            assert!(blocked < MOST, "{waiting:?}: blocked for a second took {blocked:?}");
        }
    });
}
