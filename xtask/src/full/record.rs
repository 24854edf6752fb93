//! docs/FULL.md: what the long forms did, one row for each, read back so that rows of other runs stay.

use std::fmt::Write as _;

/// What stands in front of the list of machines.
const HEAD: &str = "# Full runs

Written by `cargo xtask full`, not by hand. Each stage replaces its own row when it has run; `cargo xtask full STAGE` runs
one. Seconds are wall time without building, except where the row says otherwise. *Tree* is the commit that ran; a `+`
behind it says that files differed from it.
";

/// Heads of the columns.
const COLUMNS: &str = "| stage | what ran | size | result | seconds | tree | machine |
|---|---|---|---|---|---|---|
";

/// One stage's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) stage: String,
    pub(super) what: String,
    pub(super) size: String,
    pub(super) result: String,
    pub(super) seconds: String,
    pub(super) tree: String,
    /// Processor, cores, compiler.
    pub(super) machine: String,
}

/// The rows of the document, whatever else stands in it.
pub(super) fn read(text: &str) -> Vec<Row> {
    let machines: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("- ")?.split_once(": "))
        .collect();
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .filter_map(|line| {
            let cells: Vec<&str> = line.split(" | ").collect();
            let &[stage, what, size, result, seconds, tree, letter] = cells.as_slice() else {
                return None;
            };
            let &(_, machine) = machines.iter().find(|(name, _)| *name == letter)?;
            Some(Row {
                stage: stage.to_owned(),
                what: what.to_owned(),
                size: size.to_owned(),
                result: result.to_owned(),
                seconds: seconds.to_owned(),
                tree: tree.to_owned(),
                machine: machine.to_owned(),
            })
        })
        .collect()
}

/// The document with these rows.
pub(super) fn write(rows: &[Row]) -> String {
    let mut machines: Vec<&str> = Vec::new();
    for row in rows {
        if !machines.contains(&row.machine.as_str()) {
            machines.push(&row.machine);
        }
    }
    let letters = || ('A'..='Z').zip(&machines);
    let mut text = format!("{HEAD}\nMachines:\n\n");
    for (letter, machine) in letters() {
        let _ = writeln!(text, "- {letter}: {machine}");
    }
    let _ = write!(text, "\n{COLUMNS}");
    for row in rows {
        let Row {
            stage,
            what,
            size,
            result,
            seconds,
            tree,
            machine,
        } = row;
        let letter = letters().find(|(_, name)| **name == machine.as_str());
        let letter = letter.map_or('-', |(letter, _)| letter);
        let _ = writeln!(
            text,
            "| {stage} | {what} | {size} | {result} | {seconds} | {tree} | {letter} |"
        );
    }
    text
}

/// Puts `new` in the place of the row of the same stage, or where `order` has it. Rows of stages
/// that no longer exist go.
pub(super) fn replace(rows: &mut Vec<Row>, new: Row, order: &[&str]) {
    rows.retain(|row| row.stage != new.stage && order.contains(&row.stage.as_str()));
    rows.push(new);
    rows.sort_by_key(|row| order.iter().position(|name| *name == row.stage));
}

/// Text that fits a cell.
pub(super) fn cell(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut cell = words.join(" ").replace('|', "/");
    if let Some((end, _)) = cell.char_indices().nth(200) {
        cell.truncate(end);
        cell.push('…');
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(stage: &str, result: &str, machine: &str) -> Row {
        Row {
            stage: stage.to_owned(),
            what: "the engine, and the model".to_owned(),
            size: "10,000,000 operations".to_owned(),
            result: result.to_owned(),
            seconds: "411".to_owned(),
            tree: "0123456+".to_owned(),
            machine: machine.to_owned(),
        }
    }

    #[test]
    fn rows_survive_the_document() {
        let rows = vec![
            row("model", "agreed", "one, 2 cores, rustc 1.95.0"),
            row("churn", "ok", "another: faster"),
            row("loom", "ok", "one, 2 cores, rustc 1.95.0"),
        ];
        let text = write(&rows);
        assert_eq!(read(&text), rows);
        assert_eq!(write(&read(&text)), text);
        assert_eq!(read(&write(&[])), Vec::new());
    }

    #[test]
    fn every_part_of_a_document_is_readable() {
        let text = write(&[row("model", "agreed", "one"), row("loom", "ok", "two")]);
        for (end, _) in text.char_indices() {
            assert!(read(&text[..end]).len() <= 2);
        }
    }

    #[test]
    fn a_new_row_takes_the_place_of_the_old_one() {
        let order = ["model", "churn", "loom"];
        let mut rows = vec![row("loom", "ok", "one"), row("gone", "ok", "one")];
        replace(&mut rows, row("model", "agreed", "one"), &order);
        replace(&mut rows, row("loom", "**failed**: why", "one"), &order);
        let seen: Vec<(&str, &str)> = rows
            .iter()
            .map(|row| (row.stage.as_str(), row.result.as_str()))
            .collect();
        assert_eq!(seen, [("model", "agreed"), ("loom", "**failed**: why")]);
    }

    #[test]
    fn a_cell_is_one_line_without_bars() {
        assert_eq!(cell(" two\nlines | and \t more"), "two lines / and more");
        assert_eq!(cell(&"é".repeat(300)).chars().count(), 201);
        let odd = row("model", &cell("a | b\n| c | d |"), "one");
        assert_eq!(read(&write(std::slice::from_ref(&odd))), [odd]);
    }
}
