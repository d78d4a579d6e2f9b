//! The crossing itself, the same on every backend: encode, enter, take the reply, leave evidence.

use std::any::type_name;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use ringfence_passport::{Operation, Region, Tracker};

use crate::backend::{Backend, Closure, Data, Entry, Isolate, Purpose, Work};
use crate::codec::{
    Arrived, Bincode, Codec, DecodeError, Decoder, EncodeError, Encoder, Inward, Outward, encode_into,
};
use crate::error::Error;
use crate::evidence::Evidence;
use crate::guarantees::Guarantees;
use crate::limits::Limits;
use crate::session::Session;

/// Runs closures and functions where they cannot hurt the caller.
///
/// A sandbox is a pool of isolates: it is shared between threads by reference or by cheap clones, and calls from many threads run
/// side by side up to the number of workers. Its calls are stateless: any isolate may serve them, and code must not rely on what
/// an earlier call left behind. State lives in a [`Session`].
///
/// `C` is the codec of arguments and results.
#[derive(Debug)]
pub struct Sandbox<C = Bincode> {
    shared: Arc<Shared>,
    codec: PhantomData<fn() -> C>,
}

/// What sandboxes and their sessions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) decode_budget_bytes: usize,
    pub(crate) tracker: Tracker,
}

impl<C> Clone for Sandbox<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), codec: PhantomData }
    }
}

impl<C: Codec> Sandbox<C> {
    /// A sandbox over a backend that was built with these limits.
    #[must_use]
    pub fn new(backend: Box<dyn Backend>, limits: &Limits, tracker: Tracker) -> Self {
        let decode_budget_bytes = limits.decode_budget_bytes();
        Self { shared: Arc::new(Shared { backend, decode_budget_bytes, tracker }), codec: PhantomData }
    }

    /// Runs a closure inside. It sees what it captured as it is now, and can only read it: what must be owned or changed inside is
    /// passed to [`call`](Self::call).
    ///
    /// # Errors
    /// [`Error::Fault`] when the closure did not come to its end; other errors when it never began.
    ///
    /// # Cost
    /// Process backend: a fork of the caller, priced by the size of its page tables, plus its confinement.
    #[track_caller]
    pub fn run<F, R>(&self, closure: F) -> Result<R, Error>
    where
        C: Outward<R>,
        F: Fn() -> R,
    {
        let mut result = None;
        let task = Task {
            operation: Operation::Run,
            entry: Entry::run::<C, F, R>(),
            arguments: Arguments::Captured(Closure::new(&closure)),
            reply_type: type_name::<R>(),
            location: Location::caller(),
        };
        self.shared.lend(Purpose::Run, &task, &mut |input| {
            result = Some(<C as Outward<R>>::decode(input)?);
            Ok(())
        })?;
        taken(result)
    }

    /// Calls a function inside with arguments that are encoded on this side and decoded on the other. The function captures nothing
    /// (this is checked when the call is built; `cargo check` does not see it).
    ///
    /// Several arguments go as a tuple: `sandbox.call(|(a, b): (u64, u64)| a + b, (1u64, 2u64))`. An integer literal among them
    /// needs its type, as in `4u64`: which type crosses is not inferred from the function. Borrowed arguments arrive as borrows of
    /// a copy: `&str` and `&[u8]`, as `&bytes[..]`; other slices go as a `Vec`.
    ///
    /// # Errors
    /// [`Error::Fault`] when the function did not come to its end, [`Error::Arguments`] when the arguments do not fit; other errors
    /// when it never began.
    ///
    /// # Cost
    /// Process backend: a request word and a reply word in shared memory, two context switches. Byte slices are copied once on the
    /// way in; results are encoded inside and decoded here, one copy each.
    #[track_caller]
    pub fn call<F, A, R>(&self, function: F, arguments: A) -> Result<R, Error>
    where
        C: Inward<A> + Outward<R>,
        F: for<'a> Fn(Arrived<'a, C, A>) -> R + Copy + 'static,
    {
        let _ = function;
        let mut result = None;
        let encode = |out: &mut Encoder<'_>| <C as Inward<A>>::encode(&arguments, out);
        let task = call_task::<C, F, A, R>(Operation::Call, &encode, Location::caller());
        self.shared.lend(Purpose::Call, &task, &mut |input| {
            result = Some(<C as Outward<R>>::decode(input)?);
            Ok(())
        })?;
        taken(result)
    }

    /// Opens a session: one isolate whose state lives until it is dropped, reset, or faults.
    ///
    /// # Errors
    /// Why no isolate can be had; [`Error::TooManySessions`] where a backend bounds them (the process backend: 1,024 at once).
    pub fn session(&self) -> Result<Session<C>, Error> {
        Ok(Session::new(Arc::clone(&self.shared), self.shared.backend.open()?))
    }

    /// Replaces every isolate of the pool by a pristine one. Sessions are not touched.
    ///
    /// # Errors
    /// Why no pristine isolate can be had.
    pub fn reset(&self) -> Result<(), Error> {
        self.shared.backend.reset()
    }

    /// What is enforced here and now.
    #[must_use]
    pub fn guarantees(&self) -> &Guarantees {
        self.shared.backend.guarantees()
    }

    /// The backend's name.
    #[must_use]
    pub fn backend_name(&self) -> &'static str {
        self.shared.backend.name()
    }

    /// Where the crossings leave their evidence.
    #[must_use]
    pub fn tracker(&self) -> &Tracker {
        &self.shared.tracker
    }
}

