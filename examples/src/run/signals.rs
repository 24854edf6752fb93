//! Signals, as messages.

use std::sync::mpsc::SyncSender;

use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::Input;
use crate::error::Failure;

/// What the operator asked for by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, SIGTERM: end in good order.
    Stop,
    /// SIGHUP: read the configuration again, and reopen files that may have been moved away.
    Reload,
}

/// SIGINT, SIGTERM, SIGHUP and SIGUSR1, to be read instead of suffered: by this thread and those that
/// it starts from now on.
///
/// # Errors
///
/// Where the kernel has no descriptor left.
pub(super) fn block() -> Result<SignalFd, Failure> {
    let numbers = [
        Number::SIGINT,
        Number::SIGTERM,
        Number::SIGHUP,
        Number::SIGUSR1,
    ];
    let mask = SigSet::from_iter(numbers);
    mask.thread_block()
        .and_then(|()| SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC))
        .map_err(|error| Failure::run(format!("signals: {error}")))
}

/// Passes signals on, as long as somebody listens. The thread ends with the program.
///
/// # Errors
///
/// Where there can be no thread.
pub(super) fn forward(signals: SignalFd, to: SyncSender<Input>) -> Result<(), Failure> {
    let started = std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            // Without NONBLOCK there is no `None`; an error means that there are no signals any more.
            while let Ok(Some(signal)) = signals.read_signal() {
                let signal = i32::try_from(signal.ssi_signo).map(Number::try_from);
                let input = match signal {
                    Ok(Ok(Number::SIGINT | Number::SIGTERM)) => Signal::Stop,
                    Ok(Ok(Number::SIGHUP)) => Signal::Reload,
                    // SIGUSR1 means nothing, and so that it does not end us, it is read.
                    _ => continue,
                };
                if to.send(Input::Signal(input)).is_err() {
                    break;
                }
            }
        });
    started
        .map(drop)
        .map_err(|error| Failure::run(format!("thread for signals: {error}")))
}
