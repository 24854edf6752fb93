//! Opens interfaces.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use lw4o6_wire::ethernet::MacAddr;

use super::sys::{self, Receive};
use super::{AfPacket, InterfaceName, PacketIo, PcapFiles, Rings, Tap, steer};
use crate::config::Io;
use crate::netlink::{Link, Netlink};

/// How an interface is to be opened.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// How a kernel interface is read and written.
    pub io: Io,
    /// Ethernet addresses whose frames are ours; none means the interface's own.
    pub macs: Vec<MacAddr>,
    /// Which worker this is for, from 0.
    pub worker: usize,
    /// How many workers there are; 0 counts as 1. Worker 0 of an interface is to be opened first, then
    /// worker 1, and so on.
    pub workers: usize,
    /// The same for all workers of the program.
    pub group: Group,
}

/// What the workers of a program have in common on their interfaces.
///
/// The kernel numbers the sockets of a group in the order in which they join, and the steering program
/// counts on worker 0 being the first.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// By name of the interface.
    joined: Arc<Mutex<BTreeMap<String, Joined>>>,
}

/// Who has joined on an interface.
#[derive(Clone, Copy, Debug)]
struct Joined {
    /// Number of the interface.
    index: u32,
    /// The kernel's number of the group.
    number: u16,
    /// Who is to join next.
    next: usize,
}

impl Group {
    /// Lets `worker` join by `join` if it is its turn on interface `name`, number `index`; `WouldBlock`
    /// where it is not. `join` gets the kernel's number of the group that worker 0 has founded, and
    /// returns it.
    fn join(
        &self,
        (name, index): (&str, u32),
        worker: usize,
        join: impl FnOnce(Option<u16>) -> io::Result<u16>,
    ) -> io::Result<()> {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        let number = if worker == 0 {
            // A new one each time: others may not have left the one before.
            None
        } else {
            let known = joined.get(name);
            let known = known.filter(|known| known.index == index && known.next == worker);
            Some(known.ok_or(io::ErrorKind::WouldBlock)?.number)
        };
        let (number, next) = (join(number)?, worker + 1);
        let now = Joined {
            index,
            number,
            next,
        };
        joined.insert(name.to_owned(), now);
        Ok(())
    }
}

/// Why an interface could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none of this name.
    #[error("there is no interface `{0}` in this network namespace")]
    Missing(String),
    /// It has no Ethernet header.
    #[error("interface `{0}` is not an Ethernet interface")]
    NotEthernet(String),
    /// It is down.
    #[error("interface `{0}` is down; take it up first: ip link set {0} up")]
    Down(String),
    /// Packet sockets are not for us.
    #[error(
        "interface `{0}`: packet sockets need CAP_NET_RAW; run as root, or give the program the capability: setcap cap_net_raw+ep /path/to/lwaftr"
    )]
    Privilege(String),
    /// TAP interfaces are not for us.
    #[error(
        "interface `tap:{0}`: needs CAP_NET_ADMIN; run as root, or make it ours first: ip tuntap add dev {0} mode tap user USER && ip link set {0} up"
    )]
    Tap(String),
    /// Not for several workers.
    #[error("interface `{0}` can serve one worker only: run.workers = 1")]
    OneWorker(InterfaceName),
    /// Its files.
    #[error("interface `{0}`: {1}")]
    File(InterfaceName, String),
    /// Anything else.
    #[error("interface `{0}`: {1}")]
    Other(String, io::Error),
}

/// Opens an interface for one worker.
///
/// # Errors
///
/// Where it is missing, down, not Ethernet, or not for us.
pub fn open(
    name: &InterfaceName,
    options: &OpenOptions,
) -> Result<Box<dyn PacketIo + Send>, OpenError> {
    match name {
        InterfaceName::Kernel(name) => Ok(match options.io {
            Io::Rings => Box::new(Rings::open(name, options)?),
            Io::LowLatency => Box::new(AfPacket::open_with(name, options)?),
        }),
        InterfaceName::Tap(_) | InterfaceName::Pcap { .. } if options.workers > 1 => {
            Err(OpenError::OneWorker(name.clone()))
        }
        InterfaceName::Tap(name) => Ok(Box::new(Tap::open(name, &options.macs)?)),
        InterfaceName::Pcap { input, output } => {
            let io = PcapFiles::open(input, output, &options.macs);
            Ok(Box::new(io.map_err(|error| {
                OpenError::File(name.clone(), error.to_string())
            })?))
        }
    }
}

/// Looks up the kernel interface `name` and its address.
pub(super) fn link(name: &str) -> Result<(Link, MacAddr), OpenError> {
    let link = Netlink::open().and_then(|mut netlink| netlink.link(name));
    let link = link.map_err(|error| match error.raw_os_error() {
        Some(libc::ENODEV | libc::EINVAL | libc::ERANGE) => OpenError::Missing(name.to_owned()),
        _ => OpenError::Other(name.to_owned(), error),
    })?;
    // What is missing most often is said before what is wrong with the interface.
    drop(sys::socket().map_err(|e| error(name, e))?);
    let mac = link
        .mac
        .ok_or_else(|| OpenError::NotEthernet(name.to_owned()))?;
    if !link.up {
        return Err(OpenError::Down(name.to_owned()));
    }
    Ok((link, mac))
}

/// What became of opening the interface `name`.
pub(super) fn error(name: &str, error: io::Error) -> OpenError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => OpenError::Privilege(name.to_owned()),
        _ => OpenError::Other(name.to_owned(), error),
    }
}

/// Has a socket receive what arrives on a kernel interface, or its worker's share of that.
pub(super) fn listen(
    fd: BorrowedFd<'_>,
    name: &str,
    link: &Link,
    options: &OpenOptions,
) -> io::Result<()> {
    let index = libc::c_int::try_from(link.index).map_err(|_| io::ErrorKind::InvalidInput)?;
    // Neighbor solicitations go to groups that a network card would filter out.
    sys::widen(fd, index, false)?;
    if options.macs.iter().any(|&mac| Some(mac) != link.mac) {
        sys::widen(fd, index, true)?;
    }
    if options.workers < 2 {
        return sys::bind(fd, index, Receive::Everything);
    }
    let group = &options.group;
    group.join((name, link.index), options.worker, |number| {
        sys::bind(fd, index, Receive::Everything)?;
        let number = sys::join_group(fd, number)?;
        if options.worker == 0 {
            sys::steer(fd, &steer::program())?;
        }
        Ok(number)
    })
}
