//! The contract, held against each backend that claims a point. What each function demands stands in `ringfence_testkit::contract`.

mod support;

use ringfence::{Backend, Sandbox, Waiting};
use ringfence_testkit::contract::{
    Subject, captures, evidence, faults, honesty, isolation, limits, panics, replies, results, rewind,
};
use support::build;

macro_rules! hold {
    ($builder:expr; $($name:ident: $($check:ident)::+ $(, $argument:expr)?;)+) => {
        $(
            #[test]
            fn $name() {
                $($check)::+(&Subject::new(&|order| build($builder, order)) $(, $argument)?);
            }
        )+
    };
}

mod process {
    use super::*;

    hold! {
        Sandbox::builder().backend(Backend::Process);
        isolation_of_writes: isolation::writes_stay_inside;
        isolation_of_globals: isolation::globals_of_c_stay;
        captures_now: captures::are_seen_as_they_are_now;
        captures_locks: captures::are_seen_behind_locks;
        captures_large: captures::may_be_large;
        results_both_ways: results::cross_both_ways;
        results_sessions: results::sessions_keep_their_state;
        results_side_by_side: results::calls_run_side_by_side, 4;
        results_one_by_one: results::calls_run_side_by_side, 1;
        results_handles: results::handles_travel;
        faults_processor: faults::of_the_processor;
        faults_mapped_file: faults::of_a_mapped_file;
        faults_stack: faults::of_the_stack;
        faults_aborts: faults::of_aborts;
        faults_heaps: faults::of_corrupted_heaps;
        faults_exceptions: faults::of_uncaught_exceptions;
        faults_exits: faults::of_exits;
        faults_exits_of_rust: faults::of_exits_of_rust;
        faults_stderr: faults::keep_what_was_said;
        faults_denied_calls: faults::of_denied_calls;
        panics_text: panics::carry_their_text;
        panics_place: panics::have_a_place;
        panics_caught: panics::can_be_caught;
        panics_twice: panics::abort_while_another_unwinds;
        limits_wall: limits::of_wall_time;
        limits_cpu: limits::of_cpu_time;
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
        honesty_hostile_code: honesty::against_hostile_code;
    }
}

/// What the process backend claims when it spins.
mod spinning {
    use super::*;

    hold! {
        Sandbox::builder().backend(Backend::Process).waiting(Waiting::Spin);
        isolation_of_writes: isolation::writes_stay_inside;
        results_both_ways: results::cross_both_ways;
        results_side_by_side: results::calls_run_side_by_side, 4;
        faults_processor: faults::of_the_processor;
        faults_exits: faults::of_exits;
        limits_wall: limits::of_wall_time;
        limits_cpu: limits::of_cpu_time;
        rewind_one_isolate: rewind::concerns_one_isolate;
        evidence_faults: evidence::of_faults;
    }
}

mod direct {
    use super::*;

    hold! {
        Sandbox::builder().backend(Backend::Direct);
        captures_now: captures::are_seen_as_they_are_now;
        captures_locks: captures::are_seen_behind_locks;
        captures_large: captures::may_be_large;
        results_both_ways: results::cross_both_ways;
        results_side_by_side: results::calls_run_side_by_side, 4;
        results_handles: results::handles_travel;
        panics_text: panics::carry_their_text;
        limits_reply: limits::of_replies;
        rewind_caller_unwinds: rewind::after_the_caller_unwinds;
        replies_not_believed: replies::are_not_believed;
        replies_refused: replies::that_are_refused;
        evidence_values: evidence::of_values;
        evidence_faults: evidence::of_faults;
        evidence_refusals: evidence::of_refusals;
        evidence_threads: evidence::of_many_threads;
        honesty_requirements: honesty::of_requirements;
        honesty_no_isolation: honesty::of_no_isolation;
    }
}
