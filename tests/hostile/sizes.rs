//! Attacks with sizes: at the limit, one below, one above.

use ringfence::{Error, FaultKind, Sandbox};

use crate::support::{fault, limits};

/// The count before a vector's elements.
const PREFIX_BYTES: usize = 8;

#[test]
fn a_caller_sends_one_byte_too_many() {
    for area in [4096, 4097, 65536] {
        let sandbox = Sandbox::builder().limits(limits().request_bytes(area)).build().unwrap();
        let length = |bytes: &[u8]| bytes.len() as u64;
        for bytes in [area - PREFIX_BYTES - 1, area - PREFIX_BYTES] {
            assert_eq!(sandbox.call(length, &vec![1; bytes][..]).unwrap(), bytes as u64);
        }
        let refused = sandbox.call(length, &vec![1; area - PREFIX_BYTES + 1][..]);
        assert!(matches!(refused, Err(Error::Arguments(_))), "{refused:?}");
        assert_eq!(sandbox.call(length, &[1, 2][..]).unwrap(), 2, "the isolate goes on");
    }
}

#[test]
fn inside_replies_one_byte_too_many() {
    for area in [4096, 4097, 65536] {
        let sandbox = Sandbox::builder().limits(limits().reply_bytes(area)).build().unwrap();
        let make = |bytes: u64| vec![1_u8; bytes as usize];
        for bytes in [area - PREFIX_BYTES - 1, area - PREFIX_BYTES] {
            assert_eq!(sandbox.call(make, bytes as u64).unwrap().len(), bytes);
            assert_eq!(sandbox.run(|| make(bytes as u64)).unwrap().len(), bytes);
        }
        let bytes = (area - PREFIX_BYTES + 1) as u64;
        assert_eq!(fault(sandbox.call(make, bytes)).kind(), &FaultKind::ReplyLimit);
        assert_eq!(fault(sandbox.run(|| make(bytes))).kind(), &FaultKind::ReplyLimit);
    }
}

#[test]
fn nothing_crosses_a_sandbox_without_room() {
    let sandbox = Sandbox::builder().limits(limits().request_bytes(0).reply_bytes(0)).build().unwrap();
    assert!(sandbox.call(|()| (), ()).is_ok());
    assert!(sandbox.run(|| ()).is_ok());
    assert_eq!(fault(sandbox.call(|()| 1_u8, ())).kind(), &FaultKind::ReplyLimit);
    assert!(matches!(sandbox.call(|_: u8| (), 1_u8), Err(Error::Arguments(_))));
}
