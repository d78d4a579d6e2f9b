//! What is counted, and how.
//!
//! # Safety
//! Reads the time stamp counter, and runs instructions that do nothing.
#![expect(unsafe_code, reason = "rdtsc, and instructions to be counted")]

use std::arch::asm;
use std::arch::x86_64::_rdtsc;
use std::fmt;
use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use ringfence::Error;

/// What a number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Executed instructions.
    Instructions,
    /// Time.
    Nanoseconds,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instructions => "instructions: the least of many single shots",
            Self::Nanoseconds => "nanoseconds: medians",
        })
    }
}

/// Something to be measured, and what it answers.
pub(crate) type Shot<'s> = &'s mut dyn FnMut() -> Result<u64, Box<Error>>;

/// Measures.
#[derive(Debug)]
pub(crate) struct Clock {
    unit: Unit,
    /// What a shot that does nothing takes, by itself and as one of a batch.
    empty: Taken,
}

/// One thing's cost, in the clock's unit.
#[derive(Debug, Clone, Copy)]
struct Taken {
    alone: f64,
    in_batch: f64,
}

const WARM_UP: usize = 32;
const SHOTS: usize = 400;
/// A batch is about so long: long beside the clock's own cost, short beside the time between interrupts.
const BATCH: Duration = Duration::from_micros(30);

impl Clock {
    /// Finds out what is counted here.
    pub(crate) fn new() -> Self {
        let unit = if counts_instructions() { Unit::Instructions } else { Unit::Nanoseconds };
        let mut clock = Self { unit, empty: Taken { alone: 0.0, in_batch: 0.0 } };
        let nothing: Shot<'_> = &mut || Ok(0);
        if let Ok([alone]) = clock.sequence([(0, &mut *nothing)]) {
            clock.empty.alone = alone;
        }
        if let Ok(in_batch) = clock.batches(0, nothing) {
            clock.empty.in_batch = in_batch;
        }
        clock
    }

    pub(crate) fn unit(&self) -> Unit {
        self.unit
    }

    /// What the shot costs, which has to answer as expected each time.
    ///
    /// # Errors
    /// The shot's first error, or a wrong answer.
    pub(crate) fn measure(&self, expected: u64, shot: Shot<'_>) -> Result<f64, Error> {
        match self.unit {
            Unit::Instructions => self.sequence([(expected, shot)]).map(|[taken]| taken),
            Unit::Nanoseconds => self.batches(expected, shot),
        }
    }

    /// What each of several shots costs that are done in turn, each once a round.
    ///
    /// # Errors
    /// As [`measure`](Self::measure).
    pub(crate) fn sequence<const N: usize>(
        &self,
        mut shots: [(u64, Shot<'_>); N],
    ) -> Result<[f64; N], Error> {
        let mut all = [const { Vec::new() }; N];
        for round in 0..WARM_UP + SHOTS {
            for ((expected, shot), all) in shots.iter_mut().zip(&mut all) {
                let shot = black_box(shot);
                let start = self.now();
                let answer = shot();
                let end = self.now();
                check(answer, *expected)?;
                if round >= WARM_UP {
                    all.push(end - start - self.empty.alone);
                }
            }
        }
        Ok(all.map(|all| self.conclude(all)))
    }

    fn batches(&self, expected: u64, shot: Shot<'_>) -> Result<f64, Error> {
        let shot = black_box(shot);
        let (start, mut once) = (Instant::now(), 0_u32);
        while once < WARM_UP as u32 || start.elapsed() < BATCH {
            check(shot(), expected)?;
            once += 1;
        }
        let per_batch = (f64::from(once) * BATCH.as_secs_f64() / start.elapsed().as_secs_f64()).ceil() as u32;
        let mut all = Vec::new();
        for _ in 0..SHOTS {
            let mut answer = Ok(expected);
            let start = self.now();
            for _ in 0..per_batch {
                answer = shot();
                if !matches!(answer, Ok(answer) if answer == expected) {
                    break;
                }
            }
            let end = self.now();
            check(answer, expected)?;
            all.push((end - start) / f64::from(per_batch) - self.empty.in_batch);
        }
        Ok(self.conclude(all))
    }

    fn now(&self) -> f64 {
        match self.unit {
            Unit::Instructions => counter() as f64,
            Unit::Nanoseconds => START.with(|start| start.elapsed().as_nanos() as f64),
        }
    }

    /// An interrupt adds instructions and takes none away; time is disturbed both ways.
    fn conclude(&self, mut all: Vec<f64>) -> f64 {
        all.sort_by(f64::total_cmp);
        let place = if self.unit == Unit::Instructions { 0 } else { all.len() / 2 };
        all.get(place).copied().unwrap_or(f64::NAN)
    }
}

thread_local! {
    static START: Instant = Instant::now();
}

fn check(answer: Result<u64, Box<Error>>, expected: u64) -> Result<(), Error> {
    match answer {
        Ok(answer) if answer == expected => Ok(()),
        Ok(_) => Err(Error::os("check an answer", io::ErrorKind::InvalidData)),
        Err(error) => Err(*error),
    }
}

fn counter() -> u64 {
    // SAFETY: the instruction is permitted in every Linux program that has not forbidden it to itself (PR_SET_TSC).
    unsafe { _rdtsc() }
}

/// Whether the counter advances by one with each instruction, a cheap one like a dear one: then it is an emulator's that counts them.
fn counts_instructions() -> bool {
    const COUNT: u64 = 400;
    macro_rules! least {
        ($instruction:literal) => {
            (0..100).map(|_| {
                let start = counter();
                // SAFETY: changes the named register and flags only.
                unsafe {
                    asm!(concat!(".rept 400\n", $instruction, "\n.endr"), inout("rax") 1_u64 => _, options(nomem, nostack));
                }
                counter() - start
            }).min()
        };
    }
    let between = (0..100)
        .map(|_| {
            let start = counter();
            counter() - start
        })
        .min();
    let exact = |taken: Option<u64>| {
        taken.zip(between).is_some_and(|(taken, between)| taken.abs_diff(between + COUNT) <= 2)
    };
    exact(least!("nop")) && exact(least!("imul rax, rax"))
}
