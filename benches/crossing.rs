//! What a crossing of the boundary costs, beside the ways it could be done instead: `cargo bench --bench crossing`.
//!
//! All variants of a table run in one process, in turns; compare them by ratio within one run, since absolute times belong to the
//! machine. Every answer is checked; a wrong one ends the bench with an error. `-- --quick` takes about 20 s instead of two minutes.

mod support;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use ringfence::Sandbox;

use support::busy;
use support::direct::Direct;
use support::forks::{ForkPerCall, bare_fork};
use support::futex::Futex;
use support::host::{Ballast, keep_heap_resident, load_average};
use support::ipc::IpcChannel;
use support::load::{Add, Step, Sum, Whole};
use support::pipes::Pipes;
use support::placement::Rule;
use support::recovery::{self, Recovery};
use support::sample::{Plan, clock_cost_ns, sample};
use support::sandbox::{CALL, HOT_CALL, RUN, RUN_UNFILTERED, Sandboxed, runs};
use support::spin::Spin;
use support::table::{Table, Target, Targets, duration};
use support::variant::{Action, Subject};
use support::work;

const SIZES_BYTES: [usize; 5] = [0, 64, 4 << 10, 64 << 10, 1 << 20];
const LARGEST_BYTES: usize = 1 << 20;
/// The largest payload hot mode is meant for.
const HOT_BYTES: usize = 4 << 10;
const BASELINES: [&str; 2] = ["futex, same CPU", "spin, other CPU"];

/// How much of everything.
struct Effort {
    plan: Plan,
    long_call: Duration,
    long_call_repeats: u32,
    crashes: usize,
}

fn main() -> ExitCode {
    let effort = match std::env::args().skip(1).find(|argument| argument != "--bench").as_deref() {
        None => Effort {
            plan: Plan::full(),
            long_call: Duration::from_secs(1),
            long_call_repeats: 3,
            crashes: 100,
        },
        Some("--quick") => Effort {
            plan: Plan::quick(),
            long_call: Duration::from_millis(250),
            long_call_repeats: 1,
            crashes: 30,
        },
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
    let sandbox = Sandbox::process().map_err(io::Error::other)?;
    println!(
        "the clock costs {}, taken off every row; less than that is not resolved\n",
        duration(clock_cost_ns())
    );
    let mut targets = calls(effort.plan, &mut subjects)?;
    drop(subjects);
    targets.extend(long_call(effort, &mut free, &sandbox)?);
    targets.extend(lifecycles(effort, &sandbox)?);
    print!("{}", Targets(targets));
    Ok(())
}

/// A call that outlasts any moment, beside a thread that keeps the caller's CPU busy.
fn long_call(effort: &Effort, free: &mut Futex, sandbox: &Sandbox) -> io::Result<Vec<Target>> {
    let iterations = work::iterations_for(effort.long_call);
    let expected = work::burn(iterations);
    let checked = |answer: u64| match answer == expected {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "wrong answer")),
    };
    let beside = busy::compare(
        effort.long_call_repeats,
        || checked(sandbox.call(work::burn, iterations).map_err(io::Error::other)?),
        || checked(free.burn(iterations)?),
    )?;
    println!(
        "## {} of work while another thread keeps the caller's CPU busy",
        duration(effort.long_call.as_nanos() as f64)
    );
    println!("{CALL:<36}{:>10}", duration(beside.call.as_nanos() as f64));
    println!("{:<36}{:>10}\n", "futex, free", duration(beside.baseline.as_nanos() as f64));
    Ok(vec![Target {
        name: format!("long call beside a busy CPU: {CALL} over a child the scheduler places"),
        value: Some(beside.call.as_secs_f64() / beside.baseline.as_secs_f64()),
        at_most: 1.15,
    }])
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

