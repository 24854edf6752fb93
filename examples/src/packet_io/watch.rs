//! Whether an interface is there.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::netlink::{Link, LinkMonitor, Netlink};
use crate::stopwatch::Stopwatch;

/// Shortest time between two questions.
const INTERVAL: Duration = Duration::from_millis(200);

/// An interface that may go away and come back.
#[derive(Debug)]
pub(super) struct Watch {
    name: String,
    link: Link,
    up: bool,
    losses: u64,
    /// Tells when to ask; without it we ask whenever we are called.
    monitor: Option<LinkMonitor>,
    clock: Stopwatch,
    asked: Option<Duration>,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing that needs to be done.
    Nothing,
    /// An interface of the name that is not the one we knew.
    Another(Link),
}

impl Watch {
    /// Watches the interface `name`, which is `link` and up.
    pub(super) fn new(name: &str, link: Link) -> Self {
        Self {
            name: name.to_owned(),
            link,
            up: true,
            losses: 0,
            monitor: LinkMonitor::open().ok(),
            clock: Stopwatch::start(),
            asked: None,
        }
    }

    /// The interface's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The interface as last seen.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Whether frames can pass.
    pub(super) fn is_up(&self) -> bool {
        self.up
    }

    /// How often it went away.
    pub(super) fn losses(&self) -> u64 {
        self.losses
    }

    /// What to wait for while it is away.
    pub(super) fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        let monitor = self.monitor.as_ref().filter(|_| !self.up)?;
        Some(monitor.as_fd())
    }

    /// The kernel said that it is away.
    pub(super) fn lost(&mut self) {
        if self.up {
            self.losses += 1;
            self.asked = None;
        }
        self.up = false;
    }

    /// Looks whether it is there again; costs nothing while it is not away. `is_bound` tells whether
    /// what was opened still belongs to the interface of a number: one that was moved to another
    /// namespace and back may have its old number.
    pub(super) fn look(&mut self, is_bound: impl FnOnce(u32) -> bool) -> Seen {
        if self.up {
            return Seen::Nothing;
        }
        let now = self.clock.elapsed();
        let news = self.monitor.as_mut().is_some_and(LinkMonitor::changed);
        let is_due = self.asked.is_none_or(|asked| asked + INTERVAL <= now);
        if !(is_due || news) {
            return Seen::Nothing;
        }
        self.asked = Some(now);
        let link = Netlink::open().and_then(|mut netlink| netlink.link(&self.name));
        match link {
            Ok(link) if !link.up || link.mac.is_none() => Seen::Nothing,
            Ok(link) if link.index == self.link.index && is_bound(link.index) => {
                // The kernel goes on with the sockets that we have.
                self.found(link);
                Seen::Nothing
            }
            Ok(link) => Seen::Another(link),
            Err(_) => Seen::Nothing,
        }
    }

    /// It is there again, as `link`.
    pub(super) fn found(&mut self, link: Link) {
        self.link = link;
        self.up = true;
    }
}
