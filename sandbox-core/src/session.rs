//! One isolate that keeps its state.

use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use ringfence_passport::Operation;

use crate::backend::Isolate;
use crate::codec::{Arrived, Bincode, Codec, Encoder, Inward, Outward};
use crate::error::Error;
use crate::evidence::Evidence;
use crate::sandbox::{Shared, call_task, taken};

/// One isolate whose statics, heap and thread-locals live from call to call, until it is dropped, [reset](Self::reset), or faults.
///
/// After a fault every use is [`Error::Stale`] until it is reset: the state that earlier calls built is gone, and code that goes on
/// as if it were there would be wrong.
#[derive(Debug)]
pub struct Session<C = Bincode> {
    // Dropped before `shared`: an isolate ends before the backend it came from.
    isolate: Box<dyn Isolate>,
    shared: Arc<Shared>,
    codec: PhantomData<fn() -> C>,
}

impl<C: Codec> Session<C> {
    pub(crate) fn new(shared: Arc<Shared>, isolate: Box<dyn Isolate>) -> Self {
        Self { isolate, shared, codec: PhantomData }
    }

    /// Calls a function in this isolate; as [`Sandbox::call`](crate::Sandbox::call), but with the state of earlier calls.
    ///
    /// # Errors
    /// As [`Sandbox::call`](crate::Sandbox::call); [`Error::Stale`] after a fault.
    #[track_caller]
    pub fn call<F, A, R>(&mut self, function: F, arguments: A) -> Result<R, Error>
    where
        C: Inward<A> + Outward<R>,
        F: for<'a> Fn(Arrived<'a, C, A>) -> R + Copy + 'static,
    {
        let _ = function;
        self.isolate.ready()?;
        let mut result = None;
        let encode = |out: &mut Encoder<'_>| <C as Inward<A>>::encode(&arguments, out);
        let task = call_task::<C, F, A, R>(Operation::Session, &encode, Location::caller());
        let mut evidence = Evidence::new(&self.shared.tracker, &*self.shared.backend, Operation::Session);
        let crossed = self.shared.cross(&mut evidence, &mut *self.isolate, &task, &mut |input| {
            result = Some(<C as Outward<R>>::decode(input)?);
            Ok(())
        });
        self.isolate.settle();
        crossed.and_then(|()| taken(result))
    }

    /// Throws the state away: the session goes on in a pristine isolate.
    ///
    /// # Errors
    /// Why no pristine isolate can be had.
    pub fn reset(&mut self) -> Result<(), Error> {
        self.isolate = self.shared.backend.open()?;
        Ok(())
    }
}
