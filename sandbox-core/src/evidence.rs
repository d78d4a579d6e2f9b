//! What a crossing leaves behind: passport events in the tracker, one span for `tracing`.

use std::panic::Location;

use ringfence_passport::{Crossing, CrossingId, Operation, Outcome, Region, Tracker};
use tracing::field::Empty;
use tracing::{Level, Span};

use crate::backend::Backend;
use crate::error::Error;

/// Records one crossing from the moment it enters. A crossing that is abandoned half-way (a panic of the caller's own code while
/// it decodes) is recorded as refused when this is dropped.
///
/// Where nobody looks, neither a tracker nor a subscriber, it costs a few instructions.
#[derive(Debug)]
pub(crate) struct Evidence<'t> {
    tracker: &'t Tracker,
    crossing: Option<CrossingId>,
    /// None where no subscriber wants it.
    span: Option<Span>,
    is_over: bool,
}

impl<'t> Evidence<'t> {
    /// A span for the crossing; nothing is entered yet.
    #[inline]
    pub(crate) fn new(tracker: &'t Tracker, backend: &dyn Backend, operation: Operation) -> Self {
        let span = tracing::level_enabled!(Level::DEBUG).then(|| span(backend.name(), operation));
        Self { tracker, crossing: None, span, is_over: false }
    }

    /// The work goes in.
    #[inline]
    pub(crate) fn enter(
        &mut self,
        backend: &dyn Backend,
        operation: Operation,
        isolate: u64,
        arguments: Option<Region>,
        location: &'static Location<'static>,
    ) {
        if let Some(span) = &self.span {
            span.record("bytes_in", arguments.map_or(0, |region| region.bytes));
        }
        if self.tracker.is_enabled() {
            let backend = backend.name();
            let crossing = Crossing { backend, operation, isolate, arguments, location };
            self.crossing = Some(self.tracker.enter(crossing));
        }
    }

    /// The caller waits: what is done meanwhile belongs to the span.
    #[inline]
    pub(crate) fn within<R>(&self, wait: impl FnOnce() -> R) -> R {
        match &self.span {
            Some(span) => span.in_scope(wait),
            None => wait(),
        }
    }

    /// A value came back.
    #[inline]
    pub(crate) fn returned(&mut self, reply: Region) {
        if let Some(span) = &self.span {
            span.record("bytes_out", reply.bytes).record("outcome", "returned");
        }
        self.leave(Outcome::Returned { reply: Some(reply) });
    }

    /// No value came back.
    #[cold]
    pub(crate) fn failed(&mut self, error: &Error) {
        let span = self.span.clone().unwrap_or_else(Span::none);
        span.record("outcome", error.name());
        match error {
            Error::Fault(fault) => {
                tracing::warn!(parent: &span, kind = fault.kind().name(), %fault, "fault");
                self.leave(Outcome::Faulted { kind: fault.kind().name() });
            }
            _ => self.leave(Outcome::Refused),
        }
    }

    /// Whether it has been said how the crossing ended.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    #[inline]
    fn leave(&mut self, outcome: Outcome) {
        self.is_over = true;
        if let Some(crossing) = self.crossing.take() {
            self.tracker.leave(crossing, outcome);
        }
    }
}

#[cold]
fn span(backend: &'static str, operation: Operation) -> Span {
    tracing::debug_span!(
        "crossing",
        backend,
        operation = operation.name(),
        bytes_in = Empty,
        bytes_out = Empty,
        outcome = Empty,
    )
}

impl Drop for Evidence<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.crossing.is_some() {
            self.leave(Outcome::Refused);
        }
    }
}
