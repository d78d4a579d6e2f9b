//! Which call is timed, on which input, and how its answer is checked.
//!
//! Every answer is checked, outside the timed region. The input or `k` changes with each turn, so that an answer left over
//! from the turn before is a wrong answer.

use std::hint::black_box;
use std::io;

use super::variant::{Action, Subject, Variant};
use super::work;

/// How thoroughly an answer is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Every byte.
    Full,
    /// Length and sum: what can be done after every call without drowning the call's own cache traffic.
    Sum,
}

/// One kind of call on one input.
pub(crate) trait Load<S: Variant + ?Sized> {
    /// What the call gives back.
    type Answer;

    /// Prepares the input of this turn. Not timed.
    fn prepare(&mut self, turn: u64) {
        let _ = turn;
    }

    /// The call. Timed.
    fn call(&mut self, subject: &mut S, turn: u64) -> io::Result<Self::Answer>;

    /// Says whether the answer is right for the turn last prepared. Not timed.
    fn is_right(&self, answer: &Self::Answer, turn: u64, check: Check) -> bool;
}

/// `u64` to `u64`: 8 bytes each way.
pub(crate) struct Step;

impl<S: Subject + ?Sized> Load<S> for Step {
    type Answer = u64;

    fn call(&mut self, subject: &mut S, turn: u64) -> io::Result<u64> {
        subject.step(black_box(turn))
    }

    fn is_right(&self, answer: &u64, turn: u64, _check: Check) -> bool {
        *answer == work::step(turn)
    }
}

/// A buffer whose first lane is the turn, and the sum of all the others.
struct Input {
    bytes: Vec<u8>,
    rest_sum: u64,
}

impl Input {
    fn new(len_bytes: usize) -> Self {
        let mut x = 0x2545_f491_4f6c_dd1d_u64;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x.to_le_bytes()[3]
        })
        .take(len_bytes)
        .collect();
        let rest_sum = work::sum(bytes.get(8..).unwrap_or(&bytes));
        Self { bytes, rest_sum }
    }

    fn set_turn(&mut self, turn: u64) {
        if let Some(first) = self.bytes.first_chunk_mut::<8>() {
            *first = turn.to_le_bytes();
        }
    }

    fn sum(&self, turn: u64) -> u64 {
        if self.bytes.len() < 8 { self.rest_sum } else { self.rest_sum.wrapping_add(turn) }
    }
}

/// Bytes to `u64`: the payload goes in, 8 bytes come out.
pub(crate) struct Sum(Input);

impl Sum {
    pub(crate) fn new(len_bytes: usize) -> Self {
        Self(Input::new(len_bytes))
    }
}

impl<S: Subject + ?Sized> Load<S> for Sum {
    type Answer = u64;

    fn prepare(&mut self, turn: u64) {
        self.0.set_turn(turn);
    }

    fn call(&mut self, subject: &mut S, _turn: u64) -> io::Result<u64> {
        subject.sum(black_box(&self.0.bytes))
    }

    fn is_right(&self, answer: &u64, turn: u64, _check: Check) -> bool {
        *answer == self.0.sum(turn)
    }
}

/// Bytes to bytes: the payload goes in, as much comes out.
pub(crate) struct Add(Input);

impl Add {
    /// `len_bytes` is a multiple of 8, so that the sum of the output follows from the sum of the input.
    pub(crate) fn new(len_bytes: usize) -> Self {
        Self(Input::new(len_bytes.next_multiple_of(8)))
    }
}

impl<S: Subject + ?Sized> Load<S> for Add {
    type Answer = Vec<u8>;

    fn prepare(&mut self, turn: u64) {
        self.0.set_turn(turn);
    }

    fn call(&mut self, subject: &mut S, turn: u64) -> io::Result<Vec<u8>> {
        subject.add(black_box(&self.0.bytes), black_box(turn))
    }

    fn is_right(&self, answer: &Vec<u8>, turn: u64, check: Check) -> bool {
        let lanes = (self.0.bytes.len() / 8) as u64;
        match check {
            Check::Full => *answer == work::add(&self.0.bytes, turn),
            Check::Sum => {
                answer.len() == self.0.bytes.len()
                    && work::sum(answer) == self.0.sum(turn).wrapping_add(lanes.wrapping_mul(turn))
            }
        }
    }
}

/// One whole [`Action`].
pub(crate) struct Whole;

impl<S: Action + ?Sized> Load<S> for Whole {
    type Answer = ();

    fn call(&mut self, subject: &mut S, _turn: u64) -> io::Result<()> {
        subject.act()
    }

    fn is_right(&self, _answer: &(), _turn: u64, _check: Check) -> bool {
        true
    }
}
