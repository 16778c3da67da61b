//! Args on their way back from a message: text of some version, read as a job.

use std::any::type_name;
use std::fmt::{self, Write as _};

use serde::Serialize;
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde_path_to_error::Segment;

use crate::Job;

/// What can travel in a message: everything with serde's `Serialize` and `Deserialize` that owns
/// what it holds. It has them by itself; the trait is there for its error message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel in the message of a job",
    label = "lacks serde's `Serialize` and `Deserialize`",
    note = "derive both for it; or take it as `Data<{Self}>`, if the worker is to provide it"
)]
pub trait Arg {
    #[doc(hidden)]
    const TRAVELS: () = ();
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Arg for T {}

/// The args of a message, still as text. [`Job::from_args`] makes a job of them.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    text: &'a str,
    version: u32,
}

impl<'a> Args<'a> {
    /// Args as JSON text, written in that version: for tests of what a job makes of them. A worker
    /// takes both from the message.
    ///
    /// ```
    /// use job_core::{Args, Job};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct SendWelcome { user_id: u64 }
    /// # impl Job for SendWelcome { const NAME: &'static str = "send_welcome"; }
    ///
    /// let job = SendWelcome::from_args(Args::new(r#"{"user_id":7}"#, 1))?;
    /// assert_eq!(job.user_id, 7);
    /// # Ok::<(), job_core::ArgsError>(())
    /// ```
    pub fn new(text: &'a str, version: u32) -> Self {
        Self { text, version }
    }

    /// The version that they were written in: the [`Job::VERSION`] of whoever enqueued them.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Reads them as they are.
    ///
    /// # Errors
    /// If they do not fit the type.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, ArgsError> {
        serde_json::from_str(self.text).map_err(|_| self.misfit::<T>())
    }

    /// Reads args of the job's own version as they are. Older ones are read as `Old`, which may
    /// upgrade them in its turn, and upgraded.
    ///
    /// `Old` has the version before that of `New`, or it does not compile; `upgrade` returns `New`
    /// or a `Result` of it.
    ///
    /// # Errors
    /// If they do not fit the type of their version, or `upgrade` fails.
    pub fn read_or_upgrade<Old, New, Out>(
        self,
        upgrade: impl FnOnce(Old) -> Out,
    ) -> Result<New, ArgsError>
    where
        Old: Job,
        New: Job,
        Out: Upgraded<New>,
    {
        const {
            assert!(
                Old::VERSION + 1 == New::VERSION,
                "an upgrade is from the version before: give the older job that `version`"
            );
        }
        if self.version >= New::VERSION {
            return self.read();
        }
        upgrade(Old::from_args(self)?).upgraded().map_err(|error| ArgsError {
            version: self.version,
            problem: Problem::Upgrade { from: Old::VERSION, error },
        })
    }

    /// Decodes once more, slowly, to find the place. What serde says itself is not used: it
    /// repeats the values.
    #[cold]
    fn misfit<T: DeserializeOwned>(self) -> ArgsError {
        let mut json = serde_json::Deserializer::from_str(self.text);
        let (path, what) = match serde_path_to_error::deserialize::<_, T>(&mut json) {
            Ok(_) => (".".into(), "there is more after the end"),
            Err(error) => (place::<T>(error.path()), problem_of(error.inner())),
        };
        ArgsError { version: self.version, problem: Problem::Misfit { path, what } }
    }
}

/// Args may be private to the app: only their size is shown.
impl fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args")
            .field("version", &self.version)
            .field("len", &self.text.len())
            .finish_non_exhaustive()
    }
}

/// What an upgrade of args returns: the newer job, or a `Result` of it.
#[diagnostic::on_unimplemented(
    message = "the upgrade returns `{Self}`, which is not the job `{New}`",
    label = "returns neither `{New}` nor a `Result` of it",
    note = "an upgrade makes the newer args of the older: `fn from_v1(old: ..) -> {New}`"
)]
pub trait Upgraded<New> {
    #[doc(hidden)]
    fn upgraded(self) -> Result<New, &'static str>;
}

#[diagnostic::do_not_recommend]
impl<New: Job> Upgraded<New> for New {
    fn upgraded(self) -> Result<New, &'static str> {
        Ok(self)
    }
}

/// What the error says is not kept, since it may repeat the args; its type is.
#[diagnostic::do_not_recommend]
impl<New: Job, E> Upgraded<New> for Result<New, E> {
    fn upgraded(self) -> Result<New, &'static str> {
        self.map_err(|_| type_name::<E>())
    }
}

/// Args that do not fit the job's type: in which version and where, and never what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgsError {
    version: u32,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    Misfit { path: String, what: &'static str },
    Upgrade { from: u32, error: &'static str },
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, problem } = self;
        match problem {
            Problem::Misfit { path, what } => {
                write!(f, "the args of version {version} do not fit at `{path}`: {what}")
            }
            Problem::Upgrade { from, error } => write!(
                f,
                "the args of version {version} could not be upgraded past version {from}: {error}"
            ),
        }
    }
}

impl std::error::Error for ArgsError {}

