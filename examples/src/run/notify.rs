//! What the service manager is told, and the watchdog (sd_notify(3)).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use lw4o6_wire::Instant;
use sd_notify::NotifyState;

/// The service manager, if one has started us and asks.
#[derive(Debug)]
pub(super) struct ServiceManager {
    watchdog: Option<Watchdog>,
}

/// Lets the service manager know that we work, while we do.
#[derive(Debug)]
struct Watchdog {
    /// Between two signs of life; half of what the manager grants.
    interval: Duration,
    due: Instant,
    /// Turns of each worker when the last sign was given.
    turns: Vec<u64>,
    stalled: bool,
}

impl ServiceManager {
    /// The one that the environment names.
    pub(super) fn from_environment(now: Instant) -> Self {
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        // Without a process number it is for whoever reads it (sd_watchdog_enabled(3)).
        let ours = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(std::process::id()));
        let micros = number("WATCHDOG_USEC").filter(|_| ours).unwrap_or(0);
        let interval = Duration::from_micros(micros / 2);
        let watchdog = (!interval.is_zero()).then(|| Watchdog {
            interval,
            due: now + interval,
            turns: Vec::new(),
            stalled: false,
        });
        Self { watchdog }
    }

    /// Between two signs of life.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.watchdog.as_ref().map(|watchdog| watchdog.interval)
    }

    /// All is set up; `status` in words.
    pub(super) fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The configuration is being read again.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(time) => tell(&[NotifyState::Reloading, time]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    /// The end has begun.
    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.watchdog.as_ref().map(|watchdog| watchdog.due)
    }

    /// Gives a sign of life, if it is time and every worker has made a turn since the last one.
    pub(super) fn handle_timeout(&mut self, now: Instant, turns: impl Iterator<Item = u64>) {
        if let Some(watchdog) = &mut self.watchdog
            && now >= watchdog.due
            && watchdog.handle_timeout(now, turns)
        {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

impl Watchdog {
    /// Whether all of `turns` are others than last time.
    fn handle_timeout(&mut self, now: Instant, turns: impl Iterator<Item = u64>) -> bool {
        self.due = now + self.interval;
        let turns: Vec<_> = turns.collect();
        // A worker that was not there is new, and has made its first turn.
        let before = self.turns.iter().copied().chain(std::iter::repeat(0));
        let stalled = turns
            .iter()
            .zip(before)
            .position(|(now, then)| *now == then);
        if let Some(worker) = stalled
            && !self.stalled
        {
            tracing::error!(worker, "a worker stands still; the watchdog is not fed");
        }
        self.stalled = stalled.is_some();
        if stalled.is_none() {
            self.turns = turns;
        }
        stalled.is_none()
    }
}

fn tell(what: &[NotifyState<'_>]) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&name, what) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Sends without waiting: a manager that does not read must not stop us.
fn send(name: &OsStr, what: &[NotifyState<'_>]) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    let lines = what.iter().map(|state| format!("{state}\n"));
    let text: String = lines.collect();
    socket.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watchdog() -> Watchdog {
        Watchdog {
            interval: Duration::from_secs(1),
            due: Instant::from_secs(1),
            turns: Vec::new(),
            stalled: false,
        }
    }

    #[test]
    fn a_worker_that_stands_still_is_no_sign_of_life() {
        let mut dog = watchdog();
        let mut feed = |second, turns: [u64; 2]| {
            dog.handle_timeout(Instant::from_secs(second), turns.into_iter())
        };
        assert!(feed(1, [1, 1]));
        assert!(feed(2, [2, 5]));
        assert!(!feed(3, [3, 5]), "the second stands still");
        assert!(!feed(4, [4, 5]));
        assert!(feed(5, [5, 6]), "both have moved since the last sign");
    }

    #[test]
    fn a_worker_that_never_made_a_turn_is_no_sign_of_life() {
        let mut dog = watchdog();
        assert!(!dog.handle_timeout(Instant::from_secs(1), [4, 0].into_iter()));
        assert!(dog.handle_timeout(Instant::from_secs(2), [5, 1].into_iter()));
    }

    #[test]
    fn a_manager_may_have_an_abstract_name_and_need_not_read() {
        let name = format!("lw4o6-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let name = format!("@{name}");
        let what = [NotifyState::Ready, NotifyState::Status("so")];
        send(OsStr::new(&name), &what).unwrap();
        let mut text = [0; 64];
        let len = manager.recv(&mut text).unwrap();
        assert_eq!(&text[..len], b"READY=1\nSTATUS=so\n");
        let full = (0..100_000).find_map(|_| send(OsStr::new(&name), &what).err());
        assert_eq!(full.unwrap().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn the_next_sign_is_due_an_interval_later_whether_or_not_this_one_was_given() {
        let mut dog = watchdog();
        let _ = dog.handle_timeout(Instant::from_secs(7), [0].into_iter());
        assert_eq!(dog.due, Instant::from_secs(8));
    }
}
