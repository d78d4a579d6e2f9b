//! What a crossing leaves behind: passport events in the tracker, one span for `tracing`.

use std::panic::Location;

use ringfence_passport::{Crossing, CrossingId, Operation, Outcome, Region, Tracker};
use tracing::Span;
use tracing::field::Empty;

use crate::error::Error;

/// Records one crossing from the moment it enters. A crossing that is abandoned half-way (a panic of the caller's own code while
/// it decodes) is recorded as refused when this is dropped.
#[derive(Debug)]
pub(crate) struct Evidence<'t> {
    tracker: &'t Tracker,
    crossing: Option<CrossingId>,
    span: Span,
}

impl<'t> Evidence<'t> {
    /// A span for the crossing; nothing is entered yet.
    pub(crate) fn new(tracker: &'t Tracker, backend: &'static str, operation: Operation) -> Self {
        let span = tracing::debug_span!(
            "crossing",
            backend,
            operation = operation.name(),
            bytes_in = Empty,
            bytes_out = Empty,
            outcome = Empty,
        );
        Self { tracker, crossing: None, span }
    }

    /// The work goes in.
    pub(crate) fn enter(
        &mut self,
        backend: &'static str,
        operation: Operation,
        isolate: u64,
        arguments: Option<Region>,
        location: &'static Location<'static>,
    ) {
        self.span.record("bytes_in", arguments.map_or(0, |region| region.bytes));
        let crossing = Crossing { backend, operation, isolate, arguments, location };
        self.crossing = Some(self.tracker.enter(crossing));
    }

    /// The span, to be entered while the caller waits.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// A value came back.
    pub(crate) fn returned(mut self, reply: Region) {
        self.span.record("bytes_out", reply.bytes).record("outcome", "returned");
        self.leave(Outcome::Returned { reply: Some(reply) });
    }

    /// No value came back.
    pub(crate) fn failed(mut self, error: &Error) {
        self.span.record("outcome", error.name());
        match error {
            Error::Fault(fault) => {
                tracing::warn!(parent: &self.span, kind = fault.kind().name(), %fault, "fault");
                self.leave(Outcome::Faulted { kind: fault.kind().name() });
            }
            _ => self.leave(Outcome::Refused),
        }
    }

    fn leave(&mut self, outcome: Outcome) {
        if let Some(crossing) = self.crossing.take() {
            self.tracker.leave(crossing, outcome);
        }
    }
}

impl Drop for Evidence<'_> {
    fn drop(&mut self) {
        self.leave(Outcome::Refused);
    }
}
