//! `fulfil topic`: the topics of the contract.

mod ensure;

pub use ensure::{Ensured, ensure};
