//! The main job, end to end, on the process backend.

use ringfence::{FaultKind, Sandbox};

#[test]
fn calls_runs_and_faults() {
    let sandbox = Sandbox::process().unwrap();
    println!("{}", sandbox.guarantees());
    assert_eq!(
        sandbox.call(|x: u64| x + 1, 41u64).unwrap_or_else(|e| panic!("{:#}", e.fault().unwrap())),
        42
    );
    let captured = vec![1u8, 2, 3];
    assert_eq!(sandbox.run(|| captured.len()).unwrap(), 3);
    let error = sandbox.call(|()| panic!("boom"), ()).map(|_: ()| ()).unwrap_err();
    println!("{:#}", error.fault().unwrap());
    assert_eq!(error.fault().unwrap().kind(), &FaultKind::Panic);
    assert_eq!(sandbox.call(|x: u64| x + 1, 1u64).unwrap(), 2);
    let error = sandbox.run(|| std::process::abort()).map(|_: ()| ()).unwrap_err();
    println!("{:#}", error.fault().unwrap());
    assert_eq!(error.fault().unwrap().kind(), &FaultKind::Abort);
}
