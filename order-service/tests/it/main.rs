//! order-service from outside: its domain cell by cell, and what must hold whatever comes.

mod given;
mod limits;
mod properties;
mod transitions;
