//! Rights that are not needed once the sockets are open.

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::unistd::{Gid, Group, Uid, User, geteuid, setgroups, setresgid, setresuid};

use crate::config::RunSection;
use crate::error::Failure;

/// What it takes to open an interface again after it was away: CAP_NET_RAW.
const KEPT: [Capability; 1] = [Capability::CAP_NET_RAW];

/// Whom the program is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    user: Option<(String, Uid)>,
    group: Option<Gid>,
}

impl Rights {
    /// Looks up the user and the group of the configuration.
    ///
    /// # Errors
    ///
    /// Where the system knows no such user or group.
    pub(super) fn of(section: &RunSection) -> Result<Self, String> {
        let user = section.user.as_deref().map(user).transpose()?;
        let group = section.group.as_deref().map(group).transpose()?;
        Ok(Self {
            group: group.or(user.as_ref().map(|user| user.gid)),
            user: user.map(|user| (user.name, user.uid)),
        })
    }

    /// Gives up everything else, for good. The calling thread has to be the only one: capabilities are
    /// those of a thread.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub(super) fn keep_only(&self) -> Result<(), Failure> {
        self.give_up()
            .map_err(|error| Failure::run(format!("giving up privileges: {error}")))
    }

    fn give_up(&self) -> Result<(), String> {
        if self.user.is_some() || self.group.is_some() {
            prctl::set_keepcaps(true).map_err(|error| error.to_string())?;
            // In this order: without root's rights the group cannot be changed any more.
            if let Some(group) = self.group {
                setgroups(&[group]).map_err(|error| format!("other groups: {error}"))?;
                setresgid(group, group, group)
                    .map_err(|error| format!("group {group}: {error}"))?;
            }
            if let Some((name, uid)) = &self.user {
                setresuid(*uid, *uid, *uid).map_err(|error| format!("user `{name}`: {error}"))?;
            }
            prctl::set_keepcaps(false).map_err(|error| error.to_string())?;
        }
        // Root without a user to become stays root, and would not be without its files' rights.
        if !geteuid().is_root() {
            keep_capabilities().map_err(|error| error.to_string())?;
        }
        prctl::set_no_new_privs().map_err(|error| error.to_string())
    }
}

/// Only those in [`KEPT`], of those that we have.
fn keep_capabilities() -> Result<(), caps::errors::CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    // A change of user has put them out of force.
    caps::set(None, CapSet::Effective, &permitted)?;
    let kept: CapsHashSet = permitted.intersection(&KEPT.into()).copied().collect();
    if permitted.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::read(None, CapSet::Bounding)?.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    let nothing = CapsHashSet::new();
    caps::set(None, CapSet::Ambient, &nothing)?;
    caps::set(None, CapSet::Inheritable, &nothing)?;
    // A capability may not be in force that is not permitted.
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

fn user(name: &str) -> Result<User, String> {
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    let found = found.map_err(|error| format!("user `{name}`: {error}"))?;
    found.ok_or_else(|| format!("there is no user `{name}`"))
}

fn group(name: &str) -> Result<Gid, String> {
    let found = match name.parse() {
        Ok(number) => Group::from_gid(Gid::from_raw(number)),
        Err(_) => Group::from_name(name),
    };
    let found = found.map_err(|error| format!("group `{name}`: {error}"))?;
    found
        .map(|group| group.gid)
        .ok_or_else(|| format!("there is no group `{name}`"))
}
