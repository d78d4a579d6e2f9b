//! System-call rules as one filter program.
//!
//! The rules become intervals of numbers, found by binary search: the kernel runs a new filter once for every number there is, to
//! learn which need it no more (`seccomp_cache_prepare`, Linux 5.11), so the length of the way through the program, and the number
//! of programs, are what installing one costs.

use std::collections::BTreeMap;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W,
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_TRAP,
};
use seccompiler::{BpfProgram, sock_filter};

/// What may be done with one system call. Arguments that the kernel takes as 32 bits are compared as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Anything.
    Allow,
    /// Nothing: the caller gets a signal.
    Trap,
    /// Nothing: the caller gets an error number.
    Refuse(u16),
    /// Anything where the masked argument has this value.
    Masked { argument: u8, mask: u32, value: u32 },
    /// An error number where the argument has any of these bits; else nothing, with a signal.
    RefuseMasked { argument: u8, mask: u32, errno: u16 },
    /// Anything where the argument is one of these.
    OneOf { argument: u8, values: &'static [u32] },
    /// Anything where both arguments are zero, in all 64 bits.
    Zero { arguments: [u8; 2] },
}

/// `AUDIT_ARCH_X86_64` of `linux/audit.h`.
const ARCH_X86_64: u32 = 0xc000_003e;
/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// Rules by system-call number.
pub(crate) type Rules = BTreeMap<i64, Rule>;

/// The program of these rules, with one for every other number. A call of another architecture's table kills.
pub(crate) fn assemble(rules: &Rules, otherwise: Rule) -> BpfProgram {
    let mut program =
        vec![load(ARCH), jump(BPF_JEQ, ARCH_X86_64, 1, 0), answer(SECCOMP_RET_KILL_PROCESS), load(NUMBER)];
    program.extend(search(&intervals(rules, otherwise)));
    program
}

/// The rules as starts of intervals, ascending from zero, each up to the next one's start.
fn intervals(rules: &Rules, otherwise: Rule) -> Vec<(u32, Rule)> {
    let mut starts: Vec<(u32, Rule)> = vec![(0, otherwise)];
    let mut start = |number: u32, rule: Rule| {
        if let Some(last) = starts.last_mut().filter(|(first, _)| *first == number) {
            last.1 = rule;
        } else {
            starts.push((number, rule));
        }
    };
    for (&number, &rule) in rules {
        let Ok(number) = u32::try_from(number) else { continue };
        start(number, rule);
        start(number.saturating_add(1), otherwise);
    }
    starts.dedup_by_key(|(_, rule)| *rule);
    starts
}

/// Finds the interval the number lies in, and answers by its rule.
fn search(intervals: &[(u32, Rule)]) -> BpfProgram {
    let (low, high) = intervals.split_at(intervals.len() / 2);
    let (Some(&(first, _)), false) = (high.first(), low.is_empty()) else {
        return intervals.first().map_or_else(Vec::new, |&(_, rule)| decide(rule));
    };
    let below = search(low);
    let mut program = Vec::new();
    match u8::try_from(below.len()) {
        Ok(over) => program.push(jump(BPF_JGE, first, over, 0)),
        // Conditional jumps reach 255 instructions, others any distance.
        Err(_) => {
            program.push(jump(BPF_JGE, first, 0, 1));
            program.push(skip(below.len()));
        }
    }
    program.extend(below);
    program.extend(search(high));
    program
}

fn decide(rule: Rule) -> BpfProgram {
    let allow = answer(SECCOMP_RET_ALLOW);
    let trap = answer(SECCOMP_RET_TRAP);
    match rule {
        Rule::Allow => vec![allow],
        Rule::Trap => vec![trap],
        Rule::Refuse(errno) => vec![answer(SECCOMP_RET_ERRNO | u32::from(errno))],
        Rule::Masked { argument, mask, value: 0 } => {
            vec![load(low_half(argument)), jump(BPF_JSET, mask, 1, 0), allow, trap]
        }
        Rule::Masked { argument, mask, value } => {
            let masked = sock_filter { code: (BPF_ALU | BPF_AND | BPF_K) as u16, jt: 0, jf: 0, k: mask };
            vec![load(low_half(argument)), masked, jump(BPF_JEQ, value, 0, 1), allow, trap]
        }
        Rule::RefuseMasked { argument, mask, errno } => {
            let refuse = answer(SECCOMP_RET_ERRNO | u32::from(errno));
            vec![load(low_half(argument)), jump(BPF_JSET, mask, 0, 1), refuse, trap]
        }
        Rule::OneOf { argument, values } => {
            let mut program = vec![load(low_half(argument))];
            for (index, &value) in values.iter().enumerate() {
                // Over the comparisons that are left and the trap. No list here is long enough to saturate.
                let over = u8::try_from(values.len() - index).unwrap_or(u8::MAX);
                program.push(jump(BPF_JEQ, value, over, 0));
            }
            program.extend([trap, allow]);
            program
        }
        Rule::Zero { arguments: [first, second] } => {
            let halves = [low_half(first), low_half(first) + 4, low_half(second), low_half(second) + 4];
            let mut program = Vec::new();
            for (index, half) in halves.into_iter().enumerate() {
                // To the trap, over the pairs that are left and the answer.
                let over = u8::try_from(2 * (halves.len() - 1 - index) + 1).unwrap_or(u8::MAX);
                program.extend([load(half), jump(BPF_JEQ, 0, 0, over)]);
            }
            program.extend([allow, trap]);
            program
        }
    }
}

/// Where the low half of an argument is; the high half follows.
fn low_half(argument: u8) -> u32 {
    16 + 8 * u32::from(argument)
}

