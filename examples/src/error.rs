//! What the programs say when something is wrong.

use std::fmt::Display;
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;

/// Why a command ended early, and with which exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Bad usage or configuration: exit code 2.
    #[error("{0}")]
    Config(String),
    /// Anything else: exit code 1.
    #[error("{0}")]
    Run(String),
}

impl Failure {
    /// A configuration error.
    pub fn config(message: impl Into<String>) -> Self {
        Self::Config(message.into())
    }

    /// An error of the world.
    pub fn run(message: impl Into<String>) -> Self {
        Self::Run(message.into())
    }

    /// Wraps the error of an operation on `path`.
    pub fn at(path: &Path, error: impl Display) -> Self {
        Self::Run(format!("{}: {error}", path.display()))
    }

    /// A configuration error in `path`.
    pub fn at_config(path: &Path, error: &dyn Display) -> Self {
        Self::Config(format!("{}: {error}", path.display()))
    }

    /// 2 for bad usage or configuration, 1 for the rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Run(_) => 1,
        }
    }
}

/// Reads a configuration file.
///
/// # Errors
///
/// Where that fails, with the file's name.
pub fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::config(format!("{}: {error}", path.display())))
}

/// An error at a place in a file: `FILE:LINE: what`.
#[must_use]
pub fn located(path: &Path, text: &str, span: Option<Range<usize>>, what: &str) -> Failure {
    let path = path.display();
    let what = what.trim_end().replace('\n', "; ");
    match span {
        Some(span) => {
            let line = 1 + text
                .bytes()
                .take(span.start)
                .filter(|&b| b == b'\n')
                .count();
            Failure::config(format!("{path}:{line}: {what}"))
        }
        None => Failure::config(format!("{path}: {what}")),
    }
}

/// Writes to standard output. A reader that has seen enough is no error.
///
/// # Errors
///
/// Where it cannot be written for another reason.
pub fn write_stdout(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::run(format!("standard output: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Refuses to write a file that is written or read at the same time under another option.
///
/// # Errors
///
/// Where two of `written`, or one of them and one of `read`, are the same file; names both options.
pub fn check_outputs(written: &[(&str, &Path)], read: &[(&str, &Path)]) -> Result<(), Failure> {
    for (index, (option, path)) in written.iter().enumerate() {
        let mut others = written.iter().skip(index + 1).chain(read);
        if let Some((other, _)) = others.find(|(_, other)| is_same_file(path, other)) {
            return Err(Failure::config(format!(
                "{option} {}: the same file as {other}, needs one of its own",
                path.display()
            )));
        }
    }
    Ok(())
}

/// Whether two paths lead to the same file; devices may be written twice.
fn is_same_file(a: &Path, b: &Path) -> bool {
    let is_device = |path: &Path| std::fs::metadata(path).is_ok_and(|file| !file.is_file());
    let place = |path: &Path| {
        path.canonicalize().ok().or_else(|| {
            let folder = path.parent().filter(|folder| *folder != Path::new(""));
            let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
            Some(folder.join(path.file_name()?))
        })
    };
    place(a).is_some_and(|found| Some(found) == place(b)) && !is_device(a)
}
