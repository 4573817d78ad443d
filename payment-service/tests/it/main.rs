//! payment-service from outside: its domain cell by cell, and its provider over HTTP.

mod calls;
mod given;
mod http;
mod life;
mod provider;
mod transitions;
mod unit_of_work;
