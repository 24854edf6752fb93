//! What a reader refuses, and where.

use std::fmt;
use std::string::String;

use thiserror::Error;

/// Where in the input something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line, counted from 1.
    Line(u32),
    /// A line and a column, both counted from 1: JSON that is not well-formed.
    Column {
        /// Line, from 1.
        line: u32,
        /// Column in bytes, from 1.
        column: u32,
    },
    /// A path of JSON member names (RFC 7951 §4), list entries counted from 1 as in an
    /// instance-identifier (RFC 7950 §9.13).
    Path(String),
}

impl Place {
    /// The line, where the place has one.
    #[must_use]
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::Line(line) | Self::Column { line, .. } => Some(*line),
            Self::Path(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Column { line, column } => write!(f, "line {line} column {column}"),
            Self::Path(path) => f.write_str(path),
        }
    }
}

/// A text that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {kind}")]
pub struct ImportError {
    /// Where it stands.
    pub place: Place,
    /// What is wrong, and what would be right.
    pub kind: ImportErrorKind,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ImportErrorKind {
    /// The text breaks the grammar of its format.
    #[error("expected {expected}, found {found}")]
    Syntax {
        /// What the grammar wants here.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// JSON that is not well-formed, in the words of the JSON reader.
    #[error("{0}")]
    Json(String),
    /// A key the format does not have. The place names it where it is a path.
    #[error("unknown key{}", Named(.0))]
    UnknownKey(
        /// The key; empty where the place ends with it.
        String,
    ),
    /// A key that stands twice.
    #[error("{0} is given twice")]
    DuplicateKey(String),
    /// A key that must be there.
    #[error("{key} is missing in {within}")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// What it belongs to.
        within: &'static str,
    },
    /// A value that the key cannot have.
    #[error("{}{value} is not {rule}", Spaced(.key))]
    Value {
        /// The key; empty where the place ends with it.
        key: String,
        /// The value as it stands in the text.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
    /// Values that are right by themselves but not together.
    #[error("{0}")]
    Conflict(String),
}

/// ` name`, or nothing.
struct Named<'a>(&'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, " {}", self.0)
    }
}

/// `name `, or nothing.
struct Spaced<'a>(&'a str);

impl fmt::Display for Spaced<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, "{} ", self.0)
    }
}

impl ImportError {
    /// An error on a line of text.
    pub(crate) fn on_line(line: u32, kind: ImportErrorKind) -> Self {
        Self {
            place: Place::Line(line),
            kind,
        }
    }
}

/// `text` in double quotes for an error message, cut after 60 characters, control characters
/// escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    out.push_str(&shown(text));
    out.push('"');
    out
}

/// `text` for an error message, cut after 60 characters, control characters escaped: what a
/// stranger wrote must not steer the terminal it is shown on.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == MOST {
            out.push('…');
            break;
        }
        match c {
            '"' | '\'' => out.push(c),
            c => out.extend(c.escape_debug()),
        }
    }
    out
}
