//! A Snabb table that is read survives writing, its warnings are complete, and its lines exist.

use lw4o6_binding::Binding;
use lw4o6_binding::formats::snabb::{SnabbConfig, SnabbSoftwire, SnabbWarning, export};

use super::message_is_clean;

/// Input: a configuration.
pub fn law(data: &[u8]) {
    let config = match SnabbConfig::parse(data) {
        Ok(config) => config,
        Err(error) => return message_is_clean(&error),
    };
    let lines = data.split(|byte| *byte == b'\n').count();
    let mut expected = Vec::new();
    let mut bindings: Vec<Binding> = Vec::new();
    for softwire in &config.softwires {
        let line = usize::try_from(softwire.line).unwrap_or(usize::MAX);
        assert!((1..=lines).contains(&line), "line {line} of {lines}");
        expected.extend(warnings(softwire));
        match softwire.binding() {
            Ok(imported) => bindings.push(imported.binding),
            Err(_) => assert!(u32::from(softwire.psid) >> softwire.psid_length > 0),
        }
    }
    assert!(config.warnings().eq(expected));

    let mut out = Vec::new();
    let reserved = export(&mut out, &bindings);
    let again = SnabbConfig::parse(&out);
    assert!(again.is_ok(), "refuses what it wrote: {again:?}");
    let (Ok(reserved), Ok(again)) = (reserved, again) else {
        return;
    };
    assert_eq!(reserved.len(), again.warnings().count());
    let read = again.softwires.iter().filter_map(|s| s.binding().ok());
    assert!(read.map(|imported| imported.binding).eq(bindings));
}

fn warnings(softwire: &SnabbSoftwire) -> impl Iterator<Item = SnabbWarning> {
    let SnabbSoftwire {
        line,
        psid,
        psid_length,
        reserved_bits: bits,
        ..
    } = *softwire;
    let reserved = (bits > 0).then_some(SnabbWarning::ReservedBits { line, bits });
    let large = u32::from(psid) >> psid_length > 0;
    let large = large.then_some(SnabbWarning::PsidTooLarge {
        line,
        psid,
        psid_length,
    });
    reserved.into_iter().chain(large)
}
