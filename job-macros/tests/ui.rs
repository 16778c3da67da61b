//! What users see when they get it wrong, and odd things that must work. After a change of
//! messages: `TRYBUILD=overwrite cargo test -p job-macros --test ui`, then read them as a user
//! would. (All of them: without programs that pass, trybuild runs `cargo check`, which says a note
//! less about a constant.)

use std::path::{Path, PathBuf};

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/newcomer/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}

/// What somebody does wrong in the first hour gives one error, short enough to be read.
#[test]
fn newcomers_get_one_short_error_each() {
    let messages = files("newcomer", "stderr");
    assert!(messages.len() >= 15, "{}", messages.len());
    for path in messages {
        let text = std::fs::read_to_string(&path).unwrap();
        let errors = text.lines().filter(|line| line.starts_with("error")).count();
        let warnings = text.lines().filter(|line| line.starts_with("warning")).count();
        assert_eq!((errors, warnings), (1, 0), "{}:\n{text}", path.display());
        let lines = text.lines().count();
        assert!(lines <= 12, "{} has {lines} lines:\n{text}", path.display());
    }
}

#[test]
fn every_failing_program_has_its_message() {
    for folder in ["newcomer", "fail"] {
        assert_eq!(files(folder, "rs").len(), files(folder, "stderr").len(), "{folder}");
    }
    assert!(files("fail", "rs").len() >= 25);
    assert!(files("pass", "rs").len() >= 12);
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui").join(folder);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|it| it == extension)).collect()
}
