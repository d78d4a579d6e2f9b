//! Values out of range, arguments that do not fit or do not cross, and backends that are not there.

use std::time::Duration;

use ringfence::codec::{DecodeError, Decoder, EncodeError, EncodeErrorKind, Encoder};
use ringfence::{Backend, Error, Item, Limits, Policy, Portable, Sandbox, Threat};

/// A number of calls that this isolate has served.
fn count() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(0);
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}

#[test]
fn settings_out_of_range_are_named() {
    let limits = |limits| Sandbox::builder().limits(limits);
    let policy = |policy| Sandbox::builder().policy(policy);
    let stdin = std::fs::File::open("/dev/null").unwrap();
    let crowd = (0..65).fold(Policy::compute(), |policy, _| policy.lend(stdin.try_clone().unwrap()));
    let cases = [
        (Sandbox::builder().workers(0), "workers"),
        (Sandbox::builder().workers(1025), "workers"),
        (limits(Limits::new().wall(Duration::ZERO)), "wall"),
        (limits(Limits::new().cpu(Duration::from_secs(90_000))), "cpu"),
        (limits(Limits::new().memory_bytes(1)), "memory"),
        (limits(Limits::new().request_bytes(usize::MAX)), "request"),
        (limits(Limits::new().reply_bytes(usize::MAX)), "reply"),
        (limits(Limits::new().stack_bytes(0)), "stack"),
        (limits(Limits::new().descriptors(u32::MAX)), "descriptors"),
        (policy(Policy::compute().allow_syscall(-1)), "system call"),
        (policy(Policy::compute().allow_syscall(i64::MAX)), "system call"),
        (policy(crowd), "64 descriptors"),
    ];
    for (builder, word) in cases {
        for backend in [Backend::Process, Backend::Direct] {
            let refused = builder.clone().backend(backend).build();
            assert!(matches!(&refused, Err(Error::Configuration(_))), "{word}: {refused:?}");
            let text = refused.unwrap_err().to_string();
            assert!(text.contains(word), "`{text}` should name {word}");
        }
    }
}

#[test]
fn the_smallest_settings_work() {
    let limits = Limits::new().memory_bytes(1 << 20).stack_bytes(64 << 10).request_bytes(0).reply_bytes(0);
    let sandbox = Sandbox::builder().limits(limits).build().unwrap();
    sandbox.call(|()| (), ()).unwrap();
    sandbox.run(|| ()).unwrap();
    assert!(matches!(sandbox.call(|_: u8| (), 1_u8), Err(Error::Arguments(_))));
    assert_eq!(sandbox.call(|()| 1_u8, ()).unwrap_err().name(), "reply limit");
    sandbox.call(|()| (), ()).unwrap();
}

#[test]
fn arguments_over_the_limit_run_nothing() {
    for backend in [Backend::Process, Backend::Direct] {
        let limits = Limits::new().request_bytes(4096);
        let sandbox = Sandbox::builder().backend(backend).limits(limits).build().unwrap();
        let mut session = sandbox.session().unwrap();
        let before = session.call(|()| count(), ()).unwrap();
        let refused = session.call(|_: Vec<u8>| count(), vec![0_u8; 4097]);
        let Err(Error::Arguments(error)) = refused else { panic!("{refused:?}") };
        assert_eq!(error.kind(), EncodeErrorKind::Full);
        assert!(matches!(sandbox.call(|_: Vec<u8>| count(), vec![0_u8; 4089]), Err(Error::Arguments(_))));
        sandbox.call(|_: Vec<u8>| count(), vec![0_u8; 4088]).unwrap();
        let after = session.call(|()| count(), ()).unwrap();
        let others = if backend == Backend::Direct { 1 } else { 0 };
        assert_eq!(after, before + 1 + others, "the session goes on, and nothing ran in between");
    }
}

#[test]
fn arguments_that_refuse_run_nothing() {
    let sandbox = Sandbox::process().unwrap();
    let mut session = sandbox.session().unwrap();
    let before = session.call(|()| count(), ()).unwrap();
    let refused = session.call(|_: Awkward| count(), Awkward::Refuses);
    let Err(Error::Arguments(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.kind(), EncodeErrorKind::Refused);
    assert!(error.to_string().contains("on purpose"), "{error}");
    let rejected = session.call(|_: Awkward| count(), Awkward::Unreadable);
    assert!(matches!(rejected, Err(Error::ArgumentsRejected)), "{rejected:?}");
    let rejected = session.call(|_: Awkward| count(), Awkward::TooLong);
    assert!(matches!(rejected, Err(Error::ArgumentsRejected)), "{rejected:?}");
    assert_eq!(session.call(|()| count(), ()).unwrap(), before + 1, "the session goes on, and nothing ran");
    assert!(matches!(sandbox.call(|_: Awkward| count(), Awkward::Unreadable), Err(Error::ArgumentsRejected)));
    assert!(sandbox.call(|()| count(), ()).is_ok());
}

#[test]
fn what_is_not_there_is_refused_with_the_reason() {
    let refusal = |builder: ringfence::Builder| match builder.build() {
        Err(Error::Unavailable(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    for threat in [None, Some(Threat::Faults)] {
        let builder = Sandbox::builder().backend(Backend::Mpk);
        let builder = if let Some(threat) = threat { builder.threat(threat) } else { builder };
        let refused = refusal(builder);
        assert!(refused.to_string().contains("mpk") && !refused.reason().is_empty(), "{refused}");
    }
    let required = Policy::unfiltered().require(Item::SystemCalls);
    let refused = refusal(Sandbox::builder().policy(required));
    assert!(refused.to_string().contains("system calls"), "{refused}");
    let direct = || Sandbox::builder().backend(Backend::Direct);
    let refused = refusal(direct().policy(Policy::compute().require(Item::MemoryIntegrity)));
    assert!(refused.reason().contains("isolates nothing"), "{refused}");
    let refused = refusal(direct().threat(Threat::Faults));
    assert!(refused.to_string().contains("direct"), "{refused}");
}

/// Arguments written by hand, each wrong in its way.
#[derive(Debug)]
enum Awkward {
    Refuses,
    Unreadable,
    TooLong,
}

impl Portable for Awkward {
    type Inside<'a> = Self;
    const MIN_BYTES: usize = 1;

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Refuses => Err(EncodeError::refused("on purpose")),
            Self::Unreadable => 1_u8.encode(out),
            Self::TooLong => 0_u64.encode(out),
        }
    }

    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        match u8::decode(input)? {
            0 => Ok(Self::TooLong),
            _ => Err(DecodeError::invalid_value("on purpose")),
        }
    }
}
