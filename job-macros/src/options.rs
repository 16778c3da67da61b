//! Checks the options in `#[job(..)]` and its relatives.

use std::time::Duration;

use proc_macro2::Ident;
use syn::{Expr, ExprCall, ExprPath, Lit, LitStr, Path, PathArguments};

use crate::model::{Backoff, Options};
use crate::parse::Setting;
use crate::{Errors, duration, name};

/// Which macro the options are of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `#[job]` on a function.
    Function,
    /// `#[job]` on a struct.
    Struct,
    /// `#[derive(Job)]`.
    Derive,
    /// `#[handler]`.
    Handler,
}

/// Every option, with an example of its use.
const ALL: [(&str, &str); 11] = [
    ("name", "`name = \"send_welcome\"`"),
    ("alias", "`alias = \"old_name\"`"),
    ("version", "`version = 2`"),
    ("upgrade", "`upgrade = from_v1`"),
    ("queue", "`queue = \"mail\"`"),
    ("max_attempts", "`max_attempts = 8`"),
    ("backoff", BACKOFF_EXAMPLE),
    ("timeout", "`timeout = \"30s\"`"),
    ("expires_in", "`expires_in = \"1h\"`"),
    ("args", "`args = SendWelcomeArgs`"),
    ("crate", "`crate = my_app::job_core`"),
];

const BACKOFF_EXAMPLE: &str = "`backoff = exponential(\"2s\", \"10m\")`";

/// What people from elsewhere may try first.
const ELSEWHERE: [(&str, &str); 11] = [
    ("retries", "max_attempts"),
    ("max_retries", "max_attempts"),
    ("attempts", "max_attempts"),
    ("retry", "backoff"),
    ("ttl", "expires_in"),
    ("expires", "expires_in"),
    ("max_duration", "timeout"),
    ("queue_name", "queue"),
    ("aliases", "alias"),
    ("migrate", "upgrade"),
    ("struct_name", "args"),
];

/// What the options say.
#[derive(Default)]
pub(crate) struct Checked {
    pub(crate) krate: Option<Path>,
    pub(crate) args: Option<Ident>,
    pub(crate) name: Option<LitStr>,
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) version: Option<u32>,
    pub(crate) upgrade: Option<ExprPath>,
    pub(crate) options: Options,
}

/// What to say of an option without a value that can be read.
pub(crate) fn needs_value(key: &Ident, form: Form) -> String {
    if let Some(problem) = misplaced(key, form) {
        return problem;
    }
    match ALL.iter().find(|(name, _)| key == name) {
        Some((_, example)) => format!("`{key}` needs a value: write {example}"),
        None => unknown(key, form),
    }
}

/// Checks all of them.
pub(crate) fn check(settings: Vec<Setting>, form: Form, errors: &mut Errors) -> Checked {
    let mut checked = Checked::default();
    let mut seen = Vec::<Ident>::new();
    for Setting { key, value } in settings {
        if seen.contains(&key) && key != "alias" {
            errors.at(&key, format!("`{key}` is there twice: remove one"));
            continue;
        }
        if let Some(problem) = misplaced(&key, form) {
            errors.at(&key, problem);
            continue;
        }
        let options = &mut checked.options;
        let result = match key.to_string().as_str() {
            "name" => job_name(&value).map(|name| checked.name = Some(name)),
            "alias" => aliases(&value).map(|more| checked.aliases.extend(more)),
            "version" => version(&value).map(|version| checked.version = Some(version)),
            "upgrade" => upgrade(&value).map(|path| checked.upgrade = Some(path)),
            "queue" => queue(&value).map(|queue| options.queue = Some(queue)),
            "max_attempts" => max_attempts(&value).map(|n| options.max_attempts = Some(n)),
            "backoff" => backoff(&value).map(|backoff| options.backoff = Some(backoff)),
            "timeout" => duration(&value).map(|d| options.timeout = Some(d)),
            "expires_in" => duration(&value).map(|d| options.expires_in = Some(d)),
            "args" => args(&value).map(|ident| checked.args = Some(ident)),
            "crate" => krate(&value).map(|path| checked.krate = Some(path)),
            _ => Err(syn::Error::new(key.span(), unknown(&key, form))),
        };
        if let Err(error) = result {
            errors.push(error);
        }
        seen.push(key);
    }
    if let (Some(path), None | Some(1)) = (&checked.upgrade, checked.version)
        && !seen.iter().any(|key| key == "version" && checked.version.is_none())
    {
        errors.at(path, "an upgrade is from the version before: add `version = 2`");
    }
    checked
}

