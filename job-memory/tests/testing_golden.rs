//! Whether this release reads what older ones have stored: what is found, and what is said.

mod kit;

use std::path::{Path, PathBuf};
use std::process::Command;

use job_core::prelude::*;
use job_memory::testing::{assert_args_compatible, assert_golden_args};
use kit::said;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Address {
    city: String,
    #[serde(default)]
    door: u32,
}

#[job]
async fn send_welcome(user_id: u64, name: String) -> Result<(), JobError> {
    let _ = (user_id, name);
    Ok(())
}

/// The job after some releases.
#[job(name = "ship", alias = "post")]
async fn ship(
    order: u64,
    #[serde(alias = "where")] to: Address,
    #[serde(default)] note: Option<String>,
    #[serde(default)] parcels: u32,
) -> Result<(), JobError> {
    let _ = (order, to, note, parcels);
    Ok(())
}

#[job(name = "remind")]
struct RemindV1 {
    user: String,
    old: u32,
}

#[job(version = 2, upgrade = from_v1)]
async fn remind(user: String, times: u32) -> Result<(), JobError> {
    let _ = (user, times);
    Ok(())
}

fn from_v1(old: RemindV1) -> Result<Remind, String> {
    let times = if old.user == "nobody" { Err("canary")? } else { old.old.min(1) };
    Ok(Remind { user: old.user, times })
}