fn problem_of(error: &serde_json::Error) -> &'static str {
    use serde_json::error::Category;
    // serde gives no other way to tell these cases apart; the text itself is not passed on.
    let text = error.to_string();
    match error.classify() {
        Category::Data if text.starts_with("missing field") => "a field is missing",
        Category::Data if text.starts_with("unknown field") => "there is a field too many",
        Category::Data if text.starts_with("unknown variant") => "there is no such variant",
        Category::Data if text.starts_with("duplicate field") => "a field is there twice",
        Category::Data if text.starts_with("invalid type") => "it is of another type",
        Category::Data if text.starts_with("invalid length") => "it has another length",
        Category::Data => "the value is not allowed",
        Category::Syntax if text.starts_with("recursion limit") => "it is nested too deep",
        Category::Syntax => "it is not valid JSON",
        Category::Eof => "it ends too soon",
        Category::Io => "it cannot be read",
    }
}

/// Where in the args it is. A key is shown only if it is the name of a field of the args' own
/// type: any other may be a key of a map, which is as private as a value.
fn place<T: DeserializeOwned>(path: &serde_path_to_error::Path) -> String {
    const DEEPEST: usize = 16;
    let mut place = String::new();
    for (depth, segment) in path.iter().take(DEEPEST).enumerate() {
        match segment {
            Segment::Seq { index } => {
                let _ = write!(place, "[{index}]");
                continue;
            }
            _ if depth > 0 => place.push('.'),
            _ => {}
        }
        match segment {
            Segment::Map { key } if depth == 0 && fields_of::<T>().contains(&&**key) => {
                place.push_str(key);
            }
            _ => place.push('*'),
        }
    }
    if place.is_empty() { ".".into() } else { place }
}

/// The names of the fields of a struct; none of any other type.
fn fields_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // It asks for a struct of these fields, and gets nothing.
    let _ = T::deserialize(FieldsOf(&mut fields));
    fields
}

struct FieldsOf<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldsOf<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("there is nothing here"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct ChargeV1 {
        card: u64,
    }
    impl Job for ChargeV1 {
        const NAME: &'static str = "charge";
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Charge {
        card: Card,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Card {
        number: u64,
        extra: serde_json::Value,
    }
    impl Job for Charge {
        const NAME: &'static str = "charge";
        const VERSION: u32 = 2;

        fn from_args(args: Args<'_>) -> Result<Self, ArgsError> {
            args.read_or_upgrade(from_v1)
        }
    }

    fn from_v1(old: ChargeV1) -> Result<Charge, std::num::TryFromIntError> {
        u8::try_from(old.card)?;
        Ok(Charge { card: Card { number: old.card, extra: serde_json::Value::Null } })
    }

    fn problem(args: &str, version: u32) -> String {
        Charge::from_args(Args::new(args, version)).unwrap_err().to_string()
    }

    #[test]
    fn an_args_error_tells_where_and_never_what() {
        let error = problem(r#"{"card":{"number":"canary","extra":0}}"#, 2);
        assert_eq!(error, "the args of version 2 do not fit at `card.*`: it is of another type");
        let error = problem(r#"{"card":{"number":1}}"#, 2);
        assert_eq!(error, "the args of version 2 do not fit at `card`: a field is missing");
        let deep = format!(r#"{{"card":{{"number":1,"extra":{}"#, "[".repeat(100_000));
        let error = problem(&deep, 2);
        assert!(error.ends_with("it is nested too deep"), "{error}");
        let error = problem(r#"{"card":{"number":1,"extra":0}} canary"#, 2);
        assert_eq!(error, "the args of version 2 do not fit at `.`: there is more after the end");
    }

    #[test]
    fn a_key_of_a_map_is_as_private_as_a_value() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Maps {
            #[expect(dead_code, reason = "it is only read")]
            by_name: std::collections::HashMap<String, Vec<u64>>,
        }
        let place = |args| Args::new(args, 1).read::<Maps>().unwrap_err().to_string();
        let error = place(r#"{"by_name":{"canary":[1,"x"]}}"#);
        assert!(error.contains("at `by_name.*[1]`: it is of another type"), "{error}");
        let error = place(r#"{"canary":1,"by_name":{}}"#);
        assert!(error.contains("at `*`: there is a field too many"), "{error}");
    }

    #[test]
    fn older_args_are_upgraded_and_say_so_when_they_cannot() {
        let job = Charge::from_args(Args::new(r#"{"card":7}"#, 1)).unwrap();
        assert_eq!(job.card.number, 7);
        let error = problem(r#"{"card":"canary"}"#, 1);
        assert_eq!(error, "the args of version 1 do not fit at `card`: it is of another type");
        let error = problem(r#"{"card":7777}"#, 1);
        assert_eq!(
            error,
            "the args of version 1 could not be upgraded past version 1: \
             core::num::error::TryFromIntError"
        );
    }

    #[test]
    fn debug_shows_no_args() {
        let args = Args::new(r#""canary""#, 3);
        assert_eq!(format!("{args:?}"), "Args { version: 3, len: 8, .. }");
    }
}
