//! What is missing on a machine is named, with what to do about it.
#![cfg(unix)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the binary says where PATH holds these programs alone, and nothing is installed yet.
fn complaint(name: &str, programs: &[(&str, &str)]) -> String {
    let dir = folder(name);
    for (program, script) in programs {
        let file = dir.join(program);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_azurite"))
        .env("PATH", &dir)
        .env("CARGO_TARGET_DIR", dir.join("target"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("missing").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

const ADVICE: &str = "install Node.js 20 or newer with npm";

#[test]
fn no_node() {
    let error = complaint("no-node", &[]);
    assert!(error.contains("`node` was not found in PATH") && error.contains(ADVICE), "{error}");
    assert!(error.contains("JOB_AZURITE_URL"), "{error}");
}

#[test]
fn an_old_node() {
    let error = complaint("old-node", &[("node", "echo v18.19.0")]);
    assert!(error.contains("node is too old, v18.19.0") && error.contains(ADVICE), "{error}");
}

#[test]
fn no_npm() {
    let error = complaint("no-npm", &[("node", "echo v20.0.0")]);
    assert!(error.contains("`npm` was not found in PATH") && error.contains(ADVICE), "{error}");
}

#[test]
fn no_network() {
    let npm = "echo npm error network ENOTFOUND >&2; exit 1";
    let error = complaint("no-network", &[("node", "echo v20.0.0"), ("npm", npm)]);
    assert!(error.contains("`npm ci --no-audit"), "{error}");
    assert!(error.contains("needs the network"), "{error}");
    assert!(error.contains("npm error network ENOTFOUND"), "{error}");
}

#[test]
fn what_is_half_installed_is_installed_again() {
    let programs = [("node", "echo v20.0.0"), ("npm", "echo half > half; exit 1")];
    complaint("half", &programs);
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("missing/half/target/azurite");
    let halves = || {
        let folders = fs::read_dir(&base).unwrap().map(|entry| entry.unwrap().path());
        folders.filter(|folder| folder.join("half").exists()).count()
    };
    assert_eq!(halves(), 1);
    // `complaint` would begin with an empty folder.
    let npm = base.join("../../npm");
    fs::write(&npm, "#!/bin/sh\n[ -e half ] && echo half is still there\nexit 1\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_azurite"))
        .env("PATH", npm.parent().unwrap())
        .env("CARGO_TARGET_DIR", base.join(".."))
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("npm ci") && !error.contains("still there"), "{error}");
    assert_eq!(halves(), 0);
}