/// A file in a folder of a test's own.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(name);
        let _ = std::fs::remove_file(&file);
        Self(file)
    }

    fn of(name: &str, job: &str, version: u32, args: serde_json::Value) -> Self {
        let file = Self::new(name);
        let golden = json!({ "job": job, "version": version, "args": args });
        std::fs::write(&file.0, golden.to_string()).unwrap();
        file
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

#[test]
fn what_is_read_whole_is_fine() {
    let job = assert_args_compatible!("tests/golden/send_welcome.v1.json", SendWelcome);
    assert_eq!((job.user_id, &*job.name), (7, "Ada"));
    let ada = SendWelcome { user_id: 7, name: "Ada".into() };
    assert_golden_args!("tests/golden/send_welcome.v1.json", ada);

    let args = json!({"order": 1, "where": {"city": "Ulm", "door": 0}, "note": null, "parcels": 0});
    let file = File::of("fine", "post", 1, args);
    assert_eq!(assert_args_compatible!(file.path(), Ship).to.city, "Ulm");
    let file = File::of("older", "remind", 1, json!({"user": "Ada", "old": 9}));
    assert_eq!(assert_args_compatible!(file.path(), Remind).times, 1);
}

#[test]
fn a_field_that_is_not_read_any_more() {
    let args = json!({"order": 1, "to": {"city": "Ulm", "street": "Am See"}, "remark": "ring"});
    let file = File::of("unread", "ship", 1, args);
    assert_eq!(
        said(|| assert_args_compatible!(file.path(), Ship)),
        format!(
            "the args in {} are read, but not whole: nothing reads `remark`, `to.street`\n  \
             {{\"order\":1,\"remark\":\"ring\",\"to\":{{\"city\":\"Ulm\",\"street\":\"Am See\"}}}}\n\
             A field that was renamed needs `#[serde(alias = \"..\")]` with its old name, and a \
             new one `#[serde(default)]`; for anything else give the job `version = 2` and an \
             `upgrade`. If it is not needed any more, say so: `unread = [..]`",
            file.path()
        )
    );
    assert_args_compatible!(file.path(), Ship, unread = ["remark", "to.street"]);
    let said = said(|| assert_args_compatible!(file.path(), Ship, unread = ["remark"]));
    assert!(said.contains("nothing reads `to.street`\n"), "{said}");
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    item: u32,
    #[serde(default)]
    remark: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Wait { hours: u32 },
    Call(u64, Line),
}

#[job]
async fn pack(lines: Vec<Line>, steps: Vec<Step>) -> Result<(), JobError> {
    let _ = (lines, steps);
    Ok(())
}

#[test]
fn a_field_that_is_not_read_any_more_inside_a_list() {
    let args = json!({
        "lines": [{"item": 1, "note": "ring"}, {"item": 2}, {"item": 3, "note": "knock"}],
        "steps": [{"wait": {"hours": 3, "why": "it"}}, {"call": [5, {"item": 1, "note": "who"}]}],
    });
    let file = File::of("lists", "pack", 1, args);
    let said = said(|| assert_args_compatible!(file.path(), Pack));
    let places = "`lines.0.note`, `lines.2.note`, `steps.0.wait.why`, `steps.1.call.1.note`";
    assert!(said.contains(&format!("nothing reads {places}\n")), "{said}");
    assert_args_compatible!(
        file.path(),
        Pack,
        unread = ["lines.0.note", "lines.2.note", "steps.0.wait.why", "steps.1.call.1.note"]
    );
}

#[test]
fn large_numbers_that_have_changed() {
    let file = File::of("large", "send_welcome", 1, json!({"user_id": u64::MAX, "name": "Ada"}));
    assert_golden_args!(file.path(), SendWelcome { user_id: u64::MAX, name: "Ada".into() });
    let other = SendWelcome { user_id: u64::MAX - 1, name: "Ada".into() };
    let said = said(|| assert_golden_args!(file.path(), other));
    assert!(said.contains("is not enqueued as"), "{said}");
}

#[test]
fn args_that_do_not_fit_any_more() {
    let file = File::of("renamed", "ship", 1, json!({"number": 1, "to": {"city": "Ulm"}}));
    assert_eq!(
        said(|| assert_args_compatible!(file.path(), Ship)),
        format!(
            "the args in {} are not read any more: the args of version 1 do not fit at `.`: a \
             field is missing\n  {{\"number\":1,\"to\":{{\"city\":\"Ulm\"}}}}\nJobs like it may \
             be on a queue when this release starts. A field that was renamed needs \
             `#[serde(alias = \"..\")]` with its old name, and a new one `#[serde(default)]`; for \
             anything else give the job `version = 2` and an `upgrade`.",
            file.path()
        )
    );
    let file = File::of("no-upgrade", "remind", 1, json!({"user": "nobody", "old": 9}));
    let said = said(|| assert_args_compatible!(file.path(), Remind));
    assert!(said.contains("could not be upgraded past version 1"), "{said}");
    assert!(said.ends_with("The job's `upgrade` has to read version 1 still."), "{said}");
}

#[test]
fn a_job_that_has_lost_its_name_or_its_version() {
    let file = File::of("name", "dispatch", 1, json!({"order": 1, "to": {"city": "Ulm"}}));
    assert_eq!(
        said(|| assert_args_compatible!(file.path(), Ship)),
        format!(
            "{} is of job `dispatch`, and this one is `ship`: its stored messages find no handler \
             any more; give it `alias = \"dispatch\"`, or `name = \"dispatch\"`",
            file.path()
        )
    );
    let file = File::of("newer", "ship", 3, json!({}));
    let said = said(|| assert_args_compatible!(file.path(), Ship));
    assert!(said.contains("is of version 3, and `ship` has version 1"), "{said}");
}

#[test]
fn files_that_are_missing_or_something_else() {
    let said_of = |file: &str| said(|| assert_args_compatible!(file, Ship));
    let said = said_of("tests/golden/none.json");
    assert!(said.starts_with("tests/golden/none.json cannot be read ("), "{said}");
    assert!(said.contains("relative to the crate") && said.contains("UPDATE_GOLDEN=1"), "{said}");
    let said = said_of("Cargo.toml");
    assert!(said.starts_with("Cargo.toml is not what `assert_golden_args!` writes"), "{said}");
}

#[test]
fn a_job_that_is_enqueued_in_another_way_than_before() {
    let file = File::of("changed", "send_welcome", 1, json!({"user": 7, "name": "Ada"}));
    let ada = SendWelcome { user_id: 7, name: "Ada".into() };
    assert_eq!(
        said(|| assert_golden_args!(file.path(), ada)),
        format!(
            "`send_welcome` is not enqueued as {} has it:\n  \
             there: `send_welcome`, version 1, {{\"name\":\"Ada\",\"user\":7}}\n  \
             now:   `send_welcome`, version 1, {{\"name\":\"Ada\",\"user_id\":7}}\n\
             Workers of the last release read such messages while this one is rolled out. If they \
             cannot, give the job a new `version` and a file of its own. If only the values of \
             the test changed, or no release has had that file, delete it and run this test with \
             UPDATE_GOLDEN=1",
            file.path()
        )
    );
}

/// Run by the test below, with and without the variable.
#[test]
fn writes_what_is_missing() {
    let Some(file) = std::env::var_os("JOB_GOLDEN_FILE") else { return };
    let ada = SendWelcome { user_id: 7, name: "Ada".into() };
    assert_golden_args!(file.to_str().unwrap(), ada);
}

#[test]
fn a_missing_file_is_written_when_that_is_asked_for_and_never_written_over() {
    let file = File::new("new/send_welcome.v1.json");
    let _ = std::fs::remove_dir_all(file.0.parent().unwrap());
    let run = |update: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_what_is_missing", "--nocapture"])
            .env("JOB_GOLDEN_FILE", file.path())
            .env("UPDATE_GOLDEN", update)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (success, said) = run("0");
    assert!(!success && said.contains("is missing: run this test once with UPDATE_GOLDEN=1"));
    let (success, said) = run("1");
    assert!(success, "{said}");
    let written = std::fs::read_to_string(&file.0).unwrap();
    let own = std::fs::read_to_string("tests/golden/send_welcome.v1.json").unwrap();
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parse(&written), parse(&own));
    assert!(run("0").0);

    std::fs::write(&file.0, written.replace("Ada", "Eve")).unwrap();
    let (success, said) = run("1");
    assert!(!success && said.contains("is not enqueued as"), "{said}");
    assert!(std::fs::read_to_string(&file.0).unwrap().contains("Eve"));
}
