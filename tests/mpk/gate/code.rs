//! What the gate's instructions are.
//!
//! # Safety
//! Reads the program's own code.
#![expect(unsafe_code, reason = "reads the program's own code, and names the symbols in it")]
#![expect(clippy::unwrap_used, reason = "part of tests: what is not there fails the test")]

use std::ops::Range;
use std::slice;

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess,
    Register,
};

unsafe extern "C" {
    fn ringfence_mpk_gate();
    fn ringfence_mpk_resume();
    fn ringfence_mpk_call();
    fn ringfence_mpk_exit();
    fn ringfence_mpk_syscall();
    fn ringfence_mpk_signal();
    fn ringfence_mpk_abandon();
    fn ringfence_mpk_open();
    fn ringfence_mpk_trap();
}

fn at(function: unsafe extern "C" fn()) -> u64 {
    function as usize as u64
}

/// The gate with its two parts: in through `gate` and `resume`, out through `exit`.
fn gate() -> Range<u64> {
    at(ringfence_mpk_gate)..at(ringfence_mpk_syscall)
}

/// The way out.
fn exit() -> Range<u64> {
    at(ringfence_mpk_exit)..at(ringfence_mpk_syscall)
}

/// Everything in the assembly file but the trap, which is one instruction and its last.
pub(crate) fn all() -> Range<u64> {
    at(ringfence_mpk_gate)..at(ringfence_mpk_trap)
}

/// The functions of the assembly file, as a reader finds them there.
const FUNCTIONS: [unsafe extern "C" fn(); 9] = [
    ringfence_mpk_gate,
    ringfence_mpk_resume,
    ringfence_mpk_call,
    ringfence_mpk_exit,
    ringfence_mpk_syscall,
    ringfence_mpk_signal,
    ringfence_mpk_abandon,
    ringfence_mpk_open,
    ringfence_mpk_trap,
];

/// The instructions of a range that begins with one.
pub(crate) fn instructions(range: Range<u64>) -> Vec<Instruction> {
    assert!(
        FUNCTIONS.windows(2).all(|pair| at(pair[0]) < at(pair[1])),
        "the functions lie in the order of the file"
    );
    let bytes = (range.end - range.start) as usize;
    // SAFETY: the range lies in the program's code, which is mapped readable and does not change.
    let code = unsafe { slice::from_raw_parts(range.start as *const u8, bytes) };
    let all: Vec<Instruction> =
        Decoder::with_ip(64, code, range.start, DecoderOptions::NONE).into_iter().collect();
    assert!(all.iter().all(|instruction| !instruction.is_invalid()), "all of it decodes");
    assert_eq!(
        all.last().map(Instruction::next_ip),
        Some(range.end),
        "the last one ends where the range does"
    );
    all
}

pub(crate) fn is_wrpkru(instruction: &Instruction) -> bool {
    instruction.code() == Code::Wrpkru
}

fn count(all: &[Instruction], mnemonic: Mnemonic) -> usize {
    all.iter().filter(|instruction| instruction.mnemonic() == mnemonic).count()
}

/// How an instruction uses a register, whatever part of it.
fn uses(instruction: &Instruction, register: Register, is: impl Fn(OpAccess) -> bool) -> bool {
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(instruction);
    info.used_registers().iter().any(|used| used.register().full_register() == register && is(used.access()))
}

fn reads(instruction: &Instruction, register: Register) -> bool {
    use OpAccess::{CondRead, Read, ReadCondWrite, ReadWrite};
    uses(instruction, register, |access| matches!(access, Read | CondRead | ReadWrite | ReadCondWrite))
}

fn writes(instruction: &Instruction, register: Register) -> bool {
    use OpAccess::{CondWrite, ReadCondWrite, ReadWrite, Write};
    uses(instruction, register, |access| matches!(access, Write | CondWrite | ReadWrite | ReadCondWrite))
}

pub(crate) fn has_two_wrpkru_and_two_switches_of_fs() {
    let all = instructions(gate());
    assert_eq!(count(&all, Mnemonic::Wrpkru), 2);
    assert_eq!(count(&all, Mnemonic::Wrfsbase), 2);
    assert_eq!(count(&instructions(exit()), Mnemonic::Wrpkru), 1, "one on each way");
}

