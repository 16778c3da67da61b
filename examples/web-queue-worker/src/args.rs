//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::thumbnails::Scanner;

pub(crate) const HELP: &str = "\
Takes pictures and makes thumbnails of them.

Usage: web-queue-worker [OPTIONS]           both in one process, the queue in memory
       web-queue-worker web [OPTIONS]       the web alone, on Azure Queue Storage
       web-queue-worker worker [OPTIONS]    workers alone, on the same queue

  --data FOLDER       where pictures are; all processes share it (default: data)
  --listen ADDRESS    where the web is (default: 127.0.0.1:8080)
  --processes N       worker processes (default: 1)
  --scan MILLISECONDS each picture also waits for so long, as for a virus scanner (default: 0)

AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_QUEUE_ENDPOINT says which account; RUST_LOG=info
shows what happens.
";

#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) role: Role,
    pub(crate) data: PathBuf,
    pub(crate) listen: String,
    pub(crate) scanner: Scanner,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Both,
    Web,
    Worker { processes: usize },
}

impl Args {
    /// None where somebody asks for help.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> anyhow::Result<Option<Self>> {
        let mut args = args.into_iter().peekable();
        let role = args.next_if(|arg| !arg.starts_with('-'));
        let mut parsed = Self {
            role: match role.as_deref() {
                None => Role::Both,
                Some("web") => Role::Web,
                Some("worker") => Role::Worker { processes: 1 },
                Some(other) => bail!("unknown role {other}: choose web or worker, or neither"),
            },
            data: "data".into(),
            listen: "127.0.0.1:8080".into(),
            scanner: Scanner::default(),
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value after it"));
            match (arg.as_str(), &mut parsed.role) {
                ("--help" | "-h", _) => return Ok(None),
                ("--data", _) => parsed.data = value()?.into(),
                ("--listen", Role::Both | Role::Web) => parsed.listen = value()?,
                ("--processes", Role::Worker { processes }) => *processes = number(&value()?)?,
                ("--scan", Role::Both | Role::Worker { .. }) => {
                    parsed.scanner.takes = Duration::from_millis(number(&value()?)?);
                }
                _ => bail!("unknown argument {arg}: --help shows those that there are"),
            }
        }
        Ok(Some(parsed))
    }
}

fn number<N: std::str::FromStr<Err = std::num::ParseIntError>>(text: &str) -> anyhow::Result<N> {
    text.parse().with_context(|| format!("`{text}` is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Option<Args>> {
        Args::parse(line.split_whitespace().map(ToOwned::to_owned))
    }

    #[test]
    fn roles_and_their_options() {
        let args = parse("worker --processes 4 --scan 200 --data /mnt/pictures").unwrap().unwrap();
        assert_eq!(args.role, Role::Worker { processes: 4 });
        assert_eq!(args.scanner.takes, Duration::from_millis(200));
        assert_eq!(args.data, PathBuf::from("/mnt/pictures"));
        assert_eq!(parse("").unwrap().unwrap().role, Role::Both);
        assert!(parse("web --help").unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_is_said() {
        for (line, why) in [
            ("wbe", "unknown role wbe"),
            ("web --processes 2", "unknown argument --processes"),
            ("worker --processes", "--processes needs a value"),
            ("worker --processes two", "`two` is no number"),
        ] {
            let said = parse(line).unwrap_err().to_string();
            assert!(said.starts_with(why), "{line}: {said}");
        }
    }
}
