//! The rows of the bench `gate`.
//!
//! | file | what it holds |
//! |---|---|
//! | `clock` | what is counted here, and how often a thing is done to count it |
//! | `report` | the printed table, with targets |
//! | `rights` | the instruction everything else stands on, and the gate |
//! | `calls` | calls and closures |
//! | `heap` | `malloc` inside and outside |
//! | `recovery` | faults and resets |
//! | `bare` | the gate without the instruction |

pub(crate) mod bare;
pub(crate) mod calls;
pub(crate) mod clock;
pub(crate) mod heap;
pub(crate) mod recovery;
pub(crate) mod report;
pub(crate) mod rights;
