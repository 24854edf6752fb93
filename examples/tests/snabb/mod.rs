//! Where the shared captures are, and what is in them.
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
