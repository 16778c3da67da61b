//! What the example `config` prints, for settings from its file, from variables, and wrong ones.
//! And what there is to hold about the guide, here because each further binary takes time to build.

mod guide;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FROM_FILE: &str = "\
WORKER     ATTEMPTS  BACKOFF               TIMEOUT  GRACE  CRASHES  PUT BACK  LAYERS
8 at once  5         exponential(2s, 10m)  5m       10s    3        1d        -

QUEUE           CONCURRENCY  RATE LIMIT  LEASE  POLL         RAW  LAYERS
mail            4            100 per 1s  1m     100ms to 5s  -    -
nightly-report  1            -           1m     100ms to 5s  -    -

JOB           ALIASES  VERSION  QUEUE           ATTEMPTS  BACKOFF               TIMEOUT  EXPIRES  DATA  LAYERS
send_mail     -        1        mail            5         exponential(2s, 10m)  5m       -        News  -
write_report  -        1        nightly-report  2         fixed(15m)            1h       -        News  -

done: a mail to ada, a mail to grace, a mail to katherine, the report about mails
the worker's report: 4 received, 4 started, 4 completed
";

#[test]
fn the_settings_of_the_file_are_in_effect() {
    assert_eq!(out(&run(&[], &[])), FROM_FILE);
}

#[test]
fn variables_go_before_the_file() {
    let variables = [
        ("JOB_CONCURRENCY", "2"),
        ("JOB_BACKOFF", "fixed(7s)"),
        ("JOB_QUEUES__MAIL__CONCURRENCY", "1"),
        ("JOB_QUEUES__MAIL__RATE_LIMIT", "50 per 1m"),
        ("JOB_QUEUES__NIGHTLY_REPORT__LEASE", "90s"),
        ("JOBS", "something else"),
    ];
    let out = out(&run(&[], &variables));
    for line in [
        "2 at once  5         fixed(7s)  5m       10s    3        1d        -",
        "mail            1            50 per 1m   1m     100ms to 5s  -    -",
        "nightly-report  1            -           1m30s  100ms to 5s  -    -",
        "write_report  -        1        nightly-report  2         fixed(15m)  1h       -        News  -",
    ] {
        assert!(out.lines().any(|printed| printed == line), "{line}\n{out}");
    }
    assert!(out.contains("4 completed"), "{out}");
}

#[test]
fn the_settings_as_json() {
    let out = out(&run(&["--json".as_ref()], &[("JOB_TIMEOUT", "1h30m")]));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["worker"]["timeout"], "1h30m");
    assert_eq!(json["queues"][0]["rate_limit"], "100 per 1s");
    assert_eq!(json["jobs"][1]["max_attempts"], 2);
}

#[test]
fn a_variable_chooses_the_queues() {
    for (serve, done) in [
        ("mail", "done: a mail to ada, a mail to grace, a mail to katherine"),
        ("nightly-report", "done: the report about mails"),
    ] {
        let out = out(&run(&[], &[("JOB_SERVE", serve)]));
        assert!(out.lines().any(|line| line == done), "{out}");
    }
}

#[test]
fn a_wrong_variable_is_named() {
    for (name, value, error) in [
        ("JOB_TIMEOUT", "30", "at `timeout`: `30` has no unit: write `30s` if seconds are meant"),
        ("JOB_NAME", "ci", "at `name`: unknown field `name`, expected one of `concurrency`"),
        ("JOB_CONCURENCY", "4", "at `concurency`: unknown field `concurency`, expected one of `co"),
        (
            "JOB_CONCURRENCY",
            "four",
            "at `concurrency`: invalid type: string \"four\", expected an ",
        ),
        (
            "JOB_QUEUES__MAIL__LEASE",
            "soon",
            "at `queues.mail.lease`: `soon` is not a duration: write whole numbers with a unit",
        ),
        (
            "JOB_BACKOFF",
            "exponential(2s)",
            "at `backoff`: `exponential(2s)` is not a backoff: write `exponential(2s, 10m)`",
        ),
    ] {
        let said = err(&run(&[], &[(name, value)]));
        let begin = format!("error: the worker's config is wrong {error}");
        assert!(said.starts_with(&begin), "{said}{begin}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    // What is well written and makes no sense is found when the worker is built.
    assert_eq!(
        err(&run(&[], &[("JOB_QUEUES__MAIL__CONCURRENCY", "0")])),
        "error: the worker cannot be built: the concurrency of queue `mail` is 0; it would never \
         run a job; use at least 1\n"
    );
    let said = err(&run(&[], &[("JOB_QUEUES__MIAL__CONCURRENCY", "1")]));
    assert!(said.contains("the config has settings for queue `mial`"), "{said}");
    assert!(said.contains("known are: `mail`, `nightly-report`"), "{said}");
}

#[test]
fn a_wrong_file_is_named() {
    let missing = Path::new("there-is-no-such-file.toml");
    let said = err(&run(&[missing], &[]));
    assert!(said.starts_with("error: cannot read there-is-no-such-file.toml: "), "{said}");

    for (name, text, error) in [
        ("number", "timeout = 30", "wrong at `timeout`: `30` has no unit: write `30s` if"),
        ("field", "[queues.mail]\nleese = \"1m\"", "wrong at `queues.mail.leese`: unknown field"),
        ("syntax", "timeout = ", "error: cannot read "),
    ] {
        let file = Scratch::new(name, text);
        let said = err(&run(&[&file.0], &[]));
        assert!(said.contains(error), "{said}");
    }
}

fn run(args: &[&Path], variables: &[(&str, &str)]) -> Output {
    // Nothing of the environment that the test runs in.
    Command::new(env!("CARGO_BIN_EXE_config"))
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .expect("the program starts")
}

#[track_caller]
fn out(run: &Output) -> String {
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said.is_empty(), "{said}");
    String::from_utf8(run.stdout.clone()).expect("UTF-8")
}

#[track_caller]
fn err(run: &Output) -> String {
    assert!(!run.status.success() && run.stdout.is_empty());
    String::from_utf8(run.stderr.clone()).expect("UTF-8")
}

/// A file of a test's own, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("config-{name}-{}.toml", std::process::id()));
        std::fs::write(&file, text).expect("a file");
        Self(file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
