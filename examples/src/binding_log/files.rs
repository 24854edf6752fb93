//! The files that a log consists of once it has been rotated.

use std::io;
use std::path::{Path, PathBuf};

/// The log and its older parts, oldest first: `LOG.2`, `LOG.1`, `LOG`, or `LOG-20261119`,
/// `LOG-20261120`, `LOG`. Compressed parts cannot be read and come in the second list.
///
/// # Errors
///
/// Where the directory cannot be read.
pub fn log_files(path: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (mut numbered, mut dated, mut packed) = (Vec::new(), Vec::new(), Vec::new());
    for entry in std::fs::read_dir(directory)? {
        let file = entry?.file_name();
        let file = file.to_string_lossy();
        let Some(suffix) = file.strip_prefix(&*name) else {
            continue;
        };
        let full = directory.join(&*file);
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let plain = suffix
            .split_once(['.', '-'])
            .filter(|(before, _)| before.is_empty());
        let Some((_, suffix)) = plain else {
            continue;
        };
        if let Some(number) = suffix.parse::<u32>().ok().filter(|n| *n < 1_000_000) {
            numbered.push((std::cmp::Reverse(number), full));
        } else if suffix.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            dated.push((suffix.to_owned(), full));
        } else if suffix.split(['.', '-']).next().is_some_and(digits) {
            packed.push(full);
        }
    }
    numbered.sort();
    dated.sort();
    packed.sort();
    let mut files: Vec<PathBuf> = dated.into_iter().map(|(_, file)| file).collect();
    files.extend(numbered.into_iter().map(|(_, file)| file));
    if path.exists() {
        files.push(path.to_owned());
    }
    Ok((files, packed))
}
