//! What the MPK backend claims. Not among it: the CPU-time limit, hostile code, mapping a lent file and a private copy of what C code or a lock
//! keeps in the host's memory, and C++ exceptions.

use libtest_mimic::Trial;
use ringfence_testkit::contract::{
    Subject, captures, evidence, faults, honesty, isolation, limits, panics, replies, results, rewind,
};

use crate::build;

macro_rules! claims {
    ($($name:ident: $($check:ident)::+ $(, $argument:expr)?;)+) => {
        vec![$(
            Trial::test(concat!("contract::", stringify!($name)), || {
                $($check)::+(&Subject::new(&build) $(, $argument)?);
                Ok(())
            })
        ),+]
    };
}

pub(crate) fn trials() -> Vec<Trial> {
    claims! {
        isolation_of_writes: isolation::writes_stay_inside;
        captures_now: captures::are_seen_as_they_are_now;
        captures_large: captures::may_be_large;
        results_both_ways: results::cross_both_ways;
        results_sessions: results::sessions_keep_their_state;
        results_side_by_side: results::calls_run_side_by_side, 4;
        results_one_by_one: results::calls_run_side_by_side, 1;
        results_handles: results::handles_travel;
        faults_processor: faults::of_the_processor;
        faults_stack: faults::of_the_stack;
        faults_aborts: faults::of_aborts;
        faults_exits: faults::of_exits;
        faults_stderr: faults::keep_what_was_said;
        faults_denied_calls: faults::of_denied_calls;
        panics_text: panics::carry_their_text;
        panics_place: panics::have_a_place;
        panics_caught: panics::can_be_caught;
        panics_twice: panics::abort_while_another_unwinds;
        limits_wall: limits::of_wall_time;
        limits_memory: limits::of_memory;
        limits_reply: limits::of_replies;
        rewind_on_request: rewind::on_request;
        rewind_one_isolate: rewind::concerns_one_isolate;
        rewind_heap: rewind::of_a_destroyed_heap;
        rewind_caller_unwinds: rewind::after_the_caller_unwinds;
        rewind_session: rewind::of_a_session_is_asked_for;
        replies_not_believed: replies::are_not_believed;
        replies_refused: replies::that_are_refused;
        evidence_values: evidence::of_values;
        evidence_faults: evidence::of_faults;
        evidence_refusals: evidence::of_refusals;
        evidence_threads: evidence::of_many_threads;
        honesty_requirements: honesty::of_requirements;
        honesty_faults: honesty::against_faults;
        honesty_hostile_code: honesty::of_refused_hostile_code;
    }
}
