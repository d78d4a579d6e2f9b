//! What the tests of ringfence share: foreign code that misbehaves, and a plain child to see what it does unheld.

pub mod child;
pub mod fixtures;
