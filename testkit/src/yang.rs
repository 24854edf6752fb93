//! Validation of instance data against the YANG modules, by `yanglint` (Debian: libyang2-tools).
//!
//! Everything the programs write in RFC 7951 JSON goes through here in some test.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

/// What became of a validation that found nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// `yanglint` accepts the data.
    Valid,
    /// There is no `yanglint` here.
    Skipped,
}

/// Modules whose data is accepted, under the top of the workspace.
const MODULES: [&str; 2] = [
    "testdata/yang/ietf-softwire-br@2019-11-16.yang",
    "docs/yang/lw4o6-softwire-br@2026-11-20.yang",
];

/// Validates `json` against `ietf-softwire-br` and `lw4o6-softwire-br`.
///
/// # Errors
///
/// What `yanglint` has to say against the data; with `CI` set also that it is not installed.
pub fn validate(json: &[u8]) -> Result<Validation, String> {
    let data = TemporaryFile::with(json)?;
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new("yanglint")
        .current_dir(top)
        .args(["-p", "testdata/yang", "-p", "docs/yang"])
        .args(["-F", "ietf-softwire-br:binding-mode", "-t", "data"])
        .args(MODULES)
        .arg(&data.0)
        .output();
    match output {
        Ok(output) if output.status.success() && output.stderr.is_empty() => Ok(Validation::Valid),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound && env::var_os("CI").is_none() => {
            Ok(Validation::Skipped)
        }
        Err(error) => Err(format!("yanglint (libyang2-tools): {error}")),
    }
}

/// A file that is gone when the test is.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn with(content: &[u8]) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lw4o6-yang-{}-{n}.json", process::id());
        let path = env::temp_dir().join(name);
        fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // A file left behind in the temporary directory harms nobody.
        let _ = fs::remove_file(&self.0);
    }
}