/// What to say of an option that is one elsewhere.
fn misplaced(key: &Ident, form: Form) -> Option<String> {
    let known = ALL.iter().any(|(name, _)| key == name);
    match form {
        Form::Handler if key == "args" => {
            Some("a handler takes the job as it is, and makes no struct: remove `args`".into())
        }
        Form::Handler if known && key != "crate" => Some(format!(
            "`{key}` belongs to the job, for whoever enqueues it: write it in the `#[job(..)]` of \
             its struct"
        )),
        Form::Struct | Form::Derive if key == "args" => {
            Some("this struct has its name: remove `args`, which names that of a function".into())
        }
        _ => None,
    }
}

fn unknown(key: &Ident, form: Form) -> String {
    if form == Form::Handler {
        return format!("there is no option `{key}`: a handler has only `crate`");
    }
    if let Some((_, meant)) = ELSEWHERE.iter().find(|(name, _)| key == name) {
        return format!("there is no option `{key}`: it is called `{meant}` here");
    }
    if key == "delay" {
        return "there is no option `delay`: the wait between attempts is `backoff`, and that before \
                the first is in the call, `client.enqueue(..).delay(..)`"
            .into();
    }
    let all = ALL.map(|(name, _)| format!("`{name}`")).join(", ");
    format!("there is no option `{key}`: the options are {all}")
}

fn aliases(value: &Expr) -> syn::Result<Vec<LitStr>> {
    match value {
        Expr::Array(array) if !array.elems.is_empty() => array.elems.iter().map(job_name).collect(),
        Expr::Array(_) => wrong(value, "write the older names, such as `[\"send_mail\"]`"),
        _ => Ok(vec![job_name(value)?]),
    }
}

fn version(value: &Expr) -> syn::Result<u32> {
    const ADVICE: &str = "write the version of the args as a whole number such as `2`";
    let Some(Lit::Int(number)) = literal(value) else { return wrong(value, ADVICE) };
    match number.base10_parse::<u32>() {
        Ok(0) => wrong(value, "versions count from 1, which is the default: write `2`"),
        Ok(number) => Ok(number),
        Err(_) => wrong(value, ADVICE),
    }
}

fn upgrade(value: &Expr) -> syn::Result<ExprPath> {
    match value {
        Expr::Path(path) => Ok(path.clone()),
        _ => wrong(
            value,
            "write the path to a function from the older job to this one, such as `from_v1`",
        ),
    }
}

fn args(value: &Expr) -> syn::Result<Ident> {
    let ident = match value {
        Expr::Path(path) if path.qself.is_none() => path.path.get_ident(),
        _ => None,
    };
    match ident {
        Some(ident) => Ok(ident.clone()),
        None => wrong(value, "write a name for the struct of the args, such as `SendWelcomeArgs`"),
    }
}

fn job_name(value: &Expr) -> syn::Result<LitStr> {
    let name = text(value, "write the name as a string, such as `\"send_welcome\"`")?;
    match name::broken_job_rule(&name.value()) {
        None => Ok(name),
        Some(rule) => wrong(value, format!("the name of a job {rule}; write `send_welcome`")),
    }
}

fn queue(value: &Expr) -> syn::Result<LitStr> {
    let queue = text(value, "write the queue's name as a string, such as `\"mail\"`")?;
    match name::broken_queue_rule(&queue.value()) {
        None => Ok(queue),
        Some(rule) => wrong(
            value,
            format!(
                "queue name `{}` {rule}; use 3 to 56 lowercase letters, digits and single dashes, \
                 such as `mail-out`",
                queue.value()
            ),
        ),
    }
}

fn max_attempts(value: &Expr) -> syn::Result<u32> {
    const ADVICE: &str =
        "write how often it is tried, the first time included, as a whole number such as `8`";
    let Some(Lit::Int(number)) = literal(value) else { return wrong(value, ADVICE) };
    match number.base10_parse::<u32>() {
        Ok(0) => wrong(value, "a job is tried at least once: write `1` for no retries"),
        Ok(number) => Ok(number),
        Err(_) => wrong(value, ADVICE),
    }
}

