//! The general registers of a thread at the instant it died.

use std::fmt;

/// How many registers the kernel hands to a signal handler in `ucontext_t` (`NGREG` in `<sys/ucontext.h>`).
const GREGS: usize = 23;

/// The general registers at a fault, as the isolate's signal handler saved them.
///
/// Every bit pattern is a valid value and none is to be believed: code that was broken, or hostile, chose them.
/// The layout is eighteen `u64` in field order, without padding, so that both sides of a shared page agree on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are the registers they are named after")]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
}

impl Registers {
    /// Picks the general registers out of `uc_mcontext.gregs`.
    ///
    /// Safe to call in a signal handler: it neither allocates nor panics.
    #[must_use]
    pub const fn from_gregs(gregs: &[libc::greg_t; GREGS]) -> Self {
        Self {
            rax: gregs[libc::REG_RAX as usize].cast_unsigned(),
            rbx: gregs[libc::REG_RBX as usize].cast_unsigned(),
            rcx: gregs[libc::REG_RCX as usize].cast_unsigned(),
            rdx: gregs[libc::REG_RDX as usize].cast_unsigned(),
            rsi: gregs[libc::REG_RSI as usize].cast_unsigned(),
            rdi: gregs[libc::REG_RDI as usize].cast_unsigned(),
            rbp: gregs[libc::REG_RBP as usize].cast_unsigned(),
            rsp: gregs[libc::REG_RSP as usize].cast_unsigned(),
            r8: gregs[libc::REG_R8 as usize].cast_unsigned(),
            r9: gregs[libc::REG_R9 as usize].cast_unsigned(),
            r10: gregs[libc::REG_R10 as usize].cast_unsigned(),
            r11: gregs[libc::REG_R11 as usize].cast_unsigned(),
            r12: gregs[libc::REG_R12 as usize].cast_unsigned(),
            r13: gregs[libc::REG_R13 as usize].cast_unsigned(),
            r14: gregs[libc::REG_R14 as usize].cast_unsigned(),
            r15: gregs[libc::REG_R15 as usize].cast_unsigned(),
            rip: gregs[libc::REG_RIP as usize].cast_unsigned(),
            rflags: gregs[libc::REG_EFL as usize].cast_unsigned(),
        }
    }

    /// The registers with their names, in field order.
    const fn named(&self) -> [(&'static str, u64); 18] {
        [
            ("rax", self.rax),
            ("rbx", self.rbx),
            ("rcx", self.rcx),
            ("rdx", self.rdx),
            ("rsi", self.rsi),
            ("rdi", self.rdi),
            ("rbp", self.rbp),
            ("rsp", self.rsp),
            ("r8", self.r8),
            ("r9", self.r9),
            ("r10", self.r10),
            ("r11", self.r11),
            ("r12", self.r12),
            ("r13", self.r13),
            ("r14", self.r14),
            ("r15", self.r15),
            ("rip", self.rip),
            ("rflags", self.rflags),
        ]
    }
}

/// Six lines of three registers, in hexadecimal, without a newline at the end.
impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.named().into_iter().enumerate() {
            let separator = match index {
                0 => "",
                _ if index % 3 == 0 => "\n",
                _ => "  ",
            };
            write!(f, "{separator}{name:<3} 0x{value:016x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_register_is_taken_from_its_own_place() {
        let mut gregs = [0; GREGS];
        for (value, greg) in gregs.iter_mut().enumerate() {
            *greg = value as libc::greg_t;
        }
        let registers = Registers::from_gregs(&gregs);
        // The order of the enumeration in glibc's <sys/ucontext.h> and musl's <bits/signal.h>.
        let expected = [
            (registers.r8, 0),
            (registers.r9, 1),
            (registers.r10, 2),
            (registers.r11, 3),
            (registers.r12, 4),
            (registers.r13, 5),
            (registers.r14, 6),
            (registers.r15, 7),
            (registers.rdi, 8),
            (registers.rsi, 9),
            (registers.rbp, 10),
            (registers.rbx, 11),
            (registers.rdx, 12),
            (registers.rax, 13),
            (registers.rcx, 14),
            (registers.rsp, 15),
            (registers.rip, 16),
            (registers.rflags, 17),
        ];
        for (value, position) in expected {
            assert_eq!(value, position);
        }
    }

    #[test]
    fn a_negative_greg_keeps_its_bits() {
        assert_eq!(Registers::from_gregs(&[-2; GREGS]).r12, u64::MAX - 1);
    }

    #[test]
    fn the_table_has_six_tidy_lines() {
        let registers = Registers { rax: 0xabc, r8: 8, rflags: 0x246, ..Registers::default() };
        let table = registers.to_string();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[0], "rax 0x0000000000000abc  rbx 0x0000000000000000  rcx 0x0000000000000000");
        assert_eq!(lines[2], "rbp 0x0000000000000000  rsp 0x0000000000000000  r8  0x0000000000000008");
        assert!(lines[5].ends_with("rflags 0x0000000000000246"));
    }

    #[test]
    fn the_layout_is_eighteen_words() {
        assert_eq!(size_of::<Registers>(), 144);
    }
}
