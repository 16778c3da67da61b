//! Args as older releases have stored them: whether this release still reads them.

use std::fs;
use std::path::{Path, PathBuf};

use job_core::{Args, Job};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::text::{json, same};

/// What makes missing files be written.
const UPDATE: &str = "UPDATE_GOLDEN";

/// Args in a file: a job as some release has enqueued it.
#[derive(Debug, Serialize, Deserialize)]
struct Golden {
    job: String,
    version: u32,
    args: Value,
}

/// What [`assert_args_compatible!`](crate::assert_args_compatible) does.
///
/// # Panics
/// If the args are not read whole.
#[doc(hidden)]
#[track_caller]
pub fn assert_args_compatible_at<J: Job>(root: &str, file: &str, unread: &[&str]) -> J {
    let golden = match fs::read_to_string(path(root, file)) {
        Ok(text) => parse(file, &text),
        Err(error) => panic!(
            "{file} cannot be read ({error}): paths are relative to the crate, and \
             `assert_golden_args!({file:?}, ..)` with {UPDATE}=1 writes a file that is missing"
        ),
    };
    let Golden { job: name, version, args } = &golden;
    if name != J::NAME && !J::ALIASES.contains(&&**name) {
        panic!(
            "{file} is of job `{name}`, and this one is `{}`: its stored messages find no handler \
             any more; give it `alias = {name:?}`, or `name = {name:?}`",
            J::NAME
        );
    }
    assert!(
        *version <= J::VERSION,
        "{file} is of version {version}, and `{}` has version {}: a worker leaves newer args to \
         newer workers; give the job that version again",
        J::NAME,
        J::VERSION
    );
    let job = match read::<J>(args, *version) {
        Ok(job) => job,
        Err(error) => panic!(
            "the args in {file} are not read any more: {error}\n  {args}\nJobs like it may be on a \
             queue when this release starts. {}",
            advice::<J>(*version)
        ),
    };
    let mut lost = Vec::new();
    let whole = json(&job);
    find_unread::<J>(args, *version, &whole, &mut Vec::new(), &mut lost);
    lost.retain(|place| !unread.contains(&place.as_str()));
    assert!(
        lost.is_empty(),
        "the args in {file} are read, but not whole: nothing reads {}\n  {args}\n{} If it is not \
         needed any more, say so: `unread = [..]`",
        list(&lost),
        advice::<J>(*version)
    );
    job
}

/// What [`assert_golden_args!`](crate::assert_golden_args) does.
///
/// # Panics
/// If the file holds other args, or is missing and not to be written.
#[doc(hidden)]
#[track_caller]
pub fn assert_golden_args_at<J: Job>(root: &str, file: &str, job: &J) {
    let path = path(root, file);
    let own = Golden { job: J::NAME.to_owned(), version: J::VERSION, args: json(job) };
    let Ok(text) = fs::read_to_string(&path) else {
        assert!(
            std::env::var_os(UPDATE).is_some_and(|value| value == "1"),
            "{file} is missing: run this test once with {UPDATE}=1, which writes it, and commit it"
        );
        write(&path, &own);
        return;
    };
    let golden = parse(file, &text);
    let as_it_was =
        golden.job == own.job && golden.version == own.version && same(&golden.args, &own.args);
    assert!(
        as_it_was,
        "`{}` is not enqueued as {file} has it:\n  there: `{}`, version {}, {}\n  now:   `{}`, \
         version {}, {}\nWorkers of the last release read such messages while this one is rolled \
         out. If they cannot, give the job a new `version` and a file of its own. If only the \
         values of the test changed, or no release has had that file, delete it and run this test \
         with {UPDATE}=1",
        J::NAME,
        golden.job,
        golden.version,
        golden.args,
        own.job,
        own.version,
        own.args
    );
}

/// Every field that nothing reads. What is read takes notice when there is nonsense in its place:
/// it is an error then, or changes the job.
fn find_unread<J: Job>(
    args: &Value,
    version: u32,
    whole: &Value,
    at: &mut Vec<String>,
    lost: &mut Vec<String>,
) {
    let keys = |value: &Value| match value {
        Value::Object(fields) => fields.keys().cloned().collect(),
        Value::Array(items) => (0..items.len()).map(|index| index.to_string()).collect(),
        _ => Vec::new(),
    };
    for key in keys(place(&mut args.clone(), at)) {
        at.push(key);
        let mut changed = args.clone();
        *place(&mut changed, at) = serde_json::json!([[["nobody", "expects", "this"]]]);
        let is_unread = read::<J>(&changed, version).is_ok_and(|job| json(&job) == *whole);
        if is_unread {
            lost.push(at.join("."));
        } else {
            find_unread::<J>(args, version, whole, at, lost);
        }
        at.pop();
    }
}

fn place<'a>(args: &'a mut Value, at: &[String]) -> &'a mut Value {
    at.iter().fold(args, |value, key| match value {
        Value::Array(items) => &mut items[key.parse::<usize>().expect("an index")],
        value => &mut value[key.as_str()],
    })
}

fn read<J: Job>(args: &Value, version: u32) -> Result<J, job_core::ArgsError> {
    J::from_args(Args::new(&args.to_string(), version))
}

fn advice<J: Job>(version: u32) -> String {
    if version < J::VERSION {
        return format!("The job's `upgrade` has to read version {version} still.");
    }
    format!(
        "A field that was renamed needs `#[serde(alias = \"..\")]` with its old name, and a new one \
         `#[serde(default)]`; for anything else give the job `version = {}` and an `upgrade`.",
        version + 1
    )
}

fn list(places: &[String]) -> String {
    places.iter().map(|place| format!("`{place}`")).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn parse(file: &str, text: &str) -> Golden {
    match serde_json::from_str(text) {
        Ok(golden) => golden,
        Err(error) => panic!(
            "{file} is not what `assert_golden_args!` writes, which has `job`, `version` and \
             `args`: {error}"
        ),
    }
}

#[track_caller]
fn write(path: &Path, golden: &Golden) {
    let mut text = serde_json::to_string_pretty(golden).expect("it is JSON already");
    text.push('\n');
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    if let Err(error) = folder.and_then(|()| fs::write(path, text)) {
        panic!("{} cannot be written: {error}", path.display());
    }
}

fn path(root: &str, file: &str) -> PathBuf {
    Path::new(root).join(file)
}