pub(crate) fn duration(value: &Expr) -> syn::Result<Duration> {
    let text = match literal(value) {
        Some(Lit::Str(text)) => text.value(),
        // `30s` is a number with an odd suffix to Rust.
        Some(Lit::Int(number)) => {
            let number = number.to_string();
            let unit = if number.ends_with(|c: char| c.is_ascii_digit()) { "s" } else { "" };
            return wrong(value, format!("a duration is a string: write `\"{number}{unit}\"`"));
        }
        _ => return wrong(value, "a duration is a string: write `\"30s\"`"),
    };
    duration::parse(&text).or_else(|problem| wrong(value, problem))
}

fn backoff(value: &Expr) -> syn::Result<Backoff> {
    match value {
        Expr::Call(call) => backoff_call(call),
        Expr::Path(path) if is_curve(&path.path) => {
            wrong(value, format!("a backoff needs its times: write {BACKOFF_EXAMPLE}"))
        }
        Expr::Path(path) => Ok(Backoff::Custom(path.clone())),
        _ => wrong(
            value,
            "write `exponential(\"2s\", \"10m\")`, `linear(\"5s\", \"5m\")`, `fixed(\"30s\")` or \
             the path to a `fn(u32) -> Duration`",
        ),
    }
}

fn is_curve(path: &Path) -> bool {
    ["exponential", "linear", "fixed"].iter().any(|curve| path.is_ident(curve))
}

fn backoff_call(call: &ExprCall) -> syn::Result<Backoff> {
    let curve = match &*call.func {
        Expr::Path(path) if is_curve(&path.path) => path.path.require_ident()?.to_string(),
        other => {
            return wrong(
                other,
                "there is no such backoff: write `exponential(\"2s\", \"10m\")`, \
                 `linear(\"5s\", \"5m\")` or `fixed(\"30s\")`, or a function's path without `(..)`",
            );
        }
    };
    let mut times = Vec::new();
    let mut errors = Errors::default();
    for time in &call.args {
        match duration(time) {
            Ok(time) => times.push(time),
            Err(error) => errors.push(error),
        }
    }
    if let Some(errors) = errors.0 {
        return Err(errors);
    }
    match (curve.as_str(), &times[..]) {
        ("fixed", &[delay]) => Ok(Backoff::Fixed(delay)),
        ("fixed", _) => wrong(call, "`fixed` takes one time: write `fixed(\"30s\")`"),
        (_, [first, max]) if first > max => {
            wrong(call, "the first time is longer than the second, which is the most it may wait")
        }
        ("exponential", &[base, max]) => Ok(Backoff::Exponential { base, max }),
        ("exponential", _) => wrong(
            call,
            "`exponential` takes the first and the longest time: write `exponential(\"2s\", \"10m\")`",
        ),
        (_, &[step, max]) => Ok(Backoff::Linear { step, max }),
        _ => wrong(
            call,
            "`linear` takes a step and the longest time: write `linear(\"5s\", \"5m\")`",
        ),
    }
}

pub(crate) fn krate(value: &Expr) -> syn::Result<Path> {
    match value {
        Expr::Path(ExprPath { qself: None, path, .. })
            if path.segments.iter().all(|part| matches!(part.arguments, PathArguments::None)) =>
        {
            Ok(path.clone())
        }
        _ => wrong(value, "write the path of job-core, such as `my_app::job_core`"),
    }
}

fn text(value: &Expr, advice: &str) -> syn::Result<LitStr> {
    match literal(value) {
        Some(Lit::Str(text)) => Ok(text.clone()),
        _ => wrong(value, advice),
    }
}

/// The literal itself, also where a `macro_rules` macro passed it on.
fn literal(mut value: &Expr) -> Option<&Lit> {
    while let Expr::Group(group) = value {
        value = &group.expr;
    }
    match value {
        Expr::Lit(literal) => Some(&literal.lit),
        _ => None,
    }
}

fn wrong<T>(at: impl quote::ToTokens, message: impl std::fmt::Display) -> syn::Result<T> {
    Err(syn::Error::new_spanned(at, message))
}
