//! Namespaces of our own.

use std::fs;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
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

/// Makes this process die with `parent`, and gives it a network namespace of its own, or that of the
/// process `beside`.
///
/// # Errors
///
/// Where `parent` or `beside` is gone already, or the namespace is refused.
pub fn attach(parent: i32, beside: Option<i32>) -> Result<(), String> {
    set_pdeathsig(Signal::SIGKILL).map_err(|error| format!("death signal: {error}"))?;
    // It may have died before the line above.
    if getppid() != Pid::from_raw(parent) {
        return Err("the lab is gone".to_owned());
    }
    let Some(beside) = beside else {
        return unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|error| format!("network namespace: {error}"));
    };
    let path = format!("/proc/{beside}/ns/net");
    let namespace = fs::File::open(&path).map_err(|error| format!("{path}: {error}"))?;
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|error| format!("{path}: {error}"))
}

/// Puts an empty file system in memory over `folder`, for this process alone.
///
/// # Errors
///
/// Where the system does not allow it.
pub fn hide(folder: &str) -> Result<(), String> {
    let wrong = |error: Errno| format!("files in memory at {folder}: {error}");
    unshare(CloneFlags::CLONE_NEWNS).map_err(wrong)?;
    let nothing = None::<&str>;
    // Or others would see it.
    let alone = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(nothing, "/", nothing, alone, nothing).map_err(wrong)?;
    let how = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(nothing, folder, Some("tmpfs"), how, Some("mode=0700")).map_err(wrong)
}
