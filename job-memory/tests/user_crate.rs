//! The README's program in a crate of its own, outside of this workspace, as a user begins: three
//! dependencies do. And what takes several crates to go wrong.

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

[lib]
name = "messages"
path = "src/messages.rs"

# Not a part of whatever workspace the folder may be in.
[workspace]
"#;

/// A job, as a crate has it that only enqueues.
const MESSAGES: &str = r#"
#[job_core::job]
pub struct Resize {
    pub picture: String,
}
"#;

/// A crate with two handlers of it.
const TWO_HANDLERS: &str = r#"
use job_core::prelude::*;

mod small {
    use super::*;

    #[handler]
    async fn resize_small(job: messages::Resize) -> Result<(), JobError> {
        drop(job.picture);
        Ok(())
    }
}

#[handler]
async fn resize_large(job: messages::Resize) -> Result<(), JobError> {
    drop(job.picture);
    Ok(())
}

fn main() {}
"#;

#[test]
fn the_readmes_program_runs_and_two_handlers_do_not_compile() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = std::fs::read_to_string(workspace.join("README.md")).unwrap();
    let programs = readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next());
    let program = programs.clone().find(|code| code.contains("fn main()")).expect("a program");
    let user = UserCrate::new();
    user.write("main.rs", program);
    let (success, out, err) = user.cargo(&["run", "--bin", "my-app"]);
    assert!(success, "{err}");
    assert!(out.contains("welcome, user 42"), "{out}\n{err}");
    assert!(out.contains("1 completed"), "{out}\n{err}");
    assert!(!err.contains("warning"), "{err}");

    // In the same folder, where all that it needs is compiled already.
    let one_handler = TWO_HANDLERS.replacen("#[handler]", "#[expect(dead_code)]", 1);
    user.write("bin/handlers.rs", &one_handler);
    let (success, _, err) = user.cargo(&["build", "--bin", "handlers"]);
    assert!(success && err.is_empty(), "{err}");
    user.write("bin/handlers.rs", TWO_HANDLERS);
    let (success, _, err) = user.cargo(&["build", "--bin", "handlers"]);
    assert!(!success);
    assert_eq!(err.matches("error[E0277]: `Resize` has two handlers").count(), 2, "{err}");
    assert_eq!(err.matches("error[").count(), 2, "{err}");
}

/// A crate in a folder of its own.
struct UserCrate(PathBuf);

impl UserCrate {
    fn new() -> Self {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        // Within the target folder, so that what is compiled stays compiled.
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("user-crate");
        let _ = std::fs::remove_dir_all(dir.join("src"));
        std::fs::create_dir_all(dir.join("src/bin")).unwrap();
        let manifest = MANIFEST.replace("{workspace}", workspace.to_str().unwrap());
        std::fs::write(dir.join("Cargo.toml"), manifest).unwrap();
        // The versions that the workspace has, so that no network is needed.
        std::fs::copy(workspace.join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
        let this = Self(dir);
        this.write("messages.rs", MESSAGES);
        this
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join("src").join(file), text).unwrap();
    }

    /// Whether it went well, and what was said.
    fn cargo(&self, args: &[&str]) -> (bool, String, String) {
        let run = Command::new(env!("CARGO"))
            .args(args)
            .args(["--offline", "--quiet"])
            .current_dir(&self.0)
            .env("CARGO_TARGET_DIR", self.0.join("target"))
            .env_remove("RUSTFLAGS")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (run.status.success(), text(&run.stdout), text(&run.stderr))
    }
}
