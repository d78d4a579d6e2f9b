//! How many threads this process has.

/// The number of threads, or `None` without `/proc`.
pub(crate) fn count() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}

#[cfg(test)]
mod tests {
    #[test]
    fn another_thread_is_counted() {
        let before = super::count().unwrap();
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || held.recv());
        assert!(super::count().unwrap() > before.min(1), "at least this thread and that one");
        drop(hold);
        let _ = thread.join();
    }
}
