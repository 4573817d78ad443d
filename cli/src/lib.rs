//! What the `fulfil` program does, command by command. A library as well, so that tests can start and stop systems
//! without parsing what a program prints.

pub mod dev;
pub mod topic;
