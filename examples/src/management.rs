//! How a running lwAFTR is watched and changed: HTTP/1.1 with JSON on a Unix socket, metrics and
//! health on a TCP port where that is wanted, and the client of both.
//!
//! `docs/MANAGEMENT.md` lists the paths.

pub mod cli;
pub mod client;
mod metrics;
mod past;
mod routes;
mod server;
mod show;
mod socket;

pub use self::metrics::exposition;
pub use self::server::{MAX_CONNECTIONS, Server};
pub use self::socket::Listeners;
