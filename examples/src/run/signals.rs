//! Signals, as messages.

use std::sync::mpsc::SyncSender;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::control::Input;
use crate::error::Failure;

/// SIGINT, SIGTERM, SIGHUP and SIGUSR1, to be read instead of suffered: by this thread and those that
/// it starts from now on.
///
/// # Errors
///
/// Where the kernel has no descriptor left.
pub(super) fn block() -> Result<SignalFd, Failure> {
    let numbers = [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGUSR1,
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
                let signal = i32::try_from(signal.ssi_signo).map(Signal::try_from);
                let input = match signal {
                    Ok(Ok(Signal::SIGINT | Signal::SIGTERM)) => Input::Stop,
                    Ok(Ok(Signal::SIGHUP)) => Input::Reload,
                    // SIGUSR1 means nothing, and so that it does not end us, it is read.
                    _ => continue,
                };
                if to.send(input).is_err() {
                    break;
                }
            }
        });
    started
        .map(drop)
        .map_err(|error| Failure::run(format!("thread for signals: {error}")))
}