/// How a crossing's arguments are written into an isolate.
type Encode<'e> = &'e dyn Fn(&mut Encoder<'_>) -> Result<(), EncodeError>;

/// Everything about one crossing but its isolate and its result.
pub(crate) struct Task<'t> {
    operation: Operation,
    entry: Entry,
    arguments: Arguments<'t>,
    reply_type: &'static str,
    location: &'static Location<'static>,
}

enum Arguments<'t> {
    Encoded { type_name: &'static str, encode: Encode<'t> },
    Captured(Closure<'t>),
}

/// The task of a `call`, on a sandbox or in a session.
pub(crate) fn call_task<'t, C, F, A, R>(
    operation: Operation,
    encode: Encode<'t>,
    location: &'static Location<'static>,
) -> Task<'t>
where
    C: Inward<A> + Outward<R>,
    F: for<'a> Fn(Arrived<'a, C, A>) -> R + Copy + 'static,
{
    Task {
        operation,
        entry: Entry::call::<C, F, A, R>(),
        arguments: Arguments::Encoded { type_name: type_name::<A>(), encode },
        reply_type: type_name::<R>(),
        location,
    }
}

/// How a crossing's reply is read.
pub(crate) type Decode<'d> = &'d mut dyn FnMut(&mut Decoder<'_>) -> Result<(), DecodeError>;

impl Shared {
    fn lend(&self, purpose: Purpose, task: &Task<'_>, decode: Decode<'_>) -> Result<(), Error> {
        let mut evidence = Evidence::new(&self.tracker, &*self.backend, task.operation);
        let mut lent = false;
        let crossed = self.backend.lend(purpose, &mut |isolate| {
            // A backend lends one isolate a call; a second one would find the work done.
            if std::mem::replace(&mut lent, true) {
                Ok(())
            } else {
                self.cross(&mut evidence, isolate, task, decode)
            }
        });
        // No isolate was lent: the crossing ended before it began.
        if let Err(error) = &crossed
            && !evidence.is_over()
        {
            evidence.failed(error);
        }
        crossed
    }

    /// One crossing of one isolate.
    pub(crate) fn cross(
        &self,
        evidence: &mut Evidence<'_>,
        isolate: &mut dyn Isolate,
        task: &Task<'_>,
        decode: Decode<'_>,
    ) -> Result<(), Error> {
        match self.enter(evidence, isolate, task, decode) {
            Ok(reply) => {
                evidence.returned(reply);
                Ok(())
            }
            Err(error) => {
                evidence.failed(&error);
                Err(error)
            }
        }
    }

    #[inline]
    fn enter(
        &self,
        evidence: &mut Evidence<'_>,
        isolate: &mut dyn Isolate,
        task: &Task<'_>,
        decode: Decode<'_>,
    ) -> Result<Region, Error> {
        let (data, arguments) = match &task.arguments {
            Arguments::Encoded { type_name, encode } => {
                let outlet = isolate.request();
                let address = outlet.address();
                let bytes = encode_into(outlet, encode).map_err(Error::Arguments)?;
                (Data::Request { bytes }, Some(Region { address, bytes, type_name }))
            }
            Arguments::Captured(closure) => (Data::Closure(*closure), None),
        };
        evidence.enter(&*self.backend, task.operation, isolate.id(), arguments, task.location);
        let source = evidence.within(|| isolate.enter(Work::new(task.entry, data)))?;
        let reply =
            Region { address: source.address(), bytes: source.remaining(), type_name: task.reply_type };
        let mut input = Decoder::new(source, self.decode_budget_bytes);
        let decoded = decode(&mut input).and_then(|()| input.finish());
        match decoded {
            Ok(()) => Ok(reply),
            Err(error) => Err(isolate.reject(error).into()),
        }
    }
}

/// The result of a crossing that succeeded.
pub(crate) fn taken<R>(result: Option<R>) -> Result<R, Error> {
    // A backend that reports success without having lent an isolate breaks its contract.
    result.ok_or_else(|| Error::os("crossing", std::io::ErrorKind::Other))
}

#[cfg(test)]
mod tests;
