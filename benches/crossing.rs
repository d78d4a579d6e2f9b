//! What a crossing of the boundary costs, beside the ways it could be done instead: `cargo bench --bench crossing`.
//!
//! All variants of a table run in one process, in turns; compare them by ratio within one run, since absolute times belong to the
//! machine. Every answer is checked; a wrong one ends the bench with an error. `-- --quick` takes about 20 s instead of two minutes.

mod support;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use support::busy;
use support::direct::Direct;
use support::forks::{ForkPerCall, bare_fork};
use support::futex::Futex;
use support::host::{Ballast, keep_heap_resident, load_average};
use support::ipc::IpcChannel;
use support::load::{Add, Step, Sum, Whole};
use support::pipes::Pipes;
use support::sandbox::Sandboxed;
use support::placement::Rule;
use support::sample::{Plan, clock_cost_ns, sample};
use support::spin::Spin;
use support::table::{Table, Target, Targets, duration};
use support::variant::{Action, Subject};
use support::work;

const SIZES_BYTES: [usize; 5] = [0, 64, 4 << 10, 64 << 10, 1 << 20];
const LARGEST_BYTES: usize = 1 << 20;
const BASELINES: [&str; 2] = ["futex, same CPU", "spin, other CPU"];

/// How much of everything.
struct Effort {
    plan: Plan,
    long_call: Duration,
    long_call_repeats: u32,
}

fn main() -> ExitCode {
    let effort = match std::env::args().skip(1).find(|argument| argument != "--bench").as_deref() {
        None => Effort { plan: Plan::full(), long_call: Duration::from_secs(1), long_call_repeats: 3 },
        Some("--quick") => {
            Effort { plan: Plan::quick(), long_call: Duration::from_millis(250), long_call_repeats: 1 }
        }
        Some(other) => {
            eprintln!("crossing: unknown argument {other:?}; the only one is --quick");
            return ExitCode::FAILURE;
        }
    };
    match run(&effort) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crossing: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(effort: &Effort) -> io::Result<()> {
    println!("load average before the run: {}", load_average()?);
    keep_heap_resident()?;
    let mut subjects = subjects()?;
    let mut free = Futex::new(0, Rule::Scheduler)?;
    let mut follower = Futex::new(0, Rule::Follow)?;
    println!(
        "the clock costs {}, taken off every row; less than that is not resolved\n",
        duration(clock_cost_ns())
    );
    let mut targets = calls(effort.plan, &mut subjects)?;
    lifecycles(effort.plan)?;

    let iterations = work::iterations_for(effort.long_call);
    let expected = work::burn(iterations);
    let checked = |child: &mut Futex| match child.burn(iterations)? == expected {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "wrong answer")),
    };
    let beside = busy::compare(effort.long_call_repeats, || checked(&mut follower), || checked(&mut free))?;
    println!(
        "## {} of work while another thread keeps the caller's CPU busy",
        duration(effort.long_call.as_nanos() as f64)
    );
    println!("{:<36}{:>10}", "futex, same CPU", duration(beside.call.as_nanos() as f64));
    println!("{:<36}{:>10}\n", "futex, free", duration(beside.baseline.as_nanos() as f64));
    targets.push(Target {
        name: "long call beside a busy CPU: free over same CPU".to_owned(),
        value: Some(beside.baseline.as_secs_f64() / beside.call.as_secs_f64()),
        at_most: 0.75,
    });
    print!("{}", Targets(targets));
    Ok(())
}

/// Everything that can call a function, baselines first: a child forked later would hold the descriptors of what came before.
fn subjects() -> io::Result<Vec<Box<dyn Subject>>> {
    let mut subjects: Vec<Box<dyn Subject>> = vec![
        Box::new(Direct),
        Box::new(Futex::new(LARGEST_BYTES, Rule::Follow)?),
        Box::new(Futex::new(LARGEST_BYTES, Rule::Scheduler)?),
    ];
    match Spin::new(LARGEST_BYTES) {
        Ok(spin) => subjects.push(Box::new(spin)),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            println!("left out: spin, other CPU: {error}");
        }
        Err(error) => return Err(error),
    }
    for rule in [Rule::Follow, Rule::Scheduler] {
        subjects.push(Box::new(Pipes::new(rule)?));
        subjects.push(Box::new(IpcChannel::new(rule)?));
    }
    subjects.push(Box::new(ForkPerCall::new(LARGEST_BYTES)?));
    subjects.push(Box::new(Sandboxed::direct()?));
    subjects.push(Box::new(Sandboxed::process()?));
    subjects.push(Box::new(Sandboxed::hot()?));
    Ok(subjects)
}

/// The tables of function calls, and what they say about the designs compared.
fn calls(plan: Plan, subjects: &mut [Box<dyn Subject>]) -> io::Result<Vec<Target>> {
    let mut targets = Vec::new();
    let mut publish = |table: &Table, what: &str| {
        println!("{table}");
        targets.push(Target {
            name: format!("{what}: a futex over pipes with Sandcrust's wire, same CPU"),
            value: table.ratio("futex, same CPU", "pipes, Sandcrust's wire, same CPU"),
            at_most: 1.25,
        });
    };
    let rows = sample(plan, &mut Step, subjects)?;
    publish(&Table::new("u64 → u64", &BASELINES, rows), "u64 → u64");
    for len_bytes in SIZES_BYTES {
        let what = format!("{} → u64", size(len_bytes));
        let rows = sample(plan, &mut Sum::new(len_bytes), subjects)?;
        publish(&Table::new(what.as_str(), &BASELINES, rows), &what);
    }
    for len_bytes in SIZES_BYTES {
        let what = format!("{} → as many bytes", size(len_bytes));
        let rows = sample(plan, &mut Add::new(len_bytes), subjects)?;
        publish(&Table::new(what.as_str(), &BASELINES, rows), &what);
    }
    Ok(targets)
}

/// The tables of whole lives of processes, in a small host and in one that has grown.
fn lifecycles(plan: Plan) -> io::Result<()> {
    const GROWTH_BYTES: usize = 512 << 20;
    let mut actions: Vec<Box<dyn Action>> = vec![Box::new(bare_fork())];
    let baseline = ["bare fork + _exit + waitpid"];
    let rows = sample(plan, &mut Whole, &mut actions)?;
    println!("{}", Table::new("A process, small host", &baseline, rows));
    let _ballast = Ballast::new(GROWTH_BYTES)?;
    let rows = sample(plan, &mut Whole, &mut actions)?;
    println!("{}", Table::new("A process, host grown by 512 MiB", &baseline, rows));
    Ok(())
}

fn size(len_bytes: usize) -> String {
    match len_bytes {
        0..1024 => format!("{len_bytes} B"),
        1024..0x10_0000 => format!("{} KiB", len_bytes >> 10),
        _ => format!("{} MiB", len_bytes >> 20),
    }
}
