//! Foreign code that misbehaves: small C and C++ functions, each named for what it does. The code is in `c/`.
//!
//! Functions that act on the system return what the kernel would: a result, or a negated error number. What each does with no
//! sandbox at all is pinned by the tests of this package.
//!
//! # Safety
//! Foreign functions are declared, none is called here. Each declaration has the types of its definition in `c/`. All are unsafe
//! to call. What the caller must see to stands with each function; those under "Deadly" have no safe use at all, and belong where
//! their process, or their domain, is thrown away afterwards.
#![expect(unsafe_code, reason = "declares foreign functions")]

use std::ffi::{c_char, c_int, c_long, c_uchar, c_ulong, c_void};

// Deadly: the process does not survive.
unsafe extern "C" {
    /// Stores 42 at address 0: `SIGSEGV`.
    ///
    /// # Safety
    /// Has no safe use: the process ends or its memory is corrupted.
    pub fn null_write();
    /// Loads from address 0: `SIGSEGV`.
    ///
    /// # Safety
    /// Has no safe use: the process ends or its memory is corrupted.
    pub fn null_read() -> c_long;
    /// Jumps to an address.
    ///
    /// # Safety
    /// Has no safe use, unless a function without arguments starts at `address`.
    pub fn wild_jump(address: usize);
    /// Recurses until the stack ends: `SIGSEGV`.
    ///
    /// # Safety
    /// Has no safe use: the process ends or its memory is corrupted.
    pub fn stack_overflow() -> c_long;
    /// Divides by zero: `SIGFPE`.
    ///
    /// # Safety
    /// Has no safe use: the process ends or its memory is corrupted.
    pub fn divide_by_zero(dividend: c_int) -> c_int;
    /// Runs `ud2`: `SIGILL`.
    ///
    /// # Safety
    /// Has no safe use: the process ends or its memory is corrupted.
    pub fn illegal_instruction();
    /// Maps the page behind the end of a file of `file_bytes` and reads it: `SIGBUS`; a negated error number where it cannot be
    /// mapped.
    ///
    /// # Safety
    /// Has no safe use: the process ends or its memory is corrupted.
    pub fn bus_error(descriptor: c_int, file_bytes: c_long) -> c_long;
    /// Writes past a stack buffer under `-fstack-protector-all`: `SIGABRT`, with a line on standard error.
    ///
    /// # Safety
    /// Has no safe use: the process ends or its memory is corrupted.
    pub fn stack_smash();
    /// Writes past a heap buffer, over the size of the next chunk, and frees it: glibc aborts with a line on standard error.
    ///
    /// # Safety
    /// Has no safe use: the process ends or its memory is corrupted.
    pub fn heap_overflow();
    /// Frees one chunk twice: glibc aborts with a line on standard error.
    ///
    /// # Safety
    /// Has no safe use: the process ends or its memory is corrupted.
    pub fn double_free();
    /// Allocates 64 chunks, writes over all of them and what lies around each, and frees them: glibc aborts.
    ///
    /// # Safety
    /// Has no safe use: the process ends or its memory is corrupted.
    pub fn destroy_own_heap();
    /// `abort()`: `SIGABRT`.
    ///
    /// # Safety
    /// The process may end here.
    pub fn call_abort();
    /// `exit(code)`: exit handlers run and streams are flushed.
    ///
    /// # Safety
    /// The process may end here, and exit handlers may run.
    pub fn exit_with(code: c_int);
    /// `_exit(code)`: nothing runs.
    ///
    /// # Safety
    /// The process may end here.
    pub fn underscore_exit(code: c_int);
    /// `quick_exit(code)`: exit handlers do not run.
    ///
    /// # Safety
    /// The process may end here.
    pub fn quick_exit_with(code: c_int);
    /// Throws a C++ exception that nothing catches: `std::terminate` aborts, with a line on standard error.
    ///
    /// # Safety
    /// The process may end here.
    pub fn cpp_throw_uncaught();
    /// Turns in a loop for ever.
    ///
    /// # Safety
    /// The call may never return.
    pub fn endless_loop();
    /// Sleeps for ever.
    ///
    /// # Safety
    /// The call may never return.
    pub fn sleep_forever();
    /// Sends `SIGKILL` to the parent.
    ///
    /// # Safety
    /// The parent is expendable.
    pub fn kill_parent() -> c_long;
}

