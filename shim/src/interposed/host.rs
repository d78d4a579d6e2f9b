//! The C library's own functions behind those interposed here.
//!
//! The allocating ones have names of their own (`__libc_malloc` and kin) and do not come this way. The others are looked up once, by a
//! constructor, so that they can be called from a signal handler; code that runs before it looks them up itself.
//!
//! # Safety
//! Each entry pairs a function's name with its C type.
#![expect(unsafe_code, reason = "functions found by name, and a constructor")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The next definition of a function after the program's own: the C library's, or that of another interposer.
pub(super) struct Real<F> {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
    function: PhantomData<F>,
}

impl<F: Copy> Real<F> {
    /// # Safety
    /// `F` must be the type of a pointer to the C function of that name.
    const unsafe fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicPtr::new(ptr::null_mut()), function: PhantomData }
    }

    /// The function; `None` where no library has it.
    #[inline]
    pub(super) fn get(&self) -> Option<F> {
        let mut address = self.address.load(Ordering::Relaxed);
        if address.is_null() {
            address = self.look_up();
        }
        // SAFETY: a function pointer is as large as a pointer; the type is right by the promise made to `new`.
        (!address.is_null()).then(|| unsafe { mem::transmute_copy(&address) })
    }

    /// Does not allocate when it finds something, and does not call anything that is interposed here.
    #[cold]
    fn look_up(&self) -> *mut c_void {
        // SAFETY: a C string.
        let address = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        if !address.is_null() {
            self.address.store(address, Ordering::Relaxed);
        }
        address
    }
}

macro_rules! functions {
    ($($constant:ident = $name:literal: $function:ty;)*) => {
        $(
            // SAFETY: the type is that of the C library's header.
            pub(super) static $constant: Real<$function> = unsafe { Real::new($name) };
        )*

        extern "C" fn look_up_all() {
            $( $constant.look_up(); )*
        }
    };
}

functions! {
    ABORT = c"abort": extern "C-unwind" fn() -> !;
    EXIT = c"exit": extern "C-unwind" fn(c_int) -> !;
    EXIT_NOW = c"_exit": extern "C-unwind" fn(c_int) -> !;
    QUICK_EXIT = c"quick_exit": extern "C-unwind" fn(c_int) -> !;
    STACK_CHK_FAIL = c"__stack_chk_fail": extern "C-unwind" fn() -> !;
    CHK_FAIL = c"__chk_fail": extern "C-unwind" fn() -> !;
    ASSERT_FAIL = c"__assert_fail": unsafe extern "C-unwind" fn(*const c_char, *const c_char, c_uint, *const c_char) -> !;
    RAISE = c"raise": extern "C-unwind" fn(c_int) -> c_int;
    THREAD_ATEXIT = c"__cxa_thread_atexit_impl":
        unsafe extern "C-unwind" fn(Option<unsafe extern "C" fn(*mut c_void)>, *mut c_void, *mut c_void) -> c_int;
    MALLOC_USABLE_SIZE = c"malloc_usable_size": unsafe extern "C" fn(*mut c_void) -> usize;
    POSIX_MEMALIGN = c"posix_memalign": unsafe extern "C" fn(*mut *mut c_void, usize, usize) -> c_int;
    SIGACTION = c"sigaction": unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int;
    ALIGNED_ALLOC = c"aligned_alloc": unsafe extern "C" fn(usize, usize) -> *mut c_void;
}

#[used]
#[unsafe(link_section = ".init_array")]
static LOOK_UP: extern "C" fn() = look_up_all;
