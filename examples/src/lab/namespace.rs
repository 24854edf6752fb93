//! Namespaces of our own.

use std::fs;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getegid, geteuid, getppid};

/// Moves this process, which has one thread, into an empty network namespace.
///
/// Where that is not allowed, into a user namespace first in which we are root.
///
/// # Errors
///
/// Where the system allows neither; says why, in words for the user.
pub fn isolate() -> Result<(), String> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => return Ok(()),
        Err(Errno::EPERM) => {}
        Err(error) => return Err(format!("no network namespace: {error}")),
    }
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(|error| {
        format!("needs root or user namespaces, which this system does not allow: {error}")
    })?;
    // Without it the group must not be mapped; older kernels do not have it.
    let _ = fs::write("/proc/self/setgroups", "deny");
    for (file, id) in [("uid_map", user.as_raw()), ("gid_map", group.as_raw())] {
        fs::write(format!("/proc/self/{file}"), format!("0 {id} 1"))
            .map_err(|error| format!("user namespace: {file}: {error}"))?;
    }
    Ok(())
}

/// Makes this process die with `parent`, and gives it a network namespace of its own.
///
/// # Errors
///
/// Where `parent` is gone already, or the namespace is refused.
pub fn attach(parent: i32) -> Result<(), String> {
    set_pdeathsig(Signal::SIGKILL).map_err(|error| format!("death signal: {error}"))?;
    // It may have died before the line above.
    if getppid() != Pid::from_raw(parent) {
        return Err("the lab is gone".to_owned());
    }
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("network namespace: {error}"))
}
