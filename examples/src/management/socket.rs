//! The sockets that management listens on.

use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Group, chown};

use super::past::Log;
use crate::config::Config;
use crate::error::Failure;

/// The sockets, open and not served yet. Open them before privileges are dropped.
#[derive(Debug)]
pub struct Listeners {
    /// The Unix socket and its path.
    pub(super) unix: Option<(UnixListener, SocketPath)>,
    /// `/metrics` and `/health` alone.
    pub(super) tcp: Option<TcpListener>,
    /// Where questions about the past are answered from.
    pub(super) log: Log,
}

/// A path that is removed with its owner.
#[derive(Debug)]
pub(super) struct SocketPath(PathBuf);

impl Drop for SocketPath {
    fn drop(&mut self) {
        // Somebody may have removed it, or our rights to do so are gone.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listeners {
    /// Opens what `[management]` asks for.
    ///
    /// # Errors
    ///
    /// Where another program listens there, a name or mode is wrong, or the system refuses.
    pub fn open(config: &Config) -> Result<Self, Failure> {
        let management = &config.file.management;
        let wrong = |key: &str, what: String| {
            Failure::at_config(&config.path, &format_args!("management.{key}: {what}"))
        };
        let unix = match &management.socket {
            None => None,
            Some(socket) => {
                let path = config.path.parent().unwrap_or(Path::new("")).join(socket);
                let mode = management
                    .permissions()
                    .map_err(|what| wrong("mode", what))?;
                let group =
                    group(management.group.as_deref()).map_err(|what| wrong("group", what))?;
                let listener =
                    listen(&path, mode, group.as_ref()).map_err(|what| wrong("socket", what))?;
                Some((listener, SocketPath(path)))
            }
        };
        let tcp = match management.metrics {
            None => None,
            Some(address) => {
                let listener = TcpListener::bind(address)
                    .map_err(|error| wrong("metrics", format!("{address}: {error}")))?;
                Some(listener)
            }
        };
        let log = config.file.state.log.as_ref();
        let directory = config.path.parent().unwrap_or(Path::new(""));
        let log = Log(log.map(|log| directory.join(log)));
        Ok(Self { unix, tcp, log })
    }

    /// Where `/metrics` and `/health` are served over TCP.
    #[must_use]
    pub fn metrics_address(&self) -> Option<std::net::SocketAddr> {
        self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok())
    }
}

fn group(name: Option<&str>) -> Result<Option<Group>, String> {
    let Some(name) = name else { return Ok(None) };
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(Some(group)),
        Ok(None) => Err(format!("there is no group `{name}`")),
        Err(error) => Err(format!("`{name}`: {error}")),
    }
}

/// A socket at `path` that was never open to more than `mode` allows.
fn listen(path: &Path, mode: u32, group: Option<&Group>) -> Result<UnixListener, String> {
    let shown = path.display();
    remove_stale(path).map_err(|what| format!("{shown}: {what}"))?;
    // Created for the owner alone, then opened to others.
    let before = umask(Mode::from_bits_truncate(0o177));
    let made = UnixListener::bind(path);
    umask(before);
    let listener = made.map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return format!("{shown}: its folder does not exist");
        }
        format!("{shown}: {error}")
    })?;
    if let Some(group) = group {
        chown(path, None, Some(group.gid))
            .map_err(|error| format!("{shown}: group {}: {error}", group.name))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .and_then(|()| listener.set_nonblocking(true))
        .map_err(|error| format!("{shown}: {error}"))?;
    Ok(listener)
}

/// Removes a socket that a program left behind when it died.
fn remove_stale(path: &Path) -> Result<(), String> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    if !kind.is_socket() {
        return Err("something else is there, and it is no socket".to_owned());
    }
    match UnixStream::connect(path) {
        Ok(_) => Err("another program listens there".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    }
}