/// Where an instruction may go.
fn successors(instruction: &Instruction) -> Vec<u64> {
    match instruction.flow_control() {
        FlowControl::ConditionalBranch => vec![instruction.next_ip(), instruction.near_branch_target()],
        _ => vec![instruction.next_ip()],
    }
}

/// How many instructions after a WRPKRU may stand before the last jump of its check.
const CHECK: usize = 10;

pub(crate) fn checks_every_wrpkru_at_once() {
    let all = instructions(all());
    let is_ud2 = |address: u64| all.iter().any(|one| one.ip() == address && one.mnemonic() == Mnemonic::Ud2);
    let open = at(ringfence_mpk_open)..at(ringfence_mpk_trap);
    for (index, _) in all.iter().enumerate().filter(|(_, one)| is_wrpkru(one)) {
        let place = all[index].ip();
        // Until eax is overwritten it is what was written to PKRU. Where the rights that are opened are the thread's own with more, what is checked
        // is GS, which says that nobody is inside.
        let told_by = if open.contains(&place) { Mnemonic::Rdgsbase } else { Mnemonic::INVALID };
        let (mut is_told, mut is_intact, mut is_checked) = (false, true, false);
        for one in all[index + 1..].iter().take(CHECK) {
            is_told |= is_intact && told_by == Mnemonic::INVALID && reads(one, Register::RAX);
            is_intact &= !writes(one, Register::RAX);
            is_told |= one.mnemonic() == told_by;
            if one.flow_control() == FlowControl::ConditionalBranch {
                assert!(
                    successors(one).into_iter().any(is_ud2),
                    "the jump at {:#x} is part of a check",
                    one.ip()
                );
                is_checked |= is_told;
            }
            if is_checked {
                break;
            }
            assert!(
                matches!(one.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch),
                "{one:?}"
            );
        }
        assert!(
            is_checked,
            "WRPKRU at {place:#x}, {:#x} behind the gate's start",
            place - at(ringfence_mpk_gate)
        );
    }
}

pub(crate) fn reads_nothing_of_the_domain_before_it_has_left_its_stack() {
    let all = instructions(exit());
    let opened = all.iter().position(is_wrpkru).unwrap();
    let left =
        all.iter().position(|one| one.mnemonic() == Mnemonic::Mov && one.op0_register() == Register::RSP);
    let left = left.unwrap();
    assert!(opened < left);
    let mut factory = InstructionInfoFactory::new();
    for (index, one) in all[..=left].iter().enumerate() {
        let is_plain = matches!(one.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch);
        assert!(is_plain, "nothing is called at {:#x}", one.ip());
        for memory in factory.info(one).used_memory() {
            // r15 comes from the table of owners, by the key in PKRU.
            let is_known = memory.segment() == Register::GS || memory.base() == Register::R15;
            // An address relative to rip is given as what it amounts to.
            let is_static = memory.base() == Register::None && memory.index() == Register::None;
            // The table of owners again, by the key in the block: rdx is its address.
            let base = all[..index].iter().rev().find(|one| writes(one, Register::RDX));
            let is_table = memory.base() == Register::RDX
                && base.is_some_and(|one| one.mnemonic() == Mnemonic::Lea && one.is_ip_rel_memory_operand());
            assert!(is_known || is_static || is_table, "{memory:?} at {:#x}", one.ip());
        }
    }
    let table = all.iter().take(opened).filter(|one| writes(one, Register::R15)).count();
    assert_eq!(table, 2, "r15 is the table's address, then what stands in it");
    assert!(!all[opened..=left].iter().any(|one| writes(one, Register::R15)));
}

pub(crate) fn asks_nothing_of_the_kernel() {
    let all = instructions(gate());
    for one in &all {
        let is_call = !matches!(
            one.mnemonic(),
            Mnemonic::Syscall
                | Mnemonic::Sysenter
                | Mnemonic::Int
                | Mnemonic::Int1
                | Mnemonic::Int3
                | Mnemonic::Into
        );
        assert!(is_call, "{one:?}");
    }
    let calls =
        all.iter().filter(|one| matches!(one.flow_control(), FlowControl::Call | FlowControl::IndirectCall));
    let calls: Vec<u64> = calls.map(Instruction::ip).collect();
    assert_eq!(calls, [at(ringfence_mpk_call)], "what is inside, and nothing else, is called");
}
