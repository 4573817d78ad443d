//! What the `fulfil` program does, command by command. A library as well, so that tests can start and stop systems
//! without parsing what a program prints.

pub mod order;
pub mod stock;
pub mod event;
pub mod topic;
pub mod dlq;
pub mod consumer;
pub mod projection;
pub mod dev;
pub mod demo;
pub mod load;
pub mod overview;
pub mod sales;
pub mod doctor;

pub mod man;
pub mod audit;
pub mod service;
pub mod sighting;
pub mod kafka;
pub mod place;
pub mod output;
pub mod exit;
