//! Writing a configuration: the TOML file and the softwire file beside it.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use lw4o6_binding::formats::json::{self, Instance, Layout};

use crate::config::{ConfigFile, clock};
use crate::error::Failure;

/// The softwire file that goes with the configuration `config`: the same name, ending in `.json`.
#[must_use]
pub fn softwire_path(config: &Path) -> PathBuf {
    config.with_extension("json")
}

/// Writes `file` to `path` and `instance` beside it; `head` becomes a comment on top.
///
/// # Errors
///
/// Where a file cannot be written, or `path` ends in `.json` itself.
pub fn write(
    path: &Path,
    head: &str,
    file: &ConfigFile,
    instance: &Instance,
    layout: Layout,
) -> Result<(), Failure> {
    let softwires = softwire_path(path);
    if softwires == path {
        let path = path.display();
        return Err(Failure::config(format!(
            "{path}: the softwires are written to a file of this name; give the configuration another ending, such as .toml"
        )));
    }
    let text = toml::to_string(file).map_err(|error| Failure::at(path, error))?;
    let comment: String = head.lines().map(|line| format!("# {line}\n")).collect();
    std::fs::write(path, format!("{comment}\n{text}")).map_err(|error| Failure::at(path, error))?;
    let out = std::fs::File::create(&softwires).map_err(|error| Failure::at(&softwires, error))?;
    json::export(
        BufWriter::new(out),
        std::slice::from_ref(instance),
        clock(),
        layout,
    )
    .map_err(|error| Failure::at(&softwires, error))
}

/// The name by which the configuration `path` refers to its softwire file.
#[must_use]
pub fn softwire_reference(path: &Path) -> PathBuf {
    softwire_path(path)
        .file_name()
        .map(PathBuf::from)
        .unwrap_or_default()
}
