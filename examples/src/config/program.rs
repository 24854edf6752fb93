//! Sections about the program around the engine.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::file::is_default;
use super::unplaced;

/// How `run` uses the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RunSection {
    /// Threads that move packets, 1 to 16.
    pub workers: Spanned<u16>,
    /// How kernel interfaces are read and written.
    pub io: Io,
    /// User whose rights remain after the interfaces are open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Group whose rights remain. Default: that of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether each softwire has counters of its own.
    #[serde(skip_serializing_if = "is_default")]
    pub softwire_counters: bool,
}

impl Default for RunSection {
    fn default() -> Self {
        Self {
            workers: unplaced(1),
            io: Io::default(),
            user: None,
            group: None,
            softwire_counters: false,
        }
    }
}

/// How kernel interfaces are read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Io {
    /// Rings shared with the kernel: most packets a second.
    #[default]
    Rings,
    /// One system call for each batch, as soon as there is a frame.
    LowLatency,
}

/// What outlives the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct StateSection {
    /// Database of the bindings that are not from the softwire file, relative to this file. Without
    /// one they end with the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<PathBuf>,
    /// Log of binding changes, one JSON object a line, relative to this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
    /// Ended bindings that are kept in memory for questions about the past.
    pub history: usize,
}

impl Default for StateSection {
    fn default() -> Self {
        Self {
            store: None,
            log: None,
            history: 1_000_000,
        }
    }
}

/// How the running program is watched and changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ManagementSection {
    /// Unix socket that is created, relative to this file. Without one there is no management.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// Permissions of the socket, octal.
    pub mode: String,
    /// Group of the socket. Default: that of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Address and TCP port of `/metrics` and `/health`, nothing else. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
}

impl Default for ManagementSection {
    fn default() -> Self {
        Self {
            socket: None,
            mode: "0600".to_owned(),
            group: None,
            metrics: None,
        }
    }
}

impl ManagementSection {
    /// The permissions of the socket.
    ///
    /// # Errors
    ///
    /// Where `mode` is not octal, or has more than permissions.
    pub fn permissions(&self) -> Result<u32, String> {
        let mode = u32::from_str_radix(&self.mode, 8).ok();
        mode.filter(|mode| *mode <= 0o777).ok_or_else(|| {
            let mode = &self.mode;
            format!("`{mode}`, needs octal permissions such as \"0660\"")
        })
    }
}
