//! The rows.

use ringfence_core::Processes;

use super::{Does, Row, foreign, kernel, language};
use crate::child::End;

/// Lists the rows, and makes a macro that hands their names to another.
macro_rules! rows {
    ($($name:ident => $row:expr;)*) => {
        /// Every row by its name, which is that of its tests.
        pub static ROWS: &[(&str, Row)] = &[$((stringify!($name), $row)),*];

        /// Calls the macro `$then` with the names of all rows.
        #[macro_export]
        macro_rules! every_row {
            ($then:ident) => { $then! { $($name)* } };
        }
    };
}

const EXITS_3: Does = Does::Ends(End::Exit(3));
const EXITS_4: Does = Does::Ends(End::Exit(4));
const EXITS_6: Does = Does::Ends(End::Exit(6));
const ABORTS: Does = Does::Ends(End::Signal(libc::SIGABRT));

rows! {
    println => Row::new("`println!`", language::print).remark("process: descriptor 1 is the null device").touches();
    eprintln => Row::new("`eprintln!`", language::print_error).remark("the end of it goes into the fault, if there is one").touches();
    flood_standard_error => Row::new("more than 256 KiB to standard error", language::flood_standard_error)
        .process(Does::Refused(libc::EPERM)).remark("`eprintln!` panics on it; the room is emptied between calls").touches();
    env_var => Row::new("`env::var`", language::read_variable).remark("`call`: as it was when the sandbox was built");
    env_set_var => Row::new("`env::set_var`", language::set_variable).changes(language::variable_is_seen);
    static_write => Row::new("store to a `static`", language::write_static).changes(language::static_is_seen);
    static_changed_later => Row::new("load from a `static` the caller changed after `build`", language::read_static_changed_after)
        .before(language::choose_static_before).after(language::change_static_after).call(Does::Outdated)
        .remark("pass it as an argument, or build the sandbox later");
    thread_local_plain => Row::new("thread-local without `Drop`", language::thread_local_plain)
        .changes(language::thread_local_plain_is_seen).mpk(Does::PrivateCopy);
    thread_local_dropped => Row::new("thread-local with `Drop`", language::thread_local_dropped)
        .changes(language::thread_local_dropped_is_seen).remark("its destructor does not run inside").mpk(Does::PrivateCopy);
    mutex => Row::new("`Mutex` of the caller, unlocked", language::lock_free_mutex).changes(language::lock_is_seen);
    mutex_held_later => Row::new("`Mutex` another thread locked after `build`", language::lock_held_late)
        .after(language::hold_late).call(Does::Works).run(Does::TimesOut).direct(Does::Hangs)
        .remark("process: `run` forks the lock as it is at that moment").touches();
    mutex_held_before => Row::new("`Mutex` another thread had locked at `build`", language::lock_held_early)
        .before(language::hold_early).process(Does::TimesOut).direct(Does::Hangs)
        .remark("process: `early()` at the top of `main` spares `call` this").touches();
    read_write_lock => Row::new("`RwLock`, unlocked", language::read_write_lock).touches();
    condition => Row::new("`Condvar::wait_timeout`", language::wait_on_condition);
    once_set_before => Row::new("`OnceLock` that is set", language::read_once).before(language::set_once_before);
    once_set_inside => Row::new("`OnceLock` set inside", language::set_once).changes(language::once_is_seen);
    arc_clone => Row::new("`Arc::clone` of the caller's", language::clone_arc).before(language::make_arc)
        .changes(language::arc_is_seen);
    cell => Row::new("`Cell` of the caller", language::set_cell).changes(language::cell_is_seen);
    catch_unwind => Row::new("panic caught by `catch_unwind`", language::catch_panic);
    panic => Row::new("panic that nothing catches", language::leave_panic).everywhere(Does::Panics);
    index_out_of_range => Row::new("index out of range", language::overflow_index).everywhere(Does::Panics);
    spawn_thread => Row::new("`thread::spawn`", language::spawn_thread).process(Does::Refused(libc::EAGAIN)).touches();
    spawn_thread_allowed => Row::new("`thread::spawn` with `Processes::Threads`", language::spawn_thread)
        .processes(Processes::Threads).touches();
    thread_current => Row::new("`thread::current`", language::name_thread).touches();
    available_parallelism => Row::new("`thread::available_parallelism`", language::count_processors)
        .remark("`call`: often 1, since a worker starts each call on its caller's CPU");
    clocks => Row::new("`Instant::now`, `SystemTime::now`", language::read_clocks);
    sleep => Row::new("`thread::sleep`", language::sleep).remark("counts towards the wall-time limit");
    hash_map => Row::new("`HashMap` with its random keys", language::hash_map)
        .remark("process: forked copies share keys that were drawn before");
    getrandom => Row::new("`getrandom`", kernel::random);
    large_vector => Row::new("`vec!` of 64 MiB", language::large_vector);
    malloc => Row::new("`malloc` of 64 MiB", foreign::c_allocate);
    malloc_beyond => Row::new("`malloc` of 2 GiB, beyond the limit", foreign::c_allocate_beyond)
        .isolated(Does::Refused(libc::ENOMEM)).remark("dying of it is `FaultKind::MemoryLimit`");
    feature_detected => Row::new("`is_x86_feature_detected!`", language::detect_features);
    error_text => Row::new("text of an `io::Error`", language::error_text).mpk(Does::Touches)
        .remark("MPK: libc locks its translations; the number can be told");
    backtrace => Row::new("`Backtrace::force_capture`", language::backtrace)
        .remark("names may be missing inside: files cannot be opened").touches();
    cpp_caught => Row::new("C++ exception, caught", foreign::cpp_caught).touches();
    cpp_uncaught => Row::new("C++ exception, uncaught", foreign::cpp_uncaught).process(Does::Aborts).direct(ABORTS).touches();
    longjmp => Row::new("`longjmp` within a call", foreign::jump).touches()
        .remark("the fixture's `jmp_buf` is a static");
    c_printf => Row::new("C `fputs` to `stdout`", foreign::c_print).remark("process: to the null device").touches();
    c_static => Row::new("static of a C library", foreign::c_static).changes(foreign::c_static_is_seen);
    localtime => Row::new("`localtime_r`", foreign::local_time)
        .remark("UTC inside, unless the caller had read the zone before").touches();
    setlocale => Row::new("`setlocale` to `C`", foreign::set_locale).remark("other locales are files").touches();
    dlopen => Row::new("`dlopen`", foreign::load_library).process(Does::Refused(libc::EACCES))
        .remark("load it before the sandbox is built").touches();
    signal_handler => Row::new("signal handler installed", foreign::install_handler)
        .changes(foreign::handler_is_seen).mpk(Does::Denied(libc::SYS_rt_sigaction));
    raise => Row::new("`raise` of a handled signal", foreign::raise).process(Does::Denied(libc::SYS_tgkill)).touches();
    alarm => Row::new("`alarm`", kernel::set_alarm).isolated(Does::Denied(libc::SYS_alarm));
    exit => Row::new("`process::exit(3)`", language::exit).process(Does::Exits(3)).direct(EXITS_3)
        .remark("exit handlers of the caller do not run inside; MPK: std takes a lock first, C's `exit` does not").touches();
    quick_exit => Row::new("`quick_exit(4)`", foreign::quick_exit).isolated(Does::Exits(4)).direct(EXITS_4);
    abort => Row::new("`process::abort`", language::abort).isolated(Does::Aborts).direct(ABORTS);
    read_file => Row::new("open a file to read", kernel::read_file).isolated(Does::Refused(libc::EACCES));
    write_file => Row::new("open a file to write", kernel::write_file)
        .before(kernel::choose_path_before).isolated(Does::Refused(libc::EACCES));
    remove_file => Row::new("`fs::remove_file`", kernel::remove_file).isolated(Does::Refused(libc::EACCES));
    file_status => Row::new("`fs::metadata`", kernel::file_status).isolated(Does::Refused(libc::EACCES));
    current_dir => Row::new("`env::current_dir`", kernel::current_directory).isolated(Does::Refused(libc::EACCES));
    is_terminal => Row::new("`is_terminal`", kernel::is_terminal).mpk(Does::Touches)
        .remark("`false` inside; MPK: `stdin()` sets up its buffer");
    lent_descriptor => Row::new("read and write of a lent descriptor", kernel::use_lent_file).lend(kernel::lent_file)
        .changes(kernel::lent_file_is_seen).isolated(Does::Works).remark("its file offset is shared");
    close_standard => Row::new("close 0, 1 and 2", kernel::close_standard_streams)
        .changes(kernel::standard_streams_are_closed).mpk(Does::Refused(libc::EPERM));
    socket => Row::new("`socket`", kernel::socket).isolated(Does::Denied(libc::SYS_socket));
    pipe => Row::new("`pipe2`", kernel::pipe).isolated(Does::Denied(libc::SYS_pipe2));
    memfd => Row::new("`memfd_create`", kernel::memory_file).isolated(Does::Denied(libc::SYS_memfd_create));
    mmap => Row::new("`mmap`, `mprotect`, `munmap` of plain memory", kernel::memory_map)
        .mpk(Does::Denied(libc::SYS_mmap));
    make_executable => Row::new("`mprotect` to executable", kernel::make_executable)
        .process(Does::Denied(libc::SYS_mprotect)).mpk(Does::Denied(libc::SYS_mmap));
    getpid => Row::new("`getpid`", kernel::own_number).remark("process: the isolate's own number");
    getrlimit => Row::new("`getrlimit`", kernel::read_limit);
    setrlimit => Row::new("`setrlimit`", kernel::set_limit).isolated(Does::Denied(libc::SYS_prlimit64));
    fork => Row::new("`fork`", kernel::fork).process(Does::Denied(libc::SYS_clone)).touches();
    fork_allowed => Row::new("`fork` with `Processes::Allowed`", kernel::fork).processes(Processes::Allowed)
        .remark("children are killed with the isolate").touches();
    exec => Row::new("`execv`", kernel::execute).isolated(Does::Denied(libc::SYS_execve)).direct(EXITS_6);
}
