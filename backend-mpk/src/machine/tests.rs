//! The decision over readings made up, and over this machine's.

use super::readings::LEAF_1_ECX_OSXSAVE;
use super::*;

/// A server with AVX-512 on a current kernel.
fn readings() -> Readings {
    Readings {
        vendor: *b"GenuineIntel",
        leaf_7_ecx: LEAF_7_ECX_PKU | LEAF_7_ECX_OSPKE,
        leaf_7_ebx: LEAF_7_EBX_AVX512F,
        leaf_1_ecx: LEAF_1_ECX_OSXSAVE | LEAF_1_ECX_AVX,
        xcr0: 0x2e7,
        xsave_components: 0x2e7,
        pkru_bytes: 8,
        pkru_offset: 0xa80,
        hwcap2: HWCAP2_FSGSBASE,
        shadow_stack: Err(libc::EINVAL),
        release: "6.12.38-cloud-amd64".to_owned(),
        glibc: "2.36".to_owned(),
        signal_frame_bytes: 3632,
    }
}

fn with(change: impl FnOnce(&mut Readings)) -> Result<Machine, Missing> {
    let mut readings = readings();
    change(&mut readings);
    decide(&readings)
}

#[test]
fn a_machine_with_everything_is_described() {
    let machine = Machine {
        pkru_offset: 0xa80,
        vectors: Vectors::Avx512,
        kernel: Version::new(6, 12, 38),
        glibc: Version::new(2, 36, 0),
        signal_frame_bytes: SIGNAL_FRAME_BYTES,
    };
    assert_eq!(decide(&readings()), Ok(machine));
    let tiles = with(|r| r.signal_frame_bytes = 11952).unwrap();
    assert_eq!(tiles.signal_frame_bytes, 11952);
}

#[test]
fn each_thing_that_lacks_is_named() {
    type Change = fn(&mut Readings);
    let place = |offset, bytes| Missing::KeysPlace { offset, bytes };
    let cases: [(Change, Missing); 16] = [
        (|r| r.leaf_7_ecx = 0, Missing::Keys),
        // UMIP, which is next to it.
        (|r| r.leaf_7_ecx = 1 << 2, Missing::Keys),
        (|r| r.leaf_7_ecx = LEAF_7_ECX_PKU, Missing::KeysEnabled),
        (|r| r.xcr0 = 0xe7, Missing::KeysSaved),
        (|r| r.xsave_components = 0xe7, Missing::KeysSaved),
        (|r| r.pkru_bytes = 4, place(0xa80, 4)),
        (|r| r.pkru_offset = 512, place(512, 8)),
        (|r| r.pkru_offset = 0xa81, place(0xa81, 8)),
        (|r| r.pkru_offset = XSAVE_AREA_MAX, place(XSAVE_AREA_MAX, 8)),
        (|r| r.hwcap2 = 1, Missing::FsBase),
        (|r| r.shadow_stack = Ok(0b11), Missing::NoShadowStack),
        (|r| r.shadow_stack = Err(libc::EPERM), Missing::ShadowStackStatus { errno: libc::EPERM }),
        (|r| r.release = "next".to_owned(), Missing::KernelRelease("next".to_owned())),
        (|r| r.release = "99999999999.1".to_owned(), Missing::KernelRelease("99999999999.1".to_owned())),
        (|r| r.release = "5.10.0-28-amd64".to_owned(), Missing::Dispatch(Version::new(5, 10, 0))),
        (|r| r.glibc = String::new(), Missing::LibraryVersion(String::new())),
    ];
    for (change, missing) in cases {
        assert_eq!(with(change), Err(missing.clone()), "{missing}");
    }
}

#[test]
fn shadow_stacks_that_are_off_are_no_obstacle() {
    for off in [Ok(0), Err(libc::EINVAL), Err(libc::ENOSYS)] {
        assert!(with(|r| r.shadow_stack = off).is_ok(), "{off:?}");
    }
}

#[test]
fn five_kernels_are_refused_on_amd_alone() {
    for (release, hurt) in [
        ("6.11.11", false),
        ("6.12", true),
        ("6.12.0-rc1", true),
        ("6.12.4", true),
        ("6.12.5", false),
        ("6.12.40", false),
    ] {
        let amd = |vendor: &[u8; 12]| {
            with(|r| {
                r.vendor = *vendor;
                r.release = release.to_owned();
            })
        };
        let kernel = release.parse().unwrap();
        let refused = Err(Missing::SignalReturn(kernel));
        assert_eq!(amd(b"AuthenticAMD") == refused, hurt, "{release}");
        assert_eq!(amd(b"HygonGenuine") == refused, hurt, "{release}");
        assert!(amd(b"GenuineIntel").is_ok(), "{release}");
    }
}

#[test]
fn frames_are_written_with_keys_open_from_the_version_that_does() {
    let opens = |release: &str| with(|r| r.release = release.to_owned()).unwrap();
    assert!(!opens("6.11.99").writes_frames_with_keys_open());
    assert!(opens("6.12.0").writes_frames_with_keys_open());
}

#[test]
fn vector_state_counts_when_the_kernel_keeps_it_and_the_processor_has_it() {
    let vectors = |change: fn(&mut Readings)| with(change).unwrap().vectors;
    assert_eq!(vectors(|r| r.xcr0 = 0x267), Vectors::Avx, "the upper sixteen registers are not kept");
    assert_eq!(vectors(|r| r.leaf_7_ebx = 0), Vectors::Avx);
    assert_eq!(vectors(|r| r.xcr0 = 0x203), Vectors::Sse);
    assert_eq!(
        vectors(|r| {
            r.leaf_7_ebx = 0;
            r.leaf_1_ecx = LEAF_1_ECX_OSXSAVE;
        }),
        Vectors::Sse
    );
}

#[test]
fn this_machine_is_described_as_the_kernel_describes_it() {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap();
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    let outcome = examine();
    match (has("pku"), has("ospke")) {
        (false, _) => assert_eq!(outcome, Err(Missing::Keys)),
        (true, false) => assert_eq!(outcome, Err(Missing::KeysEnabled)),
        (true, true) => assert!(outcome.is_ok(), "{outcome:?}"),
    }
    let readings = Readings::take();
    assert_eq!(vectors(&readings) == Vectors::Avx512, has("avx512f"));
    assert_eq!(vectors(&readings) >= Vectors::Avx, has("avx"));
    assert_eq!(readings.hwcap2 & HWCAP2_FSGSBASE != 0, has("fsgsbase"));
    assert_eq!(amd(readings.vendor), cpuinfo.contains("AuthenticAMD"));
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(readings.release, release.trim());
    assert!(readings.glibc.parse::<Version>().unwrap() >= Version::new(2, 17, 0), "{}", readings.glibc);
}
