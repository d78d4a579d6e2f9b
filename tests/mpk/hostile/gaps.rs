//! What the backend does not prevent: code inside that can execute any instruction gives itself every right. So it is refused for hostile code.
//!
//! # Safety
//! The stores go to a page of the test's own.
#![expect(unsafe_code, reason = "instructions that change the thread's rights")]

use std::arch::asm;

use libtest_mimic::Trial;
use ringfence::{Backend, Error, Sandbox, Threat};

use super::machine::{rights, set_rights};
use super::support::{Page, assert_works, defended, store_byte, trials};

pub(crate) fn trials() -> Vec<Trial> {
    trials! {
        inside_gives_itself_every_right
        inside_restores_every_right_from_memory
        hostile_code_is_refused
    }
}

/// `XRSTOR` of the component that is the rights, from an area of zeroes.
fn restore_rights() {
    #[repr(C, align(64))]
    struct Area([u64; 1024]);
    const RIGHTS: u64 = 1 << 9;
    let mut area = Area([0; 1024]);
    // Which components the area holds (SDM volume 1, 13.4.2).
    area.0[64] = RIGHTS;
    // SAFETY: the gap: the area is larger than any that the processor asks for, and no other component is asked for.
    unsafe {
        asm!("xrstor64 [{}]", in(reg) &raw const area, in("eax") RIGHTS as u32, in("edx") 0, options(nostack, readonly));
    };
}

fn inside_gives_itself_every_right() {
    let (page, sandbox) = (Page::new(), defended());
    let stored = sandbox.call(
        |address: u64| {
            let before = rights();
            set_rights(0);
            let stored = store_byte(address);
            set_rights(before);
            stored
        },
        page.address,
    );
    assert_eq!((stored.unwrap(), page.load(0) as u8), (0xa5, 0xa5));
    assert_works(&sandbox);
}

fn inside_restores_every_right_from_memory() {
    let (page, sandbox) = (Page::new(), defended());
    let stored = sandbox.call(
        |address: u64| {
            let before = rights();
            restore_rights();
            let stored = store_byte(address);
            set_rights(before);
            stored
        },
        page.address,
    );
    assert_eq!((stored.unwrap(), page.load(0) as u8), (0xa5, 0xa5));
    assert_works(&sandbox);
}

fn hostile_code_is_refused() {
    let built = Sandbox::builder().backend(Backend::Mpk).threat(Threat::Hostile).build();
    assert!(matches!(built, Err(Error::Unavailable(_))), "{built:?}");
}
