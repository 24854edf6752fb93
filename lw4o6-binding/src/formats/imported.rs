//! Bindings that remember where they were read.

use crate::Binding;
use crate::formats::Place;

/// A binding and where it stands in the text it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportedBinding {
    /// The binding.
    pub binding: Binding,
    /// Where it was read.
    pub source: Source,
}

/// Where a binding was read; small, because there is one per binding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Nowhere: it was made by a program.
    #[default]
    Program,
    /// A line of text, from 1.
    Line(u32),
    /// An entry of a JSON binding table.
    Entry {
        /// Position of the `binding-entry`, from 1.
        entry: u32,
        /// Position in its `additional-softwire`, from 1; 0 for the softwire of the entry itself.
        additional: u32,
    },
}

impl ImportedBinding {
    /// The place as a person looks for it, `instance` being the name of the `bind-instance` that
    /// holds the binding; `None` where a program made it.
    #[must_use]
    pub fn place(&self, instance: &str) -> Option<Place> {
        match self.source {
            Source::Program => None,
            Source::Line(line) => Some(Place::Line(line)),
            Source::Entry { entry, additional } => Some(crate::formats::json::entry_place(
                instance, entry, additional,
            )),
        }
    }
}

impl From<Binding> for ImportedBinding {
    fn from(binding: Binding) -> Self {
        Self {
            binding,
            source: Source::Program,
        }
    }
}
