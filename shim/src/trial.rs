//! Which allocations of the running program can be routed, tried out.
//!
//! # Safety
//! The thread is routed to a heap on its own stack for the length of a few allocations, and what was allocated is given back where it
//! came from.
#![expect(unsafe_code, reason = "allocations through the dynamic symbols, and routing the thread")]

use std::alloc::Layout;
use std::ffi::{CStr, c_void};
use std::hint::black_box;
use std::mem;
use std::ptr::{self, NonNull};

use crate::heap::DomainHeap;
use crate::route::set_route;

/// Which allocations go to a domain's heap inside a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routing {
    /// Those through `malloc`, `calloc`, `realloc` and `posix_memalign`, as a shared library finds them: C and C++. True with the feature
    /// `interpose`, unless a program linked without dynamic symbols, or another `malloc`, stands before it.
    pub c: bool,
    /// Those of Rust: true with the wrapper [`Routed`](crate::Routed), or where the global allocator comes down to a routed `malloc`.
    pub rust: bool,
}

/// How much is asked for in the trial.
const BYTES: usize = 48;

#[repr(C, align(16))]
struct Scratch([u8; 16 * 1024]);

/// Routes the calling thread until it is dropped.
struct Rerouted(Option<NonNull<DomainHeap>>);

impl Rerouted {
    /// # Safety
    /// As for [`set_route`], until the value is dropped.
    unsafe fn to(heap: NonNull<DomainHeap>) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { set_route(Some(heap)) })
    }
}

impl Drop for Rerouted {
    fn drop(&mut self) {
        // SAFETY: the route that the thread had.
        unsafe { set_route(self.0) };
    }
}

/// Tries out which allocations can be routed, on the calling thread, with a heap of its own.
///
/// The thread's route is as before when it returns, or unwinds.
///
/// # Cost
/// A few microseconds, and 16 KiB of stack.
#[must_use]
pub fn routing() -> Routing {
    let mut scratch = Scratch([0; 16 * 1024]);
    let range = scratch.0.as_ptr_range();
    let lands = |memory: *mut c_void| range.contains(&memory.cast_const().cast());
    let start = NonNull::from(&mut scratch.0).cast::<u8>();
    // SAFETY: zeroed, and used for nothing else until this function returns.
    let Some(heap) = (unsafe { DomainHeap::init(start, size_of::<Scratch>(), size_of::<Scratch>()) }) else {
        return Routing { c: false, rust: false };
    };
    let family = Family::find();
    let layout = black_box(Layout::new::<[u128; BYTES / 16]>());
    let (rust, c) = {
        // SAFETY: the heap lies on this thread's stack, below; what is allocated is told apart by its address before it is freed.
        let _rerouted = unsafe { Rerouted::to(heap) };
        // SAFETY: the layout is not empty.
        let rust = black_box(unsafe { std::alloc::alloc(layout) });
        (rust.cast::<c_void>(), family.as_ref().map(Family::allocate))
    };
    let routing = Routing { c: c.is_some_and(|c| c.into_iter().all(lands)), rust: lands(rust) };
    if !rust.is_null() && !routing.rust {
        // SAFETY: the global allocator gave it for this layout, and not from the scratch heap.
        unsafe { std::alloc::dealloc(rust.cast(), layout) };
    }
    for memory in c.into_iter().flatten().filter(|memory| !lands(*memory)) {
        if let Some(family) = &family {
            // SAFETY: its own family allocated it, and not from the scratch heap.
            unsafe { (family.free)(memory) };
        }
    }
    routing
}

/// The family as the dynamic linker finds it for a shared library.
struct Family {
    malloc: unsafe extern "C" fn(usize) -> *mut c_void,
    calloc: unsafe extern "C" fn(usize, usize) -> *mut c_void,
    realloc: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
    posix_memalign: unsafe extern "C" fn(*mut *mut c_void, usize, usize) -> i32,
    free: unsafe extern "C" fn(*mut c_void),
}

impl Family {
    fn find() -> Option<Self> {
        // SAFETY: the field has the type that C gives the function of that name; so below.
        let malloc = unsafe { find(c"malloc") }?;
        // SAFETY: as above.
        let calloc = unsafe { find(c"calloc") }?;
        // SAFETY: as above.
        let realloc = unsafe { find(c"realloc") }?;
        // SAFETY: as above.
        let posix_memalign = unsafe { find(c"posix_memalign") }?;
        // SAFETY: as above.
        let free = unsafe { find(c"free") }?;
        Some(Self { malloc, calloc, realloc, posix_memalign, free })
    }

    fn allocate(&self) -> [*mut c_void; 4] {
        let mut aligned = ptr::null_mut();
        // SAFETY: any size may be asked for.
        let plain = unsafe { (self.malloc)(BYTES) };
        // SAFETY: any size may be asked for.
        let zeroed = unsafe { (self.calloc)(1, BYTES) };
        // SAFETY: a null pointer is as good as a `malloc`.
        let resized = unsafe { (self.realloc)(ptr::null_mut(), BYTES) };
        // SAFETY: the result is written to a local variable.
        let _code = unsafe { (self.posix_memalign)(&raw mut aligned, 64, BYTES) };
        [plain, zeroed, resized, aligned]
    }
}

/// # Safety
/// `F` must be the type of a pointer to the function of that name.
unsafe fn find<F>(name: &CStr) -> Option<F> {
    // SAFETY: a C string; the default scope is always there.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    // SAFETY: a function pointer is as large as a pointer, and not null; that it has the right type is the caller's promise.
    (!address.is_null()).then(|| unsafe { mem::transmute_copy(&address) })
}
