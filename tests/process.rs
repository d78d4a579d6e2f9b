//! What only the process backend could get wrong.

use ringfence::{Limits, Processes, Sandbox};

#[test]
fn large_arguments_arrive_whole_in_every_call_of_a_session() {
    let large = vec![7_u8; 12 << 20];
    let mut session = Sandbox::process().unwrap().session().unwrap();
    for _ in 0..3 {
        let wrong =
            session.call(|bytes: &[u8]| bytes.iter().filter(|&&byte| byte != 7).count() as u64, &large[..]);
        assert_eq!(wrong.unwrap(), 0);
    }
}

#[test]
fn large_replies_arrive_whole_and_small_calls_follow_them() {
    let sandbox = Sandbox::process().unwrap();
    let mut session = sandbox.session().unwrap();
    for round in 1..4_u8 {
        let large = session.call(|byte: u8| vec![byte; 12 << 20], round).unwrap();
        assert!(large.len() == 12 << 20 && large.iter().all(|&byte| byte == round));
        assert_eq!(session.call(|byte: u8| byte, round).unwrap(), round);
    }
}

#[test]
fn panics_that_threads_inside_catch_are_not_the_isolate_s() {
    let sandbox = Sandbox::builder().limits(Limits::new().processes(Processes::Threads)).build().unwrap();
    let caught = || {
        let panicking = || std::thread::spawn(|| assert!(std::hint::black_box(false), "in a thread"));
        let threads: Vec<_> = (0..4).map(|_| panicking()).collect();
        threads.into_iter().map(std::thread::JoinHandle::join).filter(Result::is_err).count() as u64
    };
    assert_eq!(sandbox.call(move |()| caught(), ()).unwrap(), 4);
    assert_eq!(sandbox.run(caught).unwrap(), 4);
}
