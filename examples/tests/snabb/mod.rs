//! Where captures are, and what is in them.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "each test file uses a part, and a panic is a failed test"
)]

pub mod fields;

use std::path::{Path, PathBuf};

use lw4o6_examples::capture::CaptureReader;

/// A folder of the shared material; `None`, with a line that says so, where there is none.
pub fn shared(folder: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let shared =
        std::env::var_os("LW4O6_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
    let folder = shared.join(folder);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{} is missing, and CI skips nothing",
        folder.display()
    );
    eprintln!(
        "skipped: {} is not here; set LW4O6_SHARED",
        folder.display()
    );
    None
}

/// The frames of a capture.
pub fn captured(path: &Path) -> Vec<Vec<u8>> {
    let mut reader = CaptureReader::open(path).unwrap();
    std::iter::from_fn(|| reader.next_frame().unwrap())
        .map(|frame| frame.bytes)
        .collect()
}

/// A folder that goes away with its owner.
pub fn temporary(name: &str) -> Temporary {
    let unique = format!(
        "lw4o6-{name}-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    );
    let path = std::env::temp_dir().join(unique);
    std::fs::create_dir_all(&path).unwrap();
    Temporary(path)
}

pub struct Temporary(PathBuf);

impl Temporary {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Validates instance data; false, with a line that says so, where yanglint is not installed.
pub fn yanglint(data: &Path) -> bool {
    match testkit::yang::validate(&std::fs::read(data).unwrap()).unwrap() {
        testkit::yang::Validation::Valid => true,
        testkit::yang::Validation::Skipped => {
            eprintln!("skipped: no yanglint (libyang2-tools)");
            false
        }
    }
}
