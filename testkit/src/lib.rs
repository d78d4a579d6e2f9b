//! What the tests of ringfence share: foreign code that misbehaves, a plain child to see what it does unheld, and the table of operations.

pub mod child;
pub mod fixtures;
pub mod table;
