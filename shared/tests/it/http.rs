//! The HTTP edge over real sockets.

mod admin;
mod bodies;
mod problems;
mod server;
