//! Where the pages of a store are: a file of its own that no other process writes.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

use super::error::{self, StoreError};

/// A backend that outlives the database on it, so that an error does not let go of the file.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    backend: Arc<dyn StorageBackend>,
    /// The disk has refused to write something; what is read since may never have got there.
    doubtful: Arc<AtomicBool>,
}

impl Shared {
    pub(super) fn new(backend: Arc<dyn StorageBackend>) -> Self {
        Self {
            backend,
            doubtful: Arc::default(),
        }
    }

    /// Whether what is read may be in memory only.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Relaxed)
    }
}

impl StorageBackend for Shared {
    fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.backend.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.backend.set_len(len)?;
        // The library refuses a file that is shorter than its header says, so the length has to
        // be on the disk before any header can be.
        self.sync_data()
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.backend.sync_data();
        if synced.is_err() {
            self.doubtful.store(true, Ordering::Relaxed);
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.backend.write(offset, data)
    }
}

/// A file, locked as long as this lives.
#[derive(Debug)]
pub(super) struct Disk {
    file: File,
}

impl Disk {
    /// Opens the file. A missing one, or an empty one, is made under another name first, so that
    /// nobody ever sees half a store under this one.
    pub(super) fn open(
        path: &Path,
        prepare: impl FnOnce(Arc<dyn StorageBackend>) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let name = path.display().to_string();
        let fail = |error| error::io(&name, error);
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => {
                let about = file.metadata().map_err(fail)?;
                if !about.is_file() {
                    let what = "not a regular file";
                    return Err(StoreError::NotAStore { name, what });
                }
                if about.len() > 0 {
                    let disk = Self { file };
                    return disk.lock(&name);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                let what = "a directory";
                return Err(StoreError::NotAStore { name, what });
            }
            Err(error) => return Err(fail(error)),
        }
        Self::make(path, prepare)
    }

    /// Makes a file, whatever stands under its name, and fills it.
    pub(super) fn make(
        path: &Path,
        prepare: impl FnOnce(Arc<dyn StorageBackend>) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let name = &path.display().to_string();
        let fail = |error| error::io(name, error);
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // Who has which address is nobody else's business.
        let file = options.mode(0o600).open(&new).map_err(fail)?;
        let disk = Self { file }.lock(name)?;
        // A leftover of a start that was cut short.
        disk.file.set_len(0).map_err(fail)?;
        let copy = disk.file.try_clone().map_err(fail)?;
        prepare(Arc::new(Self { file: copy }))?;
        disk.file.sync_all().map_err(fail)?;
        std::fs::rename(&new, path).map_err(fail)?;
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let directory = File::open(directory.unwrap_or(Path::new("."))).map_err(fail)?;
        directory.sync_all().map_err(fail)?;
        Ok(disk)
    }

    fn lock(self, name: &str) -> Result<Self, StoreError> {
        match self.file.try_lock() {
            Ok(()) => Ok(self),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
                name: name.to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(error::io(name, error)),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }
}
