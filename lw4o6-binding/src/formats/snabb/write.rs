//! Bindings as the binding table of a Snabb configuration.

use std::io::{self, Write};
use std::vec::Vec;

use crate::{Binding, SoftwireKey};

/// Writes a `softwire-config` with nothing but a binding table, in the order given.
///
/// The result lists every softwire with a PSID offset, in that order: it is written as
/// `reserved-ports-bit-count`, which makes Snabb accept other ports (R-267, see the
/// [module](super)). Origin and expiry cannot be written; a B4 known by its prefix is written by
/// its address.
///
/// # Errors
///
/// What `to` fails with.
//
pub fn export<'a>(
    mut to: impl Write,
    bindings: impl IntoIterator<Item = &'a Binding>,
) -> io::Result<Vec<SoftwireKey>> {
    let mut reserved = Vec::new();
    to.write_all(b"softwire-config {\n  binding-table {\n")?;
    for binding in bindings {
        softwire(&mut to, binding)?;
        if binding.ports.offset() > 0 {
            reserved.push(binding.key());
        }
    }
    to.write_all(b"  }\n}\n")?;
    to.flush()?;
    Ok(reserved)
}

fn softwire(to: &mut impl Write, binding: &Binding) -> io::Result<()> {
    let Binding {
        b4,
        prefix_len: _,
        ipv4,
        ports,
        aftr,
        origin: _,
        expires: _,
    } = binding;
    let (psid, len) = (ports.psid(), ports.len());
    writeln!(to, "    softwire {{")?;
    writeln!(to, "      ipv4 {ipv4};")?;
    writeln!(to, "      psid {psid};")?;
    writeln!(to, "      b4-ipv6 {b4};")?;
    writeln!(to, "      br-address {aftr};")?;
    writeln!(to, "      port-set {{")?;
    writeln!(to, "        psid-length {len};")?;
    if ports.offset() > 0 {
        writeln!(to, "        reserved-ports-bit-count {};", ports.offset())?;
    }
    writeln!(to, "      }}\n    }}")
}
