//! Crossings with values whose `encode` does what it should not.

use ringfence_passport::Tracker;

use crate::codec::{DecodeError, Decoder, EncodeError, EncodeErrorKind, Encoder, Portable};
use crate::fault::{FaultKind, Phase};
use crate::region::Outlet;
use crate::{Config, Direct, Error, Limits, Sandbox};

/// Larger than the areas, so that a length that is believed reaches beyond them.
const LEAKED_BYTES: usize = 1 << 20;

/// Puts an encoder over memory of its own in the place of the one it is given, and writes there.
struct Replaces;

impl Portable for Replaces {
    type Inside<'a> = Self;
    const MIN_BYTES: usize = 0;

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        *out = Encoder::new(Outlet::new(Box::leak(vec![0; LEAKED_BYTES].into_boxed_slice())));
        out.write_bytes(&[7; 64])
    }

    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        input.read_bytes(64).map(|_| Self)
    }
}

/// Takes the encoder away, writes, and puts it back.
struct Returns;

impl Portable for Returns {
    type Inside<'a> = Self;
    const MIN_BYTES: usize = 1;

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        let mut taken = std::mem::replace(out, Encoder::new(Outlet::new(&mut [])));
        let written = taken.write_bytes(&[7]);
        *out = taken;
        written
    }

    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let _: u8 = u8::decode(input)?;
        Ok(Self)
    }
}

fn direct() -> Sandbox {
    let limits = Limits::default().request_bytes(4096).reply_bytes(64 << 10);
    let config = Config { limits: limits.clone(), ..Config::default() };
    Sandbox::new(Box::new(Direct::new(&config).unwrap()), &limits, Tracker::default())
}

#[test]
fn arguments_written_elsewhere_are_refused_and_nothing_runs() {
    let refused = direct().call(|_: Replaces| -> () { panic!("it ran") }, Replaces).unwrap_err();
    let Error::Arguments(error) = &refused else { panic!("{refused:?}") };
    assert_eq!(error.kind(), EncodeErrorKind::Refused);
    assert_eq!(refused.to_string(), "encode the arguments: its `encode` replaced the encoder");
}

#[test]
fn a_reply_written_elsewhere_is_refused() {
    let fault = direct().call(|_: u8| Replaces, 1_u8).map(|_| ()).unwrap_err().into_fault().unwrap();
    assert_eq!((fault.kind(), fault.phase()), (&FaultKind::MalformedReply { error: None }, Phase::Inside));
    assert!(direct().run(|| Replaces).is_err());
}

#[test]
fn an_encoder_that_is_put_back_is_as_good_as_before() {
    assert!(direct().call(|value: Returns| value, Returns).is_ok());
}

#[test]
fn arguments_that_do_not_fit_name_the_limit() {
    let refused = direct().call(|_: &[u8]| (), &[0_u8; 5000][..]).unwrap_err();
    assert_eq!(refused.to_string(), "the arguments do not fit into the request limit of 4096 bytes");
}

#[test]
fn no_frame_of_ours_is_between_the_marker_and_the_user_s_function() {
    let trace = || std::backtrace::Backtrace::force_capture().to_string();
    let by_call = direct().call(move |_: u8| trace(), 1_u8).unwrap();
    let by_run = direct().run(trace).unwrap();
    for (trace, marker) in [(by_call, "__ringfence_begin_call"), (by_run, "__ringfence_begin_run")] {
        // By file, since an optimised build has no paths in the names of what it inlined.
        let lines: Vec<&str> = trace.lines().collect();
        let begin = lines.iter().position(|line| line.contains(marker)).expect(&trace);
        assert!(lines[begin - 1].contains("sandbox/tests.rs"), "{trace}");
    }
}
