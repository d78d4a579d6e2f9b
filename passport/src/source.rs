//! Where a piece of memory came from.

use std::borrow::Cow;
use std::panic::Location;
use std::sync::Arc;

use serde::Serialize;

use crate::crossing::Operation;
use crate::event::{PassportEventType, Timestamp};

/// Where a piece of memory came from. What is not known is `None`; nothing here is guessed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind")]
#[non_exhaustive]
pub enum AllocationSource {
    /// Safe Rust code.
    RustSafe,
    /// An `unsafe` block.
    UnsafeRust {
        /// Place of the block.
        #[serde(serialize_with = "crate::export::location")]
        unsafe_block_location: Option<&'static Location<'static>>,
        /// Stack at the allocation, innermost frame first.
        call_stack: Option<Arc<[StackFrame]>>,
        /// What the one who declared it thinks of it.
        risk_assessment: Option<RiskAssessment>,
    },
    /// A foreign function.
    FfiC {
        /// Name of the function.
        resolved_function: Option<Cow<'static, str>>,
        /// Stack at the allocation, innermost frame first.
        call_stack: Option<Arc<[StackFrame]>>,
        /// What the allocator's hook saw.
        libc_hook_info: Option<LibcHookInfo>,
    },
    /// A copy that a crossing made on the other side.
    CrossBoundary {
        /// The side that gave.
        from: Side,
        /// The side that received.
        to: Side,
        /// When.
        transfer_timestamp: Option<Timestamp>,
        /// In which crossing.
        transfer_metadata: Option<TransferMetadata>,
    },
}

/// One side of the boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "side")]
#[non_exhaustive]
pub enum Side {
    /// Rust, in the host.
    Rust,
    /// Foreign code in the same protection domain as the host.
    Foreign,
    /// An isolate.
    Isolate {
        /// Backend that made the isolate.
        backend: &'static str,
        /// The backend's number for it.
        isolate: u64,
    },
}

/// One frame of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StackFrame {
    /// Address in the code.
    #[serde(serialize_with = "crate::export::hex")]
    pub instruction_ptr: usize,
    /// Function that holds the address.
    pub function: Option<String>,
    /// Source file.
    pub file: Option<String>,
    /// Line in the file, from 1.
    pub line: Option<u32>,
}

/// How dangerous the author of an `unsafe` block takes it to be. Stated, never computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RiskAssessment {
    /// The level.
    pub risk_level: RiskLevel,
    /// Why.
    pub reason: Cow<'static, str>,
}

/// Levels of risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum RiskLevel {
    /// A slip costs little.
    Low,
    /// A slip shows soon.
    Medium,
    /// A slip corrupts memory.
    High,
    /// A slip is exploitable.
    Critical,
}

/// What an allocator's hook saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LibcHookInfo {
    /// The function that was called, `malloc` for instance.
    pub original_function: &'static str,
    /// Size asked for.
    pub requested_size_bytes: Option<usize>,
    /// Size given.
    pub actual_size_bytes: Option<usize>,
}

/// The crossing that moved the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TransferMetadata {
    /// Number of the crossing.
    pub crossing_id: u64,
    /// What kind of crossing it was.
    pub operation: Operation,
}

impl AllocationSource {
    /// The event with which memory of this source enters the record.
    pub(crate) const fn first_event(&self) -> PassportEventType {
        match self {
            Self::RustSafe | Self::UnsafeRust { .. } => PassportEventType::AllocatedInRust,
            Self::FfiC { .. } => PassportEventType::AllocatedInForeign,
            Self::CrossBoundary { to: Side::Rust, .. } => PassportEventType::ReclaimedByRust,
            Self::CrossBoundary { .. } => PassportEventType::HandoverToFfi,
        }
    }

    /// Bytes that this value holds beside itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::RustSafe | Self::CrossBoundary { .. } => 0,
            Self::UnsafeRust { call_stack, risk_assessment, .. } => {
                stack_bytes(call_stack.as_deref())
                    + risk_assessment.as_ref().map_or(0, |risk| risk.reason.len())
            }
            Self::FfiC { resolved_function, call_stack, .. } => {
                stack_bytes(call_stack.as_deref()) + resolved_function.as_ref().map_or(0, |name| name.len())
            }
        }
    }
}

fn stack_bytes(frames: Option<&[StackFrame]>) -> usize {
    let frame_bytes = |frame: &StackFrame| {
        size_of::<StackFrame>()
            + frame.function.as_ref().map_or(0, String::capacity)
            + frame.file.as_ref().map_or(0, String::capacity)
    };
    frames.unwrap_or_default().iter().map(frame_bytes).sum()
}
