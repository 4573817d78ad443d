//! What belongs to no single service.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its case fails")]

mod readme;
mod page;
mod promises;
mod samples;
mod planted;
mod reachable;
mod choreography;
mod exploration;
mod saga_model;
mod processors;
mod seeds;
mod faults;
mod simulation;
mod system;
mod crash_matrix;
mod browser;
mod chaos;
mod cluster;
