//! Words of the standard library that a panic, or giving up for want of memory, stores to on its way.
//!
//! A panic counts itself in such a word, and takes a lock to read the hook; an allocation that is given up marks that it has been. A domain cannot
//! make these stores. The words are found out once, by planting what stores to them; an instruction inside that faults on one of them is then
//! taken as done, without the store: what it would have changed is changed back before a panic is over, or ends with the domain. So a panic
//! unwinds inside and can be caught inside, and the host's words stay as they are.
//!
//! # Safety
//! Reads the instruction that faulted, and the word it was about.
#![expect(unsafe_code, reason = "reads an instruction and a word of the program")]

use std::sync::atomic::{AtomicU64, Ordering};

use libc::{REG_EFL, REG_RAX, REG_RIP};

use crate::context::Context;

/// The words.
static WORDS: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

/// Whether the address is that of one of the words.
pub(crate) fn is_one(address: u64) -> bool {
    address != 0 && WORDS.iter().any(|word| word.load(Ordering::Relaxed) == address)
}

/// Whether the address is that of the word by which the standard library counts panics: what a panic stores to first.
pub(crate) fn is_count_of_panics(address: u64) -> bool {
    WORDS.first().is_some_and(|word| word.load(Ordering::Relaxed) == address)
}

/// Adds a word. The first one is what a planted panic stores to first. Whether there was room.
pub(crate) fn learn(address: u64) -> bool {
    let free =
        |word: &&AtomicU64| word.compare_exchange(0, address, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    is_one(address) || WORDS.iter().find(free).is_some()
}

/// An atomic operation on memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    /// `xadd`, `xchg`: the register gets what the memory held.
    Exchange { register: u8 },
    /// `cmpxchg`: compares with the accumulator.
    CompareAndExchange,
    /// `add`, `sub`, `inc`, `dec`, `and`, `or`: the memory changes, and the flags.
    Change,
}

/// How much of the word an instruction is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Byte,
    Double,
    Quad,
}

/// One instruction: what it does, on how many bytes, and its own length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    operation: Operation,
    width: Width,
    length: u64,
}

/// Takes the interrupted atomic instruction on the word at `address` as done, without its store. Whether it was one that is known.
pub(crate) fn take_as_done(saved: &mut Context, address: u64) -> bool {
    let rip = saved.get(REG_RIP);
    // SAFETY: the processor has just decoded an instruction here, and no byte behind its end is asked for.
    let code = (0..).map(|offset| unsafe { (rip as *const u8).wrapping_add(offset).read_volatile() });
    let Some(instruction) = decode(code) else { return false };
    let value = match instruction.width {
        // SAFETY: a word of the standard library's, learned from its own access of this width.
        Width::Byte => u64::from(unsafe { (address as *const u8).read_volatile() }),
        // SAFETY: as above.
        Width::Double => u64::from(unsafe { (address as *const u32).read_volatile() }),
        // SAFETY: as above.
        Width::Quad => unsafe { (address as *const u64).read_volatile() },
    };
    match instruction.operation {
        Operation::Exchange { register } => {
            let place = place_of(register);
            saved.set(place, merged(saved.get(place), value, instruction.width));
        }
        Operation::CompareAndExchange => {
            const ZERO_FLAG: u64 = 1 << 6;
            let accumulator = saved.get(REG_RAX);
            let flags = saved.get(REG_EFL);
            if merged(0, accumulator, instruction.width) == value {
                saved.set(REG_EFL, flags | ZERO_FLAG);
            } else {
                saved.set(REG_EFL, flags & !ZERO_FLAG);
                saved.set(REG_RAX, merged(accumulator, value, instruction.width));
            }
        }
        Operation::Change => {}
    }
    saved.set(REG_RIP, rip + instruction.length);
    true
}

/// What a register holds after a write of so much of it: a byte leaves the rest, four bytes clear it (SDM volume 1, 3.4.1.1).
fn merged(register: u64, value: u64, width: Width) -> u64 {
    match width {
        Width::Byte => register & !0xff | value & 0xff,
        Width::Double => value & 0xffff_ffff,
        Width::Quad => value,
    }
}

/// A register's place in the frame, by its number in an instruction.
fn place_of(register: u8) -> i32 {
    use libc::{
        REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RBP, REG_RBX, REG_RCX,
        REG_RDI, REG_RDX, REG_RSI, REG_RSP,
    };
    const PLACES: [i32; 16] = [
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10,
        REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    ];
    PLACES[usize::from(register & 15)]
}

