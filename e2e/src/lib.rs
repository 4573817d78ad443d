//! e2e

#[cfg(test)]
mod dependencies;
