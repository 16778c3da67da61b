//! Signing requests with the account's key, as the Queue service documents it:
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>.

use std::borrow::Cow;
use std::sync::Arc;

use azure_core::credentials::Secret;
use azure_core::http::Url;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The key of an account, ready to sign with: every request needs it.
#[derive(Clone)]
pub(crate) struct SigningKey {
    account: Arc<str>,
    mac: Hmac<Sha256>,
}

/// What of a request is signed.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a Url,
    /// Names in lower case.
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    pub(crate) body_len: u64,
}

/// The standard headers that are signed, in their order. The length goes before the third.
const STANDARD_HEADERS: [&str; 10] = [
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

impl SigningKey {
    /// `None` if the key is not base64.
    pub(crate) fn new(account: &str, key: &Secret) -> Option<Self> {
        let key = azure_core::base64::decode(key.secret()).ok()?;
        let mac = Hmac::new_from_slice(&key).ok()?;
        Some(Self { account: account.into(), mac })
    }

    /// The value of the `authorization` header.
    pub(crate) fn authorization(&self, signed: &Signed<'_>) -> String {
        let text = string_to_sign(signed, &self.account);
        let signature = self.mac.clone().chain_update(text).finalize().into_bytes();
        let mut value = ["SharedKey ", &self.account, ":"].concat();
        STANDARD.encode_string(signature, &mut value);
        value
    }
}

fn string_to_sign(signed: &Signed<'_>, account: &str) -> String {
    let find = |wanted: &str| signed.headers.iter().find(|(name, _)| *name == wanted);
    let mut text = String::with_capacity(512);
    push_all(&mut text, &[signed.method, "\n"]);
    // `x-ms-date` takes the place of the other.
    let replaced = find("x-ms-date").map(|_| "date");
    for (index, name) in STANDARD_HEADERS.into_iter().enumerate() {
        if index == 2 {
            if signed.body_len > 0 {
                text.push_str(&signed.body_len.to_string());
            }
            text.push('\n');
        }
        let header = find(name).filter(|_| replaced != Some(name));
        push_all(&mut text, &[header.map_or("", |(_, value)| value.trim()), "\n"]);
    }
    canonical_headers(&mut text, &signed.headers);
    canonical_resource(&mut text, signed.url, account);
    text
}

fn canonical_headers(text: &mut String, headers: &[(&str, &str)]) {
    let mut own: Vec<_> = headers.iter().filter(|(name, _)| name.starts_with("x-ms-")).collect();
    own.sort_unstable();
    for (name, value) in own {
        push_all(text, &[name, ":", value.trim(), "\n"]);
    }
}

fn canonical_resource(text: &mut String, url: &Url, account: &str) {
    push_all(text, &["/", account, url.path()]);
    let mut query: Vec<_> =
        url.query_pairs().map(|(name, value)| (in_lower_case(name), value)).collect();
    query.sort_unstable();
    for values in query.chunk_by(|a, b| a.0 == b.0) {
        push_all(text, &["\n", &values[0].0]);
        for (index, (_, value)) in values.iter().enumerate() {
            push_all(text, &[if index > 0 { "," } else { ":" }, value]);
        }
    }
}

fn in_lower_case(name: Cow<'_, str>) -> Cow<'_, str> {
    let is_lower = name.bytes().all(|byte| byte.is_ascii_lowercase());
    if is_lower { name } else { name.to_lowercase().into() }
}

fn push_all(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A request as another implementation signs it: the Python package `azure-storage-queue`.
    #[derive(serde::Deserialize)]
    struct Vector {
        name: String,
        account: String,
        key: String,
        method: String,
        url: String,
        headers: BTreeMap<String, String>,
        body_length: u64,
        string_to_sign: String,
        authorization: String,
    }

    #[test]
    fn another_implementation_signs_the_same() {
        let vectors = include_str!("../tests/vectors/shared_key.json");
        let vectors: Vec<Vector> = serde_json::from_str(vectors).unwrap();
        assert!(vectors.len() > 60, "{}", vectors.len());
        for vector in vectors {
            let names: Vec<_> = vector.headers.keys().map(|name| name.to_lowercase()).collect();
            let values = vector.headers.values().map(String::as_str);
            let signed = Signed {
                method: &vector.method,
                url: &Url::parse(&vector.url).unwrap(),
                headers: names.iter().map(String::as_str).zip(values).collect(),
                body_len: vector.body_length,
            };
            let ours = string_to_sign(&signed, &vector.account);
            assert_eq!(ours, vector.string_to_sign, "{}", vector.name);
            let key = SigningKey::new(&vector.account, &Secret::new(vector.key)).unwrap();
            assert_eq!(key.authorization(&signed), vector.authorization, "{}", vector.name);
        }
    }

    #[test]
    fn several_values_of_one_parameter_are_one_line() {
        // As documented; the Python package keeps the last one only.
        let url = Url::parse("https://a.queue.core.windows.net/?comp=list&include=b&Include=a");
        let (url, headers) = (url.unwrap(), vec![("x-ms-version", " 2024-11-04 ")]);
        let signed = Signed { method: "GET", url: &url, headers, body_len: 0 };
        let text = string_to_sign(&signed, "a");
        assert!(text.ends_with("\nx-ms-version:2024-11-04\n/a/\ncomp:list\ninclude:a,b"), "{text}");
    }
}
