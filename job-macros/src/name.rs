//! Names: of the struct that a function makes, of jobs on the wire, and of queues.

use proc_macro2::Ident;
use syn::ext::IdentExt;

/// The name of the args struct: the function's name in camel case. `None` if that is no name.
pub(crate) fn args_struct(function: &Ident) -> Option<Ident> {
    let camel = camel_case(&function.unraw().to_string());
    // `self_` would give `Self`; `_1` would begin with a digit.
    let ident = syn::parse_str::<Ident>(&camel).ok()?;
    Some(Ident::new(&ident.to_string(), function.span()))
}

fn camel_case(name: &str) -> String {
    name.split('_')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().into_iter().flat_map(char::to_uppercase).chain(letters)
        })
        .collect()
}

/// The name on the wire of a struct's job: what a function would be called that makes the struct.
pub(crate) fn wire_name(ident: &Ident) -> String {
    let name = ident.unraw().to_string();
    let mut out = String::with_capacity(name.len() + 4);
    let letters: Vec<char> = name.chars().collect();
    for (index, &letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| letters[index]);
        let word_starts = before.is_some_and(|before| {
            before != '_'
                && (!before.is_uppercase()
                    || letters.get(index + 1).is_some_and(|next| next.is_lowercase()))
        });
        if letter.is_uppercase() && word_starts {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// What is wrong with the name of a job, if anything is.
pub(crate) fn broken_job_rule(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("is empty")
    } else if name.chars().count() > 100 {
        Some("is longer than 100 characters")
    } else if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Some("must not hold spaces or control characters")
    } else {
        None
    }
}

/// What is wrong with the name of a queue, if anything is: the rules of `QueueName` in job-core,
/// and those for a queue that jobs run from.
pub(crate) fn broken_queue_rule(name: &str) -> Option<&'static str> {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.len() < 3 {
        Some("is shorter than 3 characters")
    } else if name.len() > 56 {
        Some("is longer than 56 characters, which leaves no room for `-poison`")
    } else if !name.chars().all(|c| ok(c) || c == '-') {
        Some("may hold only lowercase letters, digits and dashes")
    } else if !name.starts_with(ok) || !name.ends_with(ok) {
        Some("must start and end with a letter or digit")
    } else if name.contains("--") {
        Some("must not hold two dashes in a row")
    } else if name.ends_with("-poison") {
        Some("ends in `-poison`, which is for what failed on another queue")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;

    use super::*;

    #[test]
    fn structs_are_named_after_functions() {
        let of = |name: &str| {
            let ident = match name.strip_prefix("r#") {
                Some(raw) => Ident::new_raw(raw, Span::call_site()),
                None => Ident::new(name, Span::call_site()),
            };
            args_struct(&ident).map(|ident| ident.to_string())
        };
        for (function, name) in [
            ("send_welcome", "SendWelcome"),
            ("ping", "Ping"),
            ("send_2fa_code", "Send2faCode"),
            ("_leading", "Leading"),
            ("trailing_", "Trailing"),
            ("double__dash", "DoubleDash"),
            ("sendWelcome", "SendWelcome"),
            ("HTTP_get", "HTTPGet"),
            ("r#type", "Type"),
            ("über_weisung", "ÜberWeisung"),
        ] {
            assert_eq!(of(function).as_deref(), Some(name), "{function}");
        }
        for function in ["__", "_1", "self_"] {
            assert_eq!(of(function), None, "{function}");
        }
    }

    #[test]
    fn jobs_of_structs_are_named_like_those_of_functions() {
        for (ident, name) in [
            ("SendWelcome", "send_welcome"),
            ("Ping", "ping"),
            ("HTTPGet", "http_get"),
            ("GetHTTP", "get_http"),
            ("Send2faCode", "send2fa_code"),
            ("Send_It", "send_it"),
            ("already_snake", "already_snake"),
            ("ÜberWeisung", "über_weisung"),
        ] {
            assert_eq!(wire_name(&Ident::new(ident, Span::call_site())), name);
        }
    }

    #[test]
    fn job_names() {
        for good in ["send_welcome", "mail.welcome/v2", "überweisung"] {
            assert_eq!(broken_job_rule(good), None, "{good}");
        }
        for bad in ["", "send welcome", "a\nb", "nul\0", &"x".repeat(101)] {
            assert!(broken_job_rule(bad).is_some(), "{bad}");
        }
    }

    /// This crate cannot use `QueueName` itself, as job-core depends on it; so the two are held
    /// against each other.
    #[test]
    fn queue_names_follow_the_rules_of_job_core() {
        let long = |n| "x".repeat(n);
        for name in [
            "",
            "ab",
            "abc",
            "mail",
            "Mail",
            "mail_out",
            "mail-out",
            "-mail",
            "mail-",
            "a--b",
            "1-2-3",
            "mäil",
            "a b",
            &long(56),
            &long(57),
            &long(63),
            &long(64),
            "poison",
            "mail-poison",
            "mail-poison-2",
        ] {
            let runnable = job_core::QueueName::new(name)
                .is_ok_and(|queue| queue.poison().is_ok() && !queue.is_poison());
            assert_eq!(broken_queue_rule(name).is_none(), runnable, "{name}");
        }
    }
}
