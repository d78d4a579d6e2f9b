//! What the tests of ringfence share: foreign code that misbehaves, a plain child to see what it does unheld, and the table of operations.

pub mod alone;
pub mod child;
pub mod contract;
pub mod fixtures;
pub mod resources;
pub mod table;
pub mod trial;
