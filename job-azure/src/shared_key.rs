//! Signing requests with the account's key, as the Queue service documents it:
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>.

use std::fmt::Write as _;

use azure_core::credentials::Secret;
use azure_core::hmac::hmac_sha256;
use azure_core::http::Url;

/// What of a request is signed.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a Url,
    /// Names in lower case.
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    pub(crate) body_len: u64,
}

/// The standard headers that are signed, in their order. The length goes before the third.
const STANDARD: [&str; 10] = [
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

/// The value of the `authorization` header. `None` if the key is not base64, which was checked
/// when it came in.
pub(crate) fn authorization(signed: &Signed<'_>, account: &str, key: &Secret) -> Option<String> {
    let signature = hmac_sha256(&string_to_sign(signed, account), key).ok()?;
    Some(format!("SharedKey {account}:{signature}"))
}

fn string_to_sign(signed: &Signed<'_>, account: &str) -> String {
    let has = |name| signed.headers.iter().any(|(known, _)| *known == name);
    let mut text = format!("{}\n", signed.method);
    for (index, name) in STANDARD.into_iter().enumerate() {
        if index == 2 {
            if signed.body_len > 0 {
                let _ = write!(text, "{}", signed.body_len);
            }
            text.push('\n');
        }
        // `x-ms-date` takes the place of the other.
        let replaced = name == "date" && has("x-ms-date");
        let header = signed.headers.iter().find(|(known, _)| *known == name && !replaced);
        text.push_str(header.map_or("", |(_, value)| value.trim()));
        text.push('\n');
    }
    canonical_headers(&mut text, &signed.headers);
    canonical_resource(&mut text, signed.url, account);
    text
}

fn canonical_headers(text: &mut String, headers: &[(&str, &str)]) {
    let mut own: Vec<_> = headers.iter().filter(|(name, _)| name.starts_with("x-ms-")).collect();
    own.sort_unstable();
    for (name, value) in own {
        let _ = writeln!(text, "{name}:{}", value.trim());
    }
}

fn canonical_resource(text: &mut String, url: &Url, account: &str) {
    let _ = write!(text, "/{account}{}", url.path());
    let mut query: Vec<(String, String)> =
        url.query_pairs().map(|(name, value)| (name.to_lowercase(), value.into_owned())).collect();
    query.sort_unstable();
    for values in query.chunk_by(|a, b| a.0 == b.0) {
        let _ = write!(text, "\n{}:", values[0].0);
        for (index, (_, value)) in values.iter().enumerate() {
            let _ = write!(text, "{}{value}", if index > 0 { "," } else { "" });
        }
    }
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
            let key = Secret::new(vector.key);
            let ours = authorization(&signed, &vector.account, &key).unwrap();
            assert_eq!(ours, vector.authorization, "{}", vector.name);
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
