//! What belongs to no single service: whole systems to test against, and tests over the workspace.

pub mod system;
pub mod browser;
pub mod fuzz;
#[cfg(test)]
mod dependencies;