/// The tables of function calls, and the targets for them.
fn calls(plan: Plan, subjects: &mut [Box<dyn Subject>]) -> io::Result<Vec<Target>> {
    let mut targets = Vec::new();
    let mut publish = |table: &Table, what: &str, hot: bool| {
        println!("{table}");
        let mut target = |name: &str, baseline: &str, at_most: f64| {
            let name_of_ratio = format!("{what}: {name} over {baseline}");
            targets.push(Target { name: name_of_ratio, value: table.ratio(name, baseline), at_most });
        };
        target(CALL, "futex, same CPU", 1.15);
        if hot {
            target(HOT_CALL, "spin, other CPU", 1.3);
        }
    };
    let rows = sample(plan, &mut Step, subjects)?;
    publish(&Table::new("u64 → u64", &BASELINES, rows), "u64 → u64", true);
    for len_bytes in SIZES_BYTES {
        let what = format!("{} → u64", size(len_bytes));
        let rows = sample(plan, &mut Sum::new(len_bytes), subjects)?;
        publish(&Table::new(what.as_str(), &BASELINES, rows), &what, len_bytes <= HOT_BYTES);
    }
    for len_bytes in SIZES_BYTES {
        let what = format!("{} → as many bytes", size(len_bytes));
        let rows = sample(plan, &mut Add::new(len_bytes), subjects)?;
        publish(&Table::new(what.as_str(), &BASELINES, rows), &what, len_bytes <= HOT_BYTES);
    }
    Ok(targets)
}

/// Whole lives of processes, and recovery from a crash, in a small host and in one that has grown since the sandbox was built.
fn lifecycles(effort: &Effort, sandbox: &Sandbox) -> io::Result<Vec<Target>> {
    const GROWTH_BYTES: usize = 512 << 20;
    const BARE: &str = "bare fork + _exit + waitpid";
    let mut actions: Vec<Box<dyn Action>> = vec![Box::new(bare_fork())];
    actions.extend(runs()?);
    let mut targets = Vec::new();
    let rows = sample(effort.plan, &mut Whole, &mut actions)?;
    let table = Table::new("A process per crossing, small host", &[BARE], rows);
    println!("{table}");
    for name in [RUN, RUN_UNFILTERED] {
        let ratio = table.ratio(name, BARE);
        targets.push(Target { name: format!("{name} over {BARE}"), value: ratio, at_most: 1.2 });
    }
    let small = recovery::measure(sandbox, effort.crashes)?;
    let ballast = Ballast::new(GROWTH_BYTES)?;
    let rows = sample(effort.plan, &mut Whole, &mut actions)?;
    println!("{}", Table::new("A process per crossing, host grown by 512 MiB", &[BARE], rows));
    let grown = recovery::measure(sandbox, effort.crashes)?;
    drop(ballast);
    println!("## From a crash to the next answer");
    println!("{:<36}{:>12}{:>14}", "", "with spare", "without spare");
    let row = |name: &str, recovery: &Recovery| {
        let (with, without) = (duration(recovery.with_spare_ns), duration(recovery.without_spare_ns));
        println!("{name:<36}{with:>12}{without:>14}");
    };
    row("host as built", &small);
    row("host grown by 512 MiB since", &grown);
    println!();
    let mut target = |name: &str, value: f64, at_most: f64| {
        targets.push(Target { name: name.to_owned(), value: Some(value), at_most });
    };
    target("crash to next answer, with a spare, in units of 100 µs", small.with_spare_ns / 1e5, 1.0);
    target("crash to next answer, without, in units of 300 µs", small.without_spare_ns / 3e5, 1.0);
    target("with a spare: host grown over host as built", grown.with_spare_ns / small.with_spare_ns, 1.25);
    target("without: host grown over host as built", grown.without_spare_ns / small.without_spare_ns, 1.25);
    Ok(targets)
}

fn size(len_bytes: usize) -> String {
    match len_bytes {
        0..1024 => format!("{len_bytes} B"),
        1024..0x10_0000 => format!("{} KiB", len_bytes >> 10),
        _ => format!("{} MiB", len_bytes >> 20),
    }
}
