//! What is read from CSV survives writing, and every line of the table is accounted for.

use lw4o6_binding::formats::csv::{HEADER, export, import};
use lw4o6_binding::{Binding, Clock};

use super::{CLOCK, message_is_clean};

/// Input: a table, with its header or, where the header is missing, without.
pub fn law(data: &[u8]) {
    check(data);
    check(&[HEADER.join(",").as_bytes(), b"\n", data].concat());
}

fn check(text: &[u8]) {
    let imported = match import(text, CLOCK) {
        Ok(imported) => imported,
        Err(error) => return message_is_clean(&error),
    };
    let mut last = 1;
    let lines = text.split(|byte| *byte == b'\n').count();
    for imported in &imported {
        let line = imported.place("").and_then(|place| place.line());
        let line = line.map_or(0, |line| usize::try_from(line).unwrap_or(usize::MAX));
        assert!(last <= line && line <= lines, "line {line} of {lines}");
        last = line;
    }
    let bindings: Vec<_> = imported.iter().map(|imported| imported.binding).collect();
    let again = import(&written(&bindings, CLOCK), CLOCK);
    let again = again.map(|read| read.iter().map(|b| b.binding).collect());
    assert_eq!(again, Ok(bindings));
}

fn written(bindings: &[Binding], clock: Clock) -> Vec<u8> {
    let mut out = Vec::new();
    let result = export(&mut out, bindings, clock);
    assert!(result.is_ok(), "{result:?}");
    out
}
