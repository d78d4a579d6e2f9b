//! What can go wrong while a value is encoded or decoded.
//!
//! Both errors are a few words: a hostile reply must not be able to make refusing it expensive.

use core::fmt;

use crate::region::{Full, SourceError};

/// Why a value was not encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeErrorKind {
    /// The region has no room left.
    Full,
    /// The value is nested deeper than the encoder allows.
    DepthExceeded,
    /// The type's own `encode` refused the value.
    Refused,
}

/// A value could not be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError {
    kind: EncodeErrorKind,
    reason: &'static str,
    limit_bytes: Option<usize>,
}

impl EncodeError {
    pub(super) const DEPTH: Self = Self {
        kind: EncodeErrorKind::DepthExceeded,
        reason: "the value is nested too deeply",
        limit_bytes: None,
    };

    /// A hand-written `encode` cannot carry this value, for the `reason` given.
    #[must_use]
    pub const fn refused(reason: &'static str) -> Self {
        Self { kind: EncodeErrorKind::Refused, reason, limit_bytes: None }
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> EncodeErrorKind {
        self.kind
    }

    /// How many bytes there was room for, where a crossing ran out of room.
    #[must_use]
    pub const fn limit_bytes(&self) -> Option<usize> {
        self.limit_bytes
    }

    /// Why, without the operation.
    pub(crate) const fn reason(&self) -> &'static str {
        self.reason
    }

    pub(super) fn with_limit(self, limit_bytes: usize) -> Self {
        match self.kind {
            EncodeErrorKind::Full => Self { limit_bytes: Some(limit_bytes), ..self },
            _ => self,
        }
    }
}

impl From<Full> for EncodeError {
    #[inline]
    fn from(_: Full) -> Self {
        Self { kind: EncodeErrorKind::Full, reason: "the region is full", limit_bytes: None }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "encode value: {}", self.reason)
    }
}

impl std::error::Error for EncodeError {}

/// Why bytes were not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The bytes end before the value does, or declare more elements than they can hold.
    UnexpectedEnd,
    /// The value ends before the bytes do.
    TrailingBytes,
    /// The value is nested deeper than the decoder allows.
    DepthExceeded,
    /// The value asks for more heap than the decoder may claim.
    BudgetExceeded,
    /// A declared length does not fit the address space.
    LengthOverflow,
    /// A string is not UTF-8.
    InvalidUtf8,
    /// An enum, `Option` or `Result` has no such variant.
    InvalidDiscriminant,
    /// A `bool` is neither 0 nor 1.
    InvalidBool,
    /// A `char` is not a Unicode scalar value.
    InvalidChar,
    /// The bytes are well-formed, but no value of the type: a zero `NonZero`, a repeated key, what a
    /// hand-written `decode` refuses.
    InvalidValue,
    /// The type borrows, and the memory may change meanwhile.
    NotBorrowable,
    /// The allocator refused.
    OutOfMemory,
}

/// Bytes could not be decoded to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    kind: DecodeErrorKind,
    reason: &'static str,
}

impl DecodeError {
    /// A hand-written `decode` does not accept what it read, for the `reason` given.
    #[must_use]
    pub const fn invalid_value(reason: &'static str) -> Self {
        Self { kind: DecodeErrorKind::InvalidValue, reason }
    }

    /// The type named has no variant with the number that was read. Derived code calls this.
    #[must_use]
    pub const fn invalid_discriminant(type_name: &'static str) -> Self {
        Self { kind: DecodeErrorKind::InvalidDiscriminant, reason: type_name }
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> DecodeErrorKind {
        self.kind
    }
}

impl From<DecodeErrorKind> for DecodeError {
    #[inline]
    fn from(kind: DecodeErrorKind) -> Self {
        Self { kind, reason: "" }
    }
}

impl From<SourceError> for DecodeError {
    #[inline]
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::UnexpectedEnd => DecodeErrorKind::UnexpectedEnd,
            SourceError::OutOfMemory => DecodeErrorKind::OutOfMemory,
            SourceError::NotBorrowable => DecodeErrorKind::NotBorrowable,
        }
        .into()
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            DecodeErrorKind::UnexpectedEnd => "the bytes end before it does",
            DecodeErrorKind::TrailingBytes => "bytes are left over",
            DecodeErrorKind::DepthExceeded => "it is nested too deeply",
            DecodeErrorKind::BudgetExceeded => "it needs more memory than allowed",
            DecodeErrorKind::LengthOverflow => "a length does not fit the address space",
            DecodeErrorKind::InvalidUtf8 => "a string is not utf-8",
            DecodeErrorKind::InvalidDiscriminant => "no such variant",
            DecodeErrorKind::InvalidBool => "a bool is neither 0 nor 1",
            DecodeErrorKind::InvalidChar => "a char is not a unicode scalar value",
            DecodeErrorKind::InvalidValue => "invalid value",
            DecodeErrorKind::NotBorrowable => "it borrows memory that may change",
            DecodeErrorKind::OutOfMemory => "the allocator refused",
        };
        write!(f, "decode value: {what}")?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

impl std::error::Error for DecodeError {}
