//! What can be wrong with a file of bindings.

use std::io;

/// Why a file of bindings cannot be used, or not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The system refuses.
    #[error("{name}: {error}")]
    Io {
        /// The file.
        name: String,
        /// What the system says.
        error: io::Error,
    },
    /// Another process has the file open.
    #[error("{name}: in use by another process; one file serves one lwaftr")]
    InUse {
        /// The file.
        name: String,
    },
    /// There is something else under this name.
    #[error("{name}: {what}; name another file, or move this one away to start with no leases")]
    NotAStore {
        /// The file.
        name: String,
        /// What there is.
        what: &'static str,
    },
    /// The file is not what was written.
    #[error(
        "{name}: damaged: {what}; put a copy from a backup in its place, or move it away to start \
         with no leases (subscribers then ask for new ones)"
    )]
    Damaged {
        /// The file.
        name: String,
        /// What was found.
        what: String,
    },
    /// The file was made by a newer program.
    #[error(
        "{name}: format version {found} is unknown, the newest known is {known}; run the program that made it"
    )]
    Format {
        /// The file.
        name: String,
        /// Version of the file.
        found: u64,
        /// Newest version known.
        known: u64,
    },
    /// More changes came than the store could take.
    #[error("{waiting} changes wait for the disk, which is too slow")]
    Overflow {
        /// How many wait.
        waiting: usize,
    },
    /// The thread of the store is gone.
    #[error("the store has been stopped")]
    Stopped,
}

/// An error of the system on a file.
pub(super) fn io(name: &str, error: io::Error) -> StoreError {
    let name = name.to_owned();
    StoreError::Io { name, error }
}

/// An error of the database.
pub(super) fn of(name: &str, error: redb::Error) -> StoreError {
    let what = error.to_string();
    let name = name.to_owned();
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else the library finds in a file is damage to us"
    )]
    match error {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            let what = "not a file of bindings";
            StoreError::NotAStore { name, what }
        }
        redb::Error::Io(error) => StoreError::Io { name, error },
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse { name },
        redb::Error::TableDoesNotExist(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableIsMultimap(_) => {
            let what = "a database of another program";
            StoreError::NotAStore { name, what }
        }
        _ => StoreError::Damaged { name, what },
    }
}