fn load(offset: u32) -> sock_filter {
    sock_filter { code: (BPF_LD | BPF_W | BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

fn jump(condition: u32, value: u32, if_true: u8, if_false: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | condition | BPF_K) as u16, jt: if_true, jf: if_false, k: value }
}

fn skip(count: usize) -> sock_filter {
    // Programs are limited to 4,096 instructions (`BPF_MAXINSNS`); the kernel refuses a longer one.
    sock_filter {
        code: (BPF_JMP | libc::BPF_JA) as u16,
        jt: 0,
        jf: 0,
        k: u32::try_from(count).unwrap_or(u32::MAX),
    }
}

fn answer(action: u32) -> sock_filter {
    sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k: action }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel does.
    fn run(program: &[sock_filter], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend(number.to_le_bytes());
        data.extend(arch.to_le_bytes());
        data.extend(0u64.to_le_bytes());
        arguments.iter().for_each(|argument| data.extend(argument.to_le_bytes()));
        let (mut accumulator, mut at) = (0u32, 0usize);
        loop {
            let step = &program[at];
            at += 1;
            let code = u32::from(step.code);
            let to = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
            if code == BPF_LD | BPF_W | BPF_ABS {
                let offset = step.k as usize;
                accumulator = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
            } else if code == BPF_ALU | BPF_AND | BPF_K {
                accumulator &= step.k;
            } else if code == BPF_RET | BPF_K {
                return step.k;
            } else if code == BPF_JMP | libc::BPF_JA {
                at += step.k as usize;
            } else if code == BPF_JMP | BPF_JEQ | BPF_K {
                at += to(accumulator == step.k);
            } else if code == BPF_JMP | BPF_JGE | BPF_K {
                at += to(accumulator >= step.k);
            } else if code == BPF_JMP | BPF_JSET | BPF_K {
                at += to(accumulator & step.k != 0);
            } else {
                panic!("unknown instruction {code:#x}");
            }
        }
    }

    fn of(rules: &[(i64, Rule)], otherwise: Rule) -> BpfProgram {
        assemble(&rules.iter().copied().collect(), otherwise)
    }

    #[test]
    fn every_number_gets_its_rule() {
        // Enough rules for jumps beyond 255 instructions.
        let rules: Rules = (0..400)
            .filter(|number| number % 3 != 0)
            .map(|number| (number, if number % 3 == 1 { Rule::Allow } else { Rule::Refuse(13) }))
            .collect();
        let program = assemble(&rules, Rule::Trap);
        for number in (0..1000).chain([0x4000_0001, u32::MAX]) {
            let expected = match rules.get(&i64::from(number)) {
                Some(Rule::Allow) => SECCOMP_RET_ALLOW,
                Some(_) => SECCOMP_RET_ERRNO | 13,
                None => SECCOMP_RET_TRAP,
            };
            assert_eq!(run(&program, ARCH_X86_64, number, [0; 6]), expected, "number {number}");
        }
        assert_eq!(run(&program, 0x4000_0003, 1, [0; 6]), SECCOMP_RET_KILL_PROCESS);
    }

    #[test]
    fn arguments_are_compared_in_the_width_the_kernel_uses() {
        let allowed = |rule, arguments| {
            run(&of(&[(7, rule)], Rule::Trap), ARCH_X86_64, 7, arguments) == SECCOMP_RET_ALLOW
        };
        let not_executable = Rule::Masked { argument: 2, mask: 4, value: 0 };
        assert!(allowed(not_executable, [9, 9, 3, 9, 9, 9]));
        assert!(!allowed(not_executable, [0, 0, 7, 0, 0, 0]));
        assert!(!allowed(not_executable, [0, 0, 0xffff_ffff_0000_0004, 0, 0, 0]));
        let thread = Rule::Masked { argument: 0, mask: 0x11, value: 0x10 };
        assert!(allowed(thread, [0x1f0 & !1, 0, 0, 0, 0, 0]));
        assert!(!allowed(thread, [0x11, 0, 0, 0, 0, 0]) && !allowed(thread, [0; 6]));
        let no_thread = of(&[(7, Rule::RefuseMasked { argument: 0, mask: 0x10, errno: 11 })], Rule::Allow);
        assert_eq!(run(&no_thread, ARCH_X86_64, 7, [0x10, 0, 0, 0, 0, 0]), SECCOMP_RET_ERRNO | 11);
        assert_eq!(run(&no_thread, ARCH_X86_64, 7, [0x11 & 1, 0, 0, 0, 0, 0]), SECCOMP_RET_TRAP);
        let command = Rule::OneOf { argument: 1, values: &[1, 3] };
        assert!(allowed(command, [0, 1, 0, 0, 0, 0]) && allowed(command, [0, 3, 0, 0, 0, 0]));
        assert!(!allowed(command, [0, 2, 0, 0, 0, 0]) && !allowed(command, [0; 6]));
        let own = Rule::Zero { arguments: [0, 2] };
        assert!(allowed(own, [0, 9, 0, 9, 9, 9]));
        for arguments in
            [[1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [1 << 32, 0, 0, 0, 0, 0], [0, 0, 1 << 40, 0, 0, 0]]
        {
            assert!(!allowed(own, arguments));
        }
    }

    #[test]
    fn the_default_can_allow() {
        let seal = of(&[(56, Rule::Trap)], Rule::Allow);
        assert_eq!(run(&seal, ARCH_X86_64, 56, [0; 6]), SECCOMP_RET_TRAP);
        assert_eq!(run(&seal, ARCH_X86_64, 55, [0; 6]), SECCOMP_RET_ALLOW);
        assert_eq!(run(&seal, ARCH_X86_64, 57, [0; 6]), SECCOMP_RET_ALLOW);
    }
}
