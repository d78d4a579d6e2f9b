//! Point 6: what comes out is decoded as hostile. Here the inside answers through the codec with bytes that are no value; what
//! it can do to the channel itself is the backend's own matter.

use std::fmt;
use std::marker::PhantomData;

use ringfence_core::codec::{DecodeError, DecodeErrorKind, Decoder, EncodeError, Encoder};
use ringfence_core::fault::Phase;
use ringfence_core::{FaultKind, Limits, Owned, Portable};

use super::{Subject, Way};

/// Bytes that the inside sends in place of a value.
trait Bytes: Copy + 'static {
    fn write(out: &mut Encoder<'_>) -> Result<(), EncodeError>;
}

/// A `T` to the host, and whatever `B` writes to the inside.
struct Forged<T, B>(T, PhantomData<B>);

impl<T, B> fmt::Debug for Forged<T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Forged")
    }
}

impl<T: Owned, B: Bytes> Portable for Forged<T, B> {
    type Inside<'a> = Self;
    const MIN_BYTES: usize = T::MIN_BYTES;

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        B::write(out)
    }

    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        Ok(Self(T::decode(input)?, PhantomData))
    }
}

/// Levels without end, of one byte each.
#[derive(Debug, Default)]
struct Chain(Option<Box<Chain>>);

impl Portable for Chain {
    type Inside<'a> = Self;
    const MIN_BYTES: usize = 1;

    fn encode(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        self.0.encode(out)
    }

    fn decode<'a>(input: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        Ok(Self(Option::<Box<Self>>::decode(input)?))
    }
}

/// Much room, few bytes: `None` of this is one byte.
type Wide = Option<[u64; 256]>;

macro_rules! forgeries {
    ($($name:ident: $write:expr;)+) => {
        $(
            #[derive(Clone, Copy)]
            struct $name;

            impl Bytes for $name {
                fn write(out: &mut Encoder<'_>) -> Result<(), EncodeError> {
                    let write: fn(&mut Encoder<'_>) -> Result<(), EncodeError> = $write;
                    write(out)
                }
            }
        )+
    };
}

forgeries! {
    Endless: |out| (1_u64 << 63).encode(out);
    AlmostEndless: |out| { u64::MAX.encode(out)?; out.write_bytes(&[0; 4096]) };
    Overlong: |out| { 10_u64.encode(out)?; out.write_bytes(b"three") };
    Nothing: |_| Ok(());
    Short: |out| out.write_bytes(&[1, 0, 0]);
    Trailing: |out| { 7_u64.encode(out)?; 0_u8.encode(out) };
    Bomb: |out| out.write_bytes(&[1; 100_000]);
    NotUtf8: |out| { 4_u64.encode(out)?; out.write_bytes(&[b'a', 0xff, 0xfe, b'b']) };
    Surrogate: |out| out.write_bytes(&[0xed, 0xa0, 0x80]);
    Two: |out| out.write_bytes(&[2]);
    Many: |out| { 60_000_u64.encode(out)?; out.write_bytes(&[0; 60_000]) };
    Refusing: |_| Err(EncodeError::refused("on purpose"));
}

/// Lengths of 2^63, truncated and overlong messages, a bomb of levels, wrong text, wrong discriminants: each is a fault that names what
/// it met, and the sandbox goes on.
///
/// # Panics
/// The backend breaks the contract.
pub fn are_not_believed(subject: &Subject<'_>) {
    use DecodeErrorKind as Kind;
    refuses::<Vec<u8>, Endless>(subject, &[Kind::UnexpectedEnd, Kind::LengthOverflow]);
    refuses::<Vec<u64>, Endless>(subject, &[Kind::UnexpectedEnd, Kind::LengthOverflow]);
    refuses::<String, Endless>(subject, &[Kind::UnexpectedEnd, Kind::LengthOverflow]);
    refuses::<Vec<Vec<u8>>, AlmostEndless>(subject, &[Kind::UnexpectedEnd, Kind::LengthOverflow]);
    refuses::<Vec<u8>, Overlong>(subject, &[Kind::UnexpectedEnd]);
    refuses::<String, Overlong>(subject, &[Kind::UnexpectedEnd]);
    refuses::<u64, Nothing>(subject, &[Kind::UnexpectedEnd]);
    refuses::<u64, Short>(subject, &[Kind::UnexpectedEnd]);
    refuses::<u64, Trailing>(subject, &[Kind::TrailingBytes]);
    refuses::<(), Two>(subject, &[Kind::TrailingBytes]);
    refuses::<Chain, Bomb>(subject, &[Kind::DepthExceeded]);
    refuses::<String, NotUtf8>(subject, &[Kind::InvalidUtf8]);
    refuses::<char, Surrogate>(subject, &[Kind::InvalidChar]);
    refuses::<bool, Two>(subject, &[Kind::InvalidBool]);
    refuses::<Option<u64>, Two>(subject, &[Kind::InvalidDiscriminant]);
    refuses::<Vec<Wide>, Many>(subject, &[Kind::BudgetExceeded]);
}

/// An `encode` that refuses its value inside is a fault as well, before any reply.
///
/// # Panics
/// The backend breaks the contract.
pub fn that_are_refused(subject: &Subject<'_>) {
    let sandbox = subject.sandbox();
    for way in Way::ALL {
        let error = way.go(&sandbox, || Forged::<u64, Refusing>(1, PhantomData)).unwrap_err();
        let fault = error.fault().unwrap();
        let found = (fault.kind(), fault.phase());
        assert_eq!(found, (&FaultKind::MalformedReply { error: None }, Phase::Inside), "{way:?}: {fault}");
        assert_eq!(way.go(&sandbox, || 5_u64).unwrap(), 5, "{way:?} after it");
    }
}

/// Has the inside send `B` for a `T`: a fault of one of these kinds, by every way.
#[track_caller]
fn refuses<T: Owned + Default, B: Bytes>(subject: &Subject<'_>, kinds: &[DecodeErrorKind]) {
    let sandbox = subject.limited(Limits::new().reply_bytes(128 << 10));
    for way in Way::ALL {
        let error = way.go(&sandbox, || Forged::<T, B>(T::default(), PhantomData)).unwrap_err();
        let fault = error.fault().unwrap();
        let FaultKind::MalformedReply { error: Some(found) } = fault.kind() else {
            panic!("{way:?}: {fault:#}")
        };
        assert!(kinds.contains(&found.kind()), "{way:?}: {fault}, expected {kinds:?}");
        assert_eq!(fault.phase(), Phase::Replied, "{way:?}: {fault}");
        assert_eq!(way.go(&sandbox, || 5_u64).unwrap(), 5, "{way:?} after {fault}");
    }
}