// Memory.
unsafe extern "C" {
    /// FNV-1a of the bytes: the harmless function.
    ///
    /// # Safety
    /// `bytes` is readable for `length` bytes.
    pub fn checksum(bytes: *const c_uchar, length: usize) -> u64;
    /// Adds one to a static and returns it: 1 on the first call.
    ///
    /// # Safety
    /// No other thread calls it at the same time.
    pub fn static_counter() -> c_long;
    /// Stores a byte.
    ///
    /// # Safety
    /// The byte is writable and nothing relies on its value.
    pub fn store_at(address: usize, value: c_uchar);
    /// Loads a byte.
    ///
    /// # Safety
    /// The byte is readable.
    pub fn load_at(address: usize) -> c_uchar;
    /// Allocates and touches `bytes` in pieces of 1 MiB, then frees them and returns how much it had. A refused allocation is
    /// used all the same: a store to address 0.
    ///
    /// # Safety
    /// The process may end here.
    pub fn memory_hog_or_null_write(bytes: usize) -> usize;
    /// As [`memory_hog_or_null_write`], but a refused allocation aborts.
    ///
    /// # Safety
    /// The process may end here.
    pub fn memory_hog_or_abort(bytes: usize) -> usize;
    /// Writes code to a new page, makes it executable with `mprotect` and runs it: 42, or a negated error number.
    ///
    /// # Safety
    /// A process may change its own new page.
    pub fn mprotect_exec() -> c_long;
    /// Maps a page writable and executable, writes code to it and runs it: 42, or a negated error number.
    ///
    /// # Safety
    /// A process may change its own new page.
    pub fn map_executable() -> c_long;
}

// Control flow, signals and threads.
unsafe extern "C" {
    /// Throws and catches a C++ exception: 1.
    ///
    /// # Safety
    /// No obligation.
    pub fn cpp_throw_and_catch() -> c_int;
    /// Returns `value`, which must not be 0, through `longjmp`.
    ///
    /// # Safety
    /// No other thread calls it at the same time.
    pub fn longjmp_within(value: c_int) -> c_int;
    /// `raise(signal)`.
    ///
    /// # Safety
    /// The process may end here.
    pub fn raise_signal(signal: c_int) -> c_int;
    /// Installs a handler, raises the signal, and returns its number once the handler has run; a negated error number where either
    /// is refused. The handler stays.
    ///
    /// # Safety
    /// Nothing relies on the signal's present handler, and no other thread calls this at the same time.
    pub fn install_handler_and_raise(signal: c_int) -> c_int;
    /// Registers an exit handler that writes `exit handler ran` to a descriptor. 0 when it is registered.
    ///
    /// # Safety
    /// The descriptor stays open until the process ends, or nothing minds the write.
    pub fn leave_exit_handler(descriptor: c_int) -> c_int;
    /// Starts a thread that counts its turns and never ends. 0, or an error number.
    ///
    /// # Safety
    /// The code of this library stays mapped.
    pub fn spawn_thread_outliving_call() -> c_int;
    /// How many turns the threads of [`spawn_thread_outliving_call`] have made in this process.
    ///
    /// # Safety
    /// No obligation.
    pub fn outliving_thread_turns() -> c_long;
    /// Locks a static mutex and returns with it held: the second call in a process never returns.
    ///
    /// # Safety
    /// The call may never return.
    pub fn lock_and_keep() -> c_int;
}

