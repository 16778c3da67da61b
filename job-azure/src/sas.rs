//! Shared access signatures: what can be said of one without asking the service.

use std::fmt;
use std::time::SystemTime;

use azure_core::credentials::Secret;
use azure_core::http::Url;
use azure_core::time::{OffsetDateTime, parse_rfc3339};

use crate::account::AccountError;

/// A token that signs requests by being part of their URL.
#[derive(Clone)]
pub(crate) struct Sas {
    query: Secret,
    /// When it ends, if it says so itself; a stored access policy may say it instead.
    expires: Option<SystemTime>,
    expires_text: String,
    /// What it allows, a letter each, if it says so itself.
    permissions: Option<String>,
    /// For an account SAS, which services and which kinds of resource.
    services: Option<String>,
    resource_types: Option<String>,
}

/// What a SAS must allow for a worker, and for what. Senders need only the first.
const NEEDED: [(char, &str); 3] = [('a', "add"), ('u', "update"), ('p', "process")];

impl Sas {
    /// Takes a token, with or without its question mark.
    pub(crate) fn parse(text: &str) -> Result<Self, AccountError> {
        let query = text.trim().trim_start_matches('?').trim_matches('&');
        // The host is never used: a URL knows how to read a query.
        let mut url = Url::parse("https://sas.invalid/").expect("a valid URL");
        url.set_query(Some(query));
        let value = |name: &str| {
            let found = url.query_pairs().find(|(key, _)| key == name);
            found.map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty())
        };
        if value("sig").is_none() {
            return Err(AccountError::Part {
                part: "SharedAccessSignature",
                wrong: "has no `sig`; copy the whole token",
            });
        }
        let end = value("se").and_then(|text| instant(&text));
        Ok(Self {
            query: Secret::new(query.to_owned()),
            expires: end.map(SystemTime::from),
            expires_text: end.map(|end| end.to_string()).unwrap_or_default(),
            permissions: value("sp"),
            services: value("ss"),
            resource_types: value("srt"),
        })
    }

    /// As part of a URL's query.
    pub(crate) fn query(&self) -> &str {
        self.query.secret()
    }

    /// Refuses one that is of no use any more, or never was for queues.
    pub(crate) fn check(&self, now: SystemTime) -> Result<(), AccountError> {
        if self.expires.is_some_and(|end| end <= now) {
            return Err(AccountError::SasExpired { at: self.expires_text.clone() });
        }
        if self.services.as_ref().is_some_and(|services| !services.contains('q')) {
            return Err(AccountError::SasForOthers("the Queue service (`ss=q`)"));
        }
        if self.resource_types.as_ref().is_some_and(|types| !types.contains('o')) {
            return Err(AccountError::SasForOthers("objects, which messages are (`srt=o`)"));
        }
        Ok(())
    }

    /// The first thing that a worker does and this does not allow, as far as it says.
    pub(crate) fn lacks(&self) -> Option<&'static str> {
        let permissions = self.permissions.as_deref()?;
        NEEDED.iter().find(|(letter, _)| !permissions.contains(*letter)).map(|(_, name)| *name)
    }
}

/// `2026-11-22T10:00:00Z`, or just the date.
fn instant(text: &str) -> Option<OffsetDateTime> {
    let forms = [text.to_owned(), format!("{text}T00:00:00Z"), text.replace('Z', ":00Z")];
    forms.iter().find_map(|form| parse_rfc3339(form).ok())
}

impl fmt::Debug for Sas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sas").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SystemTime {
        parse_rfc3339(text).unwrap().into()
    }

    fn checked(text: &str) -> Result<(), String> {
        let sas = Sas::parse(text).unwrap();
        sas.check(at("2026-11-22T10:00:00Z")).map_err(|error| error.to_string())
    }

    #[test]
    fn an_expired_one_is_refused_with_its_time() {
        let error = checked("sv=2022-11-02&se=2026-11-22T09%3A59%3A59Z&sp=raup&sig=canary");
        assert!(error.clone().unwrap_err().contains("expired at 2026-11-22 9:59:59"), "{error:?}");
        assert_eq!(checked("se=2026-11-22T10%3A00%3A01Z&sig=canary"), Ok(()));
        assert!(checked("se=2026-11-22&sig=canary").is_err(), "a date is its first moment");
        assert_eq!(checked("se=2026-11-23&sig=canary"), Ok(()));
        assert!(checked("se=2026-11-22T09%3A59Z&sig=canary").is_err(), "without seconds");
        assert_eq!(checked("si=policy&sig=canary"), Ok(()), "a stored policy says when");
    }

    #[test]
    fn one_for_blobs_is_refused() {
        assert!(checked("ss=b&srt=sco&sig=canary").unwrap_err().contains("Queue service"));
        assert!(checked("ss=bq&srt=sc&sig=canary").unwrap_err().contains("srt=o"));
        assert_eq!(checked("ss=bqtf&srt=sco&sig=canary"), Ok(()));
    }

    #[test]
    fn what_it_lacks_is_named() {
        let lacks = |text| Sas::parse(text).unwrap().lacks();
        assert_eq!(lacks("sp=raup&sig=x"), None);
        assert_eq!(lacks("sp=rap&sig=x"), Some("update"));
        assert_eq!(lacks("sp=r&sig=x"), Some("add"));
        assert_eq!(lacks("si=policy&sig=x"), None, "nobody knows");
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        let sas = Sas::parse("?se=2026-11-22T10:00:00Z&sig=canary").unwrap();
        assert!(!format!("{sas:?}").contains("canary"));
        assert_eq!(sas.query(), "se=2026-11-22T10:00:00Z&sig=canary");
    }
}
