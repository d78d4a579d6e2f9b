//! Real C libraries inside: zlib, zstd and lz4 as their authors wrote them, and what they and others ask of the C library.
#![expect(clippy::unwrap_used, reason = "what is not as it should be fails the test")]

mod lazy;
#[path = "../../examples/ffi/lz4.rs"]
mod lz4;
mod zlib;
mod zstd;

use std::time::Instant;

use libtest_mimic::Trial;
use ringfence::{Backend, Limits, Sandbox};

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, check: fn()| {
        Trial::test(format!("libraries::{name}"), move || {
            check();
            Ok(())
        })
    };
    vec![
        trial("zlib", holds::<Zlib>),
        trial("zstd", holds::<Zstd>),
        trial("lz4", holds::<Lz4>),
        trial("many_times_in_one_domain", many_times_in_one_domain),
        lazy::trial(),
    ]
}

/// A library that compresses.
trait Library: Copy + 'static {
    fn compress(plain: &[u8]) -> Option<Vec<u8>>;
    /// `None` where it is not what the library makes.
    fn restore(packed: &[u8]) -> Option<Vec<u8>>;
}

macro_rules! library {
    ($name:ident: $compress:path, $restore:path) => {
        #[derive(Clone, Copy)]
        struct $name;

        impl Library for $name {
            fn compress(plain: &[u8]) -> Option<Vec<u8>> {
                $compress(plain)
            }

            fn restore(packed: &[u8]) -> Option<Vec<u8>> {
                $restore(packed)
            }
        }
    };
}

library!(Zlib: zlib::compress, zlib::restore);
library!(Zstd: zstd::compress, zstd::restore);
library!(Lz4: lz4::compress, lz4::uncompress);

/// A few hundred KiB.
fn data() -> Vec<u8> {
    include_bytes!("../../examples/data/lighthouse_log.txt").repeat(6)
}

/// By `call` and by `run` the same as outside, whatever goes in.
fn holds<L: Library>() {
    let sandbox = Sandbox::mpk().unwrap();
    let plain = data();
    let outside = L::compress(&plain).unwrap();
    assert!(outside.len() < plain.len() / 2 && L::restore(&outside).as_ref() == Some(&plain));

    assert_eq!(sandbox.call(|plain: &[u8]| L::compress(plain), &plain[..]).unwrap().as_ref(), Some(&outside));
    assert_eq!(sandbox.run(|| L::compress(&plain)).unwrap().as_ref(), Some(&outside));
    assert_eq!(
        sandbox.call(|packed: &[u8]| L::restore(packed), &outside[..]).unwrap().as_ref(),
        Some(&plain)
    );
    assert_eq!(sandbox.run(|| L::restore(&outside)).unwrap().as_ref(), Some(&plain));
    for small in [&b""[..], &b"a"[..], &plain[..100]] {
        let back = sandbox.run(|| L::restore(&L::compress(small)?)).unwrap();
        assert_eq!(back.as_deref(), Some(small));
    }

    let mut refused = 0;
    let corrupted = corrupted(&outside);
    for packed in &corrupted {
        let told = L::restore(packed);
        let inside = sandbox.call(|packed: &[u8]| L::restore(packed), &packed[..]).unwrap();
        assert!(inside == told, "a corrupted input: the same inside as outside");
        assert!(sandbox.run(|| L::restore(packed) == told).unwrap(), "by run too");
        refused += usize::from(inside.is_none());
    }
    // A bit that means nothing may be among those turned round.
    assert!(refused + 2 >= corrupted.len(), "{refused} of {} were refused", corrupted.len());
}

/// What is not what the library made: cut off, turned round in places, nothing, noise.
fn corrupted(packed: &[u8]) -> Vec<Vec<u8>> {
    let bytes = packed.len();
    let mut all: Vec<Vec<u8>> = [0, 1, 5, bytes / 2, bytes - 1].map(|cut| packed[..cut].to_vec()).into();
    for place in [0, 1, 3, 6, 9, bytes / 4, bytes / 2, bytes - 5, bytes - 1] {
        let mut turned = packed.to_vec();
        turned[place] ^= 0x55;
        all.push(turned);
    }
    all.push((0..20_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect());
    all
}

/// What a library leaves on the heap would soon fill it.
fn many_times_in_one_domain() {
    const TIMES: usize = 30;
    let limits = Limits::new().memory_bytes(16 << 20);
    let sandbox = Sandbox::builder().backend(Backend::Mpk).limits(limits).build().unwrap();
    let mut session = sandbox.session().unwrap();
    let plain = &data()[..64 << 10];
    let start = Instant::now();
    for time in 0..TIMES {
        let all = session.call(
            |plain: &[u8]| {
                fn there_and_back<L: Library>(plain: &[u8]) -> bool {
                    L::compress(plain).and_then(|packed| L::restore(&packed)).as_deref() == Some(plain)
                }
                [there_and_back::<Zlib>(plain), there_and_back::<Zstd>(plain), there_and_back::<Lz4>(plain)]
            },
            plain,
        );
        assert_eq!(all.unwrap(), [true; 3], "time {time}");
        if time % 3 == 0 {
            let garbage = session.call(|packed: &[u8]| Zlib::restore(packed), &plain[..1000]);
            assert_eq!(garbage.unwrap(), None);
        }
    }
    println!("{TIMES} times in {:.1?}", start.elapsed());
}