// Streams, descriptors, files and the environment.
unsafe extern "C" {
    /// Reads one byte: the number of bytes, or a negated error number.
    ///
    /// # Safety
    /// The descriptor is one that may be read from, and the call may never return.
    pub fn blocking_read(descriptor: c_int) -> c_long;
    /// Puts text into the buffer of `stdout`, and does not flush it. Negative on failure.
    ///
    /// # Safety
    /// `text` is a C string.
    pub fn print_to_stdout(text: *const c_char) -> c_int;
    /// Writes text to `stderr`, which has no buffer. Negative on failure.
    ///
    /// # Safety
    /// `text` is a C string.
    pub fn print_to_stderr(text: *const c_char) -> c_int;
    /// Writes text: the number of bytes, or a negated error number.
    ///
    /// # Safety
    /// `text` is a C string, and the descriptor is one that may be written to.
    pub fn write_to_descriptor(descriptor: c_int, text: *const c_char) -> c_long;
    /// Opens a file for reading: the descriptor, or a negated error number.
    ///
    /// # Safety
    /// `path` is a C string.
    pub fn open_file(path: *const c_char) -> c_long;
    /// Closes every descriptor below the limit, and below 65,536: how many were open.
    ///
    /// # Safety
    /// Nothing in the process owns a descriptor that it will use or close later.
    pub fn close_every_descriptor() -> c_int;
    /// Copies the start of an environment variable: its length, which can pass `out_bytes`, or -1 where there is none.
    ///
    /// # Safety
    /// `name` is a C string, `out` is writable for `out_bytes` bytes, and no thread changes the environment.
    pub fn read_env(name: *const c_char, out: *mut c_char, out_bytes: usize) -> c_long;
}

// System calls. Everything that is not named here goes through `raw_syscall`.
unsafe extern "C" {
    /// A system call by the `syscall` instruction: RAX as the kernel left it.
    ///
    /// # Safety
    /// The call keeps the rules of the memory and the descriptors of this process.
    pub fn raw_syscall(
        number: c_long,
        a: c_long,
        b: c_long,
        c: c_long,
        d: c_long,
        e: c_long,
        f: c_long,
    ) -> c_long;
    /// A system call of the x32 table, with zeros as arguments: `-ENOSYS` where the kernel has none.
    ///
    /// # Safety
    /// As [`raw_syscall`].
    pub fn x32_syscall(number: c_long) -> c_long;
    /// A system call of the 32-bit table by `int $0x80`, with zeros as arguments: `SIGSEGV` where the kernel has none.
    ///
    /// # Safety
    /// As [`raw_syscall`]; the process may end here.
    pub fn int80_syscall(number: c_int) -> c_long;
    /// Forks by system call. The child stays until it is killed; its number is returned, or a negated error number.
    ///
    /// # Safety
    /// The caller kills the child and waits for it.
    pub fn fork_child() -> c_long;
    /// `kill`.
    ///
    /// # Safety
    /// The process is one that the caller may signal.
    pub fn kill_process(pid: c_int, signal: c_int) -> c_long;
    /// `tkill`.
    ///
    /// # Safety
    /// The thread is one that the caller may signal.
    pub fn tkill_thread(tid: c_int, signal: c_int) -> c_long;
    /// `tgkill`.
    ///
    /// # Safety
    /// The thread is one that the caller may signal.
    pub fn tgkill_thread(pid: c_int, tid: c_int, signal: c_int) -> c_long;
    /// `ptrace(PTRACE_ATTACH)`: the process stops.
    ///
    /// # Safety
    /// The process is one that the caller may stop.
    pub fn ptrace_attach(pid: c_int) -> c_long;
    /// Writes into another process: the number of bytes, or a negated error number.
    ///
    /// # Safety
    /// `bytes` is readable for `length` bytes, and nothing in that process relies on what is there.
    pub fn process_vm_write(pid: c_int, address: usize, bytes: *const c_void, length: usize) -> c_long;
    /// Reads from another process: the number of bytes, or a negated error number.
    ///
    /// # Safety
    /// `out` is writable for `length` bytes.
    pub fn process_vm_read(pid: c_int, address: usize, out: *mut c_void, length: usize) -> c_long;
    /// Sets another process's soft `RLIMIT_MSGQUEUE`, on which nothing here depends: 0, or a negated error number.
    ///
    /// # Safety
    /// The process is one that the caller may change.
    pub fn prlimit_other(pid: c_int, message_queue_bytes: c_ulong) -> c_long;
    /// `prctl(PR_SET_PDEATHSIG, 0)`: no signal when the parent dies.
    ///
    /// # Safety
    /// Nothing relies on that signal.
    pub fn set_pdeathsig_off() -> c_long;
    /// `prctl(PR_SET_DUMPABLE, 1)`.
    ///
    /// # Safety
    /// Nothing relies on the process being closed to others.
    pub fn set_dumpable() -> c_long;
}