/// Decodes an atomic instruction on memory: with `lock`, or `xchg`, which is atomic without (SDM volume 2, chapter 2 and the instructions' own pages).
/// Takes no byte behind the instruction's end, nor any behind the first that tells that it is another one.
fn decode(mut code: impl Iterator<Item = u8>) -> Option<Instruction> {
    let mut next = || code.next();
    let mut opcode = next()?;
    let is_locked = opcode == 0xf0;
    if is_locked {
        opcode = next()?;
    }
    let mut rex = 0;
    if opcode & 0xf0 == 0x40 {
        rex = opcode;
        opcode = next()?;
    }
    let (is_two_bytes, opcode) = if opcode == 0x0f { (true, next()?) } else { (false, opcode) };
    let is_known = match (is_two_bytes, opcode) {
        (false, 0x86 | 0x87) => true,
        (true, 0xb0 | 0xb1 | 0xc0 | 0xc1) => is_locked,
        (false, 0x01 | 0x09 | 0x21 | 0x29 | 0x81 | 0x83 | 0xff) => is_locked,
        _ => false,
    };
    if !is_known {
        return None;
    }
    // All of these have it.
    let modrm = next()?;
    let (mode, register, base) = (modrm >> 6, modrm >> 3 & 7, modrm & 7);
    let has_sib = mode != 3 && base == 4;
    let sib_base = if has_sib { next()? & 7 } else { 0 };
    let displacement = match mode {
        0 if base == 5 || (has_sib && sib_base == 5) => 4,
        0 => 0,
        1 => 1,
        2 => 4,
        _ => return None,
    };
    let number = register | (rex & 4) << 1;
    // Without a REX prefix the numbers 4 to 7 of a byte register are the second bytes of others.
    let is_byte = matches!((is_two_bytes, opcode), (false, 0x86) | (true, 0xc0 | 0xb0));
    if is_byte && rex == 0 && register >= 4 {
        return None;
    }
    let (operation, immediate) = match (is_two_bytes, opcode, register) {
        (false, 0x86 | 0x87, _) => (Operation::Exchange { register: number }, 0),
        (true, 0xc0 | 0xc1, _) => (Operation::Exchange { register: number }, 0),
        (true, 0xb0 | 0xb1, _) => (Operation::CompareAndExchange, 0),
        // inc, dec
        (false, 0xff, 0 | 1) => (Operation::Change, 0),
        // add, or, and, sub with an immediate, and with a register
        (false, 0x83, 0 | 1 | 4 | 5) => (Operation::Change, 1),
        (false, 0x81, 0 | 1 | 4 | 5) => (Operation::Change, 4),
        (false, 0x01 | 0x09 | 0x21 | 0x29, _) => (Operation::Change, 0),
        _ => return None,
    };
    let prefixes = u64::from(is_locked) + u64::from(rex != 0) + 1 + u64::from(is_two_bytes);
    let length = prefixes + 1 + u64::from(has_sib) + displacement + immediate;
    let width = match rex & 8 {
        _ if is_byte => Width::Byte,
        0 => Width::Double,
        _ => Width::Quad,
    };
    Some(Instruction { operation, width, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(code: &[u8]) -> Option<Instruction> {
        decode(code.iter().copied())
    }

    #[test]
    fn atomic_instructions_are_known_with_their_lengths() {
        let exchange = |register| Operation::Exchange { register };
        // As the assembler encodes them.
        for (code, operation, width) in [
            // lock xadd [rip+0x1000], rax
            (&[0xf0, 0x48, 0x0f, 0xc1, 0x05, 0, 0x10, 0, 0][..], exchange(0), Width::Quad),
            // lock xadd [rbx], r9
            (&[0xf0, 0x4c, 0x0f, 0xc1, 0x0b], exchange(9), Width::Quad),
            // lock xadd [rdi+8], ecx
            (&[0xf0, 0x0f, 0xc1, 0x4f, 0x08], exchange(1), Width::Double),
            // xchg [rip+0x1000], al
            (&[0x86, 0x05, 0, 0x10, 0, 0], exchange(0), Width::Byte),
            // xchg [rdi], r10b
            (&[0x44, 0x86, 0x17], exchange(10), Width::Byte),
            // xchg [rbx+8], rcx
            (&[0x48, 0x87, 0x4b, 0x08], exchange(1), Width::Quad),
            // lock cmpxchg [rip+0x10], ecx
            (&[0xf0, 0x0f, 0xb1, 0x0d, 0x10, 0, 0, 0], Operation::CompareAndExchange, Width::Double),
            // lock cmpxchg byte ptr [rip+0x10], cl
            (&[0xf0, 0x0f, 0xb0, 0x0d, 0x10, 0, 0, 0], Operation::CompareAndExchange, Width::Byte),
            // lock cmpxchg [rax+rcx*4+0x100], rdx
            (&[0xf0, 0x48, 0x0f, 0xb1, 0x94, 0x88, 0, 1, 0, 0], Operation::CompareAndExchange, Width::Quad),
            // lock inc qword ptr [rip+0x10]
            (&[0xf0, 0x48, 0xff, 0x05, 0x10, 0, 0, 0], Operation::Change, Width::Quad),
            // lock sub dword ptr [r12], 1
            (&[0xf0, 0x41, 0x83, 0x2c, 0x24, 0x01], Operation::Change, Width::Double),
            // lock add dword ptr [rip+0x10], 0x12345678
            (&[0xf0, 0x81, 0x05, 0x10, 0, 0, 0, 0x78, 0x56, 0x34, 0x12], Operation::Change, Width::Double),
        ] {
            let length = code.len() as u64;
            assert_eq!(decoded(code), Some(Instruction { operation, width, length }), "{code:x?}");
        }
    }

    #[test]
    fn other_instructions_are_not() {
        // mov [rax], ecx; xadd without lock; xchg [rax], ah; lock with a register operand; lock cmpxchg16b; lock bts
        for code in [
            &[0x89, 0x08][..],
            &[0x0f, 0xc1, 0x08],
            &[0x86, 0x20],
            &[0xf0, 0x0f, 0xc1, 0xc8],
            &[0xf0, 0x48, 0x0f, 0xc7, 0x0f],
            &[0xf0, 0x0f, 0xab, 0x07],
        ] {
            assert_eq!(decoded(code), None, "{code:x?}");
        }
    }
}
