//! The HTTP edge: what a request must be before a handler sees it, and how every answer and every refusal looks.
//!
//! A handler here makes a command and asks the engine ([`crate::engine::inbox::Inbox`]); it touches no database and
//! no topic. A client that goes away drops the handler's future and nothing else.

pub mod problem;
pub mod body;
pub mod params;
pub mod trace;
pub mod token;
pub mod observe;
pub mod server;
pub mod admin;
pub mod followers;
pub mod openapi;

pub use admin::{Readiness, healthcheck};
pub use body::{Json, JsonOrNothing};
pub use observe::finish;
pub use openapi::documented;
pub use params::{IdempotencyKey, LetterId, PathParam, Query};
pub use problem::Problem;
pub use server::{Limits, bind, serve};
pub use token::Token;
pub use trace::Trace;
