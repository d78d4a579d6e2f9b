//! Tests of the windows.
//!
//! # Safety
//!
//! Unsafe code here makes a shared source of an array that nobody writes.
#![expect(unsafe_code, reason = "makes a shared source")]

use super::*;

#[test]
fn outlet_stops_at_its_capacity() {
    let mut memory = [0xAA_u8; 8];
    let mut outlet = Outlet::new(&mut memory[..6]);
    outlet.write(&[1, 2, 3, 4]).unwrap();
    assert_eq!(outlet.write(&[5, 6, 7]), Err(Full));
    assert_eq!((outlet.len(), outlet.remaining(), outlet.capacity()), (4, 2, 6));
    outlet.write_numbers(&[0x0605_u16]).unwrap();
    assert_eq!(outlet.write(&[9]), Err(Full));
    outlet.write(&[]).unwrap();
    assert_eq!(memory, [1, 2, 3, 4, 5, 6, 0xAA, 0xAA]);
}

#[test]
fn overwrite_reaches_only_what_was_written() {
    let mut memory = [0_u8; 8];
    let mut outlet = Outlet::new(&mut memory);
    outlet.write(&[1, 2, 3, 4]).unwrap();
    outlet.overwrite(1, &[8, 9]).unwrap();
    assert_eq!(outlet.overwrite(3, &[1, 1]), Err(Full));
    assert_eq!(outlet.overwrite(usize::MAX, &[1]), Err(Full));
    assert_eq!(memory, [1, 8, 9, 4, 0, 0, 0, 0]);
}

#[test]
fn source_reads_in_order_and_stops_at_its_end() {
    let memory = [1_u8, 2, 3, 4, 5, 6, 7, 8, 9];
    let mut source = Source::stable(&memory);
    let mut two = [0; 2];
    source.read_into(&mut two).unwrap();
    assert_eq!(two, [1, 2]);
    assert_eq!(source.read_vec(1).unwrap(), [3]);
    assert_eq!(source.read_numbers::<u16>(1).unwrap(), [0x0504]);
    assert_eq!(source.read_array::<u16, 1>().unwrap(), [0x0706]);
    assert_eq!(source.read_into(&mut [0; 3]), Err(SourceError::UnexpectedEnd));
    assert_eq!(source.read_numbers::<u16>(2), Err(SourceError::UnexpectedEnd));
    assert_eq!(source.read_numbers::<u64>(usize::MAX / 4), Err(SourceError::UnexpectedEnd));
    assert_eq!(source.read_array::<u32, 1>(), Err(SourceError::UnexpectedEnd));
    assert_eq!(source.borrow(3), Err(SourceError::UnexpectedEnd));
    assert_eq!(source.borrow(2).unwrap().as_ptr(), &raw const memory[7]);
    assert_eq!((source.remaining(), source.borrow(0)), (0, Ok(&[][..])));
}

#[test]
fn split_shares_out_the_window_without_overlap() {
    let memory = [1_u8, 2, 3, 4, 5];
    let mut source = Source::stable(&memory);
    let mut head = source.split(2).unwrap();
    assert_eq!(head.read_vec(2).unwrap(), [1, 2]);
    assert_eq!(head.read_vec(1), Err(SourceError::UnexpectedEnd));
    assert_eq!(source.split(4).unwrap_err(), SourceError::UnexpectedEnd);
    assert_eq!(source.read_vec(3).unwrap(), [3, 4, 5]);
}

#[test]
fn shared_memory_is_copied_and_never_borrowed() {
    let memory = [1_u8, 2, 3, 4];
    // SAFETY: the array outlives the source and is written by nobody.
    let mut source = unsafe { Source::shared(NonNull::from(&memory).cast(), memory.len()) };
    assert_eq!(source.borrow(1), Err(SourceError::NotBorrowable));
    assert_eq!(source.split(1).unwrap().borrow(1), Err(SourceError::NotBorrowable));
    assert_eq!(source.read_vec(3).unwrap(), [2, 3, 4]);
}
