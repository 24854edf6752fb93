//! Names of interfaces in the configuration.
//!
//! ```text
//! NAME            interface of the kernel
//! tap:NAME        TAP interface; we are the far end of its cable
//! pcap:IN:OUT     capture files: frames arrive from IN, and what is sent goes into OUT
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Longest name that the kernel gives an interface, in bytes.
const MAX_NAME: usize = 15;

/// What an interface of the configuration is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InterfaceName {
    /// Interface of the kernel.
    Kernel(String),
    /// TAP interface.
    Tap(String),
    /// Capture files.
    Pcap {
        /// Where frames arrive from.
        input: PathBuf,
        /// Where what is sent goes; replaced if it is there.
        output: PathBuf,
    },
}

/// Why a text names no interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("empty; needs the name of a kernel interface, tap:NAME, or pcap:IN:OUT")]
    Empty,
    /// The kernel would not call an interface that.
    #[error("`{0}` is no name of an interface: 1 to 15 bytes without white space, `/` and `:`")]
    NotAName(String),
    /// An unknown form.
    #[error("`{0}:` is no kind of interface; there are NAME, tap:NAME and pcap:IN:OUT")]
    UnknownKind(String),
    /// Not two files.
    #[error(
        "`{0}`: needs two files, pcap:IN:OUT; use /dev/null where one is not wanted as the output"
    )]
    NotTwoFiles(String),
}

impl InterfaceName {
    /// The same, with relative files taken as relative to `directory`.
    #[must_use]
    pub fn relative_to(self, directory: &Path) -> Self {
        match self {
            Self::Pcap { input, output } => Self::Pcap {
                input: directory.join(input),
                output: directory.join(output),
            },
            other @ (Self::Kernel(_) | Self::Tap(_)) => other,
        }
    }
}

impl FromStr for InterfaceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once(':') {
            None if text.is_empty() => Err(NameError::Empty),
            None => name(text).map(Self::Kernel),
            Some(("tap", rest)) => name(rest).map(Self::Tap),
            Some(("pcap", rest)) => {
                let wrong = || NameError::NotTwoFiles(text.to_owned());
                let (input, output) = rest.split_once(':').ok_or_else(wrong)?;
                if input.is_empty() || output.is_empty() || output.contains(':') {
                    return Err(wrong());
                }
                Ok(Self::Pcap {
                    input: input.into(),
                    output: output.into(),
                })
            }
            Some((kind, _)) => Err(NameError::UnknownKind(kind.to_owned())),
        }
    }
}

fn name(text: &str) -> Result<String, NameError> {
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':');
    if text.is_empty()
        || text.len() > MAX_NAME
        || text.contains(is_bad)
        || text == "."
        || text == ".."
    {
        return Err(NameError::NotAName(text.to_owned()));
    }
    Ok(text.to_owned())
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(name) => f.write_str(name),
            Self::Tap(name) => write!(f, "tap:{name}"),
            Self::Pcap { input, output } => {
                write!(f, "pcap:{}:{}", input.display(), output.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_back_as_it_was_written() {
        for text in [
            "eth0",
            "tap:lw0",
            "pcap:in.pcap:/tmp/out.pcap",
            "fifteen-bytes-1",
        ] {
            let name: InterfaceName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_interface_is_refused_with_the_forms_there_are() {
        let error = |text: &str| text.parse::<InterfaceName>().unwrap_err().to_string();
        assert!(error("").contains("tap:NAME"));
        for text in [
            "a b",
            "sixteen-bytes-12",
            "a/b",
            ".",
            "..",
            "tap:",
            "tap:a:b",
            "tap:a\n",
        ] {
            assert!(error(text).contains("1 to 15 bytes"), "{text}");
        }
        for text in ["pcap:", "pcap:a", "pcap:a:", "pcap::b", "pcap:a:b:c"] {
            assert!(error(text).contains("pcap:IN:OUT"), "{text}");
        }
        assert!(error("eth0:1").contains("`eth0:` is no kind of interface"));
    }

    #[test]
    fn files_are_relative_to_the_configuration() {
        let at = |text: &str| {
            let name: InterfaceName = text.parse().unwrap();
            name.relative_to(Path::new("/etc/lw")).to_string()
        };
        assert_eq!(at("pcap:a:/b"), "pcap:/etc/lw/a:/b");
        assert_eq!(at("eth0"), "eth0");
    }
}
