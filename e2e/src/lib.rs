//! What belongs to no single service: whole systems to test against, and tests over the workspace.

pub mod system;
#[cfg(test)]
mod dependencies;
