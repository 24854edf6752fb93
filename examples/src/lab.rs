//! `lw4o6-lab`: real kernels' hosts in network namespaces around the programs.
//!
//! ```text
//! lw4o6-lab -- own namespace, empty
//!   | starts, one process each, which holds a namespace and dies with the lab
//!   +-- internet   kernel host
//!   +-- aftr       lwaftr run, no addresses
//!   +-- access     kernel IPv6 router
//!   +-- b4-...     softwire endpoint of the lab, no addresses
//!   +-- home-...   kernel IPv4 host behind it
//! ```
//!
//! Nothing outside these namespaces is touched, and nothing is written to disk. Not being root is
//! enough reason to begin with a user namespace in which we are.

pub mod agent;
pub mod blast;
pub mod endpoint;
pub mod flow;
pub mod host;
pub mod impair;
pub mod namespace;
pub mod null;
pub mod probe;
pub mod raw;
pub mod scenario;
pub mod topology;
pub mod traffic;

mod aftr;
mod basic;
mod craft;
mod flap;
mod fragments;
mod hairpin;
mod management;
mod mtu;
mod numbered;
mod reload;
mod running;
mod soak;
mod speed;
mod spoof;
mod subscriber;

pub use self::scenario::{Outcome, SCENARIOS, Scenario};
