//! The symbols that stand before the C library's own.

mod domain;
mod exits;
mod host;
mod malloc;
mod signals;
mod text;
