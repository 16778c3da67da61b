//! Every log line of this crate. `log.md` is what the docs show of them.

use std::time::Duration;

use azure_core::Error;
use job_core::backend::BackendError;

/// Makes a function of each line, and for the test a table of all.
macro_rules! lines {
    ($(
        $level:ident $name:ident $message:literal { $($field:ident: $type:ty => $how:ident),* }
    )+) => {
        $(
            #[cfg_attr(not(feature = "identity"), allow(dead_code, reason = "some are of it alone"))]
            pub(crate) fn $name($($field: $type),*) {
                tracing::event!(
                    name: stringify!($name),
                    target: "job_azure",
                    tracing::Level::$level,
                    { $($field = tracing::field::$how($field)),* },
                    $message
                );
            }
        )+

        #[cfg(test)]
        const LINES: &[(&str, tracing::Level, &str, &[&str])] =
            &[$((stringify!($name), tracing::Level::$level, $message, &[$(stringify!($field)),*])),+];
    };
}

lines! {
    DEBUG request_retried "a request failed; trying again" {
        error: &BackendError => display,
        pause: Duration => debug
    }
    DEBUG identity_not_here "no identity here" { source: &str => display, error: &Error => display }
    DEBUG identity_found "found an identity" { source: &str => display }
    WARN identity_refused "no token from this identity" {
        source: &str => display,
        error: &Error => display
    }
    WARN identity_late "no token from this identity in time" {
        source: &str => display,
        limit: Duration => debug
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_docs_have_every_line_and_no_other() {
        let mut table = String::from("| event | level | says | fields |\n|---|---|---|---|\n");
        for (name, level, message, fields) in LINES {
            let level = level.to_string().to_lowercase();
            let fields: Vec<_> = fields.iter().map(|field| format!("`{field}`")).collect();
            table += &format!("| `{name}` | {level} | {message} | {} |\n", fields.join(", "));
        }
        assert_eq!(include_str!("log.md"), table);
    }

    #[test]
    fn nobody_else_writes_lines() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = 0;
        for entry in std::fs::read_dir(src).unwrap() {
            let path = entry.unwrap().path();
            assert!(!path.is_dir(), "look there, too: {}", path.display());
            if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("log.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(!text.contains("tracing::"), "{}", path.display());
                files += 1;
            }
        }
        assert!(files > 10, "{files} files were looked at");
    }
}
