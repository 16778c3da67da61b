//! The README's program in a crate of its own, outside of this workspace, as a user begins.

use std::path::{Path, PathBuf};
use std::process::Command;

const MANIFEST: &str = r#"
[package]
name = "my-app"
version = "0.1.0"
edition = "2024"

[dependencies]
job-core = { path = "{workspace}/job-core" }
job-memory = { path = "{workspace}/job-memory" }
tokio = { version = "1", features = ["macros", "rt-multi-thread", "time"] }

# Not a part of whatever workspace the folder may be in.
[workspace]
"#;

#[test]
fn the_readmes_program_needs_three_dependencies() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = std::fs::read_to_string(workspace.join("README.md")).unwrap();
    let programs = readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next());
    let program = programs.clone().find(|code| code.contains("fn main()")).expect("a program");

    // Within the target folder, so that what is compiled stays compiled.
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("user-crate");
    std::fs::create_dir_all(dir.join("src")).unwrap();
    let manifest = MANIFEST.replace("{workspace}", workspace.to_str().unwrap());
    std::fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    // The versions that the workspace has, so that no network is needed.
    std::fs::copy(workspace.join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
    std::fs::write(dir.join("src/main.rs"), program).unwrap();

    let run = Command::new(env!("CARGO"))
        .args(["run", "--offline", "--quiet"])
        .current_dir(&dir)
        .env("CARGO_TARGET_DIR", target(&dir))
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{err}");
    assert!(out.contains("welcome, user 42"), "{out}\n{err}");
    assert!(out.contains("1 completed"), "{out}\n{err}");
    assert!(!err.contains("warning"), "{err}");
}

fn target(dir: &Path) -> PathBuf {
    dir.join("target")
}
