//! Bugs planted on purpose: the comparison with the model has to find every one of them.
//!
//! `testkit/seeded-bugs/NN-name.patch` each hold one bug; the lines before the first `---` say what
//! it is. Each is applied to a copy of the sources, and the comparison is run on it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::shell::{command, files, output, root};

/// The document with the results.
const DOCUMENT: &str = "docs/SEEDED-BUGS.md";

/// What the comparison says in front of the number of operations.
const MARK: &str = "parted after ";

/// What it says in front of the lines of the shrunk run.
const REPEAT: &str = "to repeat it:";

/// One bug.
struct Bug {
    path: PathBuf,
    name: String,
    text: String,
}

/// How many were found.
pub(crate) struct Summary {
    pub(crate) found: usize,
    pub(crate) bugs: usize,
}

/// Plants each bug; fails unless all are found.
pub(crate) fn run() -> Outcome {
    let Summary { found, bugs } = plant()?;
    if found == bugs {
        return Ok(());
    }
    Err(format!("{found} of {bugs} bugs found; see {DOCUMENT}"))
}

/// Plants each bug and runs the comparison on it. A bug that cannot be planted counts as not found.
pub(crate) fn plant() -> Result<Summary, String> {
    let copy = root().join("target/seeded/sources");
    let sources = sources()?;
    restore(&sources, &copy)?;
    if let Some(operations) = compare(&copy, None)? {
        return Err(format!(
            "the sources fail without a bug, after {operations} operations"
        ));
    }
    let mut table = String::new();
    let (mut found, bugs) = (0, bugs()?);
    for bug in &bugs {
        restore(&sources, &copy)?;
        let seen = match apply(bug, &copy).and_then(|()| compare(&copy, Some(&bug.name))) {
            Ok(Some(operations)) => {
                found += 1;
                operations.to_string()
            }
            Ok(None) => "**not found**".to_owned(),
            Err(error) => {
                eprintln!("error: {}: {error}", bug.name);
                "**cannot be planted**".to_owned()
            }
        };
        println!("{}: {seen}", bug.name);
        let _ = writeln!(table, "| {} | {} | {seen} |", bug.name, bug.text);
    }
    restore(&sources, &copy)?;
    write(&table)?;
    Ok(Summary {
        found,
        bugs: bugs.len(),
    })
}

fn bugs() -> Result<Vec<Bug>, String> {
    let read = |path: PathBuf| {
        let patch =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let text: Vec<&str> = patch
            .lines()
            .take_while(|line| !line.starts_with("--- "))
            .collect();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(Bug {
            path,
            name,
            text: text.join(" ").trim().to_owned(),
        })
    };
    files(&root().join("testkit/seeded-bugs"), &["patch"])
        .into_iter()
        .map(read)
        .collect()
}

/// Every file of the repository that a build needs.
fn sources() -> Result<Vec<String>, String> {
    let list = output(&mut command(
        "git ls-files --cached --others --exclude-standard",
    ))?;
    Ok(list
        .lines()
        .filter(|path| root().join(path).is_file())
        .map(str::to_owned)
        .collect())
}

/// Makes the copy equal to the sources. Equal files keep their time, so that little is built again.
fn restore(sources: &[String], copy: &Path) -> Outcome {
    for path in sources {
        let (from, to) = (root().join(path), copy.join(path));
        let bytes = fs::read(&from).map_err(|error| format!("{path}: {error}"))?;
        if fs::read(&to).is_ok_and(|old| old == bytes) {
            continue;
        }
        let folder = to.parent().unwrap_or(copy);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&to, bytes))
            .map_err(|error| format!("{}: {error}", to.display()))?;
    }
    Ok(())
}

fn apply(bug: &Bug, copy: &Path) -> Outcome {
    let mut patch = command("patch -p1 --no-backup-if-mismatch --silent -i");
    let status = patch.arg(&bug.path).current_dir(copy).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{} does not apply any more", bug.path.display())),
        Err(error) => Err(format!("patch: {error}")),
    }
}

/// Runs the comparison; how many operations it took to find a difference, if it did. With a `name`
/// the shrunk run is kept, unless there is one for that bug, so that every `cargo test` repeats it.
fn compare(copy: &Path, name: Option<&str>) -> Result<Option<u64>, String> {
    let mut test = command("cargo test -q -p testkit --test model_vs_engine -- --exact");
    test.arg("the_engine_does_what_the_model_does")
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", root().join("target/seeded/build"))
        .env("LW4O6_SHARED", root().join("../shared"));
    let done = test
        .output()
        .map_err(|error| format!("cargo test: {error}"))?;
    if done.status.success() {
        return Ok(None);
    }
    let text = [done.stdout, done.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let number = text
        .split(MARK)
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    match number.and_then(|digits| digits.parse().ok()) {
        Some(operations) => {
            if let Some(name) = name {
                keep(name, &text)?;
            }
            Ok(Some(operations))
        }
        None => Err(format!("the comparison did not run:\n{text}")),
    }
}

/// Keeps the shrunk run that the comparison printed.
fn keep(name: &str, text: &str) -> Outcome {
    let path = root().join(format!("testdata/model/bug-{name}.txt"));
    let Some(run) = text.split(REPEAT).nth(1).filter(|_| !path.exists()) else {
        return Ok(());
    };
    let lines: Vec<&str> = run
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .collect();
    let text = format!("# Finds the seeded bug {name}.\n{}\n", lines.join("\n"));
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(table: &str) -> Outcome {
    let text = format!(
        "# Seeded bugs\n\n\
         Written by `cargo xtask seeded-bugs`. Each row is a bug that is planted in a copy of the \
         sources;\nthe comparison of the engine with the model (`testkit/tests/model_vs_engine.rs`) \
         has to find it.\nThe last column says how many random operations that takes.\n\n\
         | bug | what it does | operations until found |\n|---|---|---|\n{table}"
    );
    let path = root().join(DOCUMENT);
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}
