//! Connection strings, as the portal gives them.

use azure_core::credentials::Secret;
use azure_core::http::Url;

use crate::account::{AccountError, Credentials};
use crate::endpoint;
use crate::sas::Sas;

/// The account of every emulator; its key is public.
const DEVELOPMENT_ACCOUNT: &str = "devstoreaccount1";
const DEVELOPMENT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const DEVELOPMENT_PORT: u16 = 10001;

/// The parts that matter here, each at most once. Those of other services are passed over.
#[derive(Default)]
struct Parts<'a> {
    protocol: Option<&'a str>,
    account_name: Option<&'a str>,
    account_key: Option<&'a str>,
    endpoint_suffix: Option<&'a str>,
    queue_endpoint: Option<&'a str>,
    sas: Option<&'a str>,
    development: Option<&'a str>,
    development_proxy: Option<&'a str>,
}

/// Where a connection string points, and with what credentials. No error repeats any of it.
pub(crate) fn parse(text: &str) -> Result<(Url, Credentials), AccountError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(AccountError::Empty);
    }
    // As they come out of files of variables whose reader does not know quotes.
    if text.starts_with(['"', '\'']) || text.ends_with(['"', '\'']) {
        return Err(AccountError::Quoted);
    }
    if text.starts_with("https://") || text.starts_with("http://") {
        return Err(AccountError::IsUrl);
    }
    let parts = split(text)?;
    if let Some(development) = parts.development {
        if !development.eq_ignore_ascii_case("true") {
            return Err(AccountError::Part {
                part: "UseDevelopmentStorage",
                wrong: "is not `true`",
            });
        }
        let others = [parts.account_name, parts.account_key, parts.queue_endpoint, parts.sas];
        if others.iter().any(Option::is_some) {
            return Err(AccountError::Part {
                part: "UseDevelopmentStorage",
                wrong: "stands alone; remove it, or the account",
            });
        }
        return development_storage(parts.development_proxy);
    }

    let credentials = match (parts.account_key, parts.sas) {
        (Some(_), Some(_)) => return Err(AccountError::TwoCredentials),
        (Some(key), None) => {
            let account = parts.account_name.ok_or(AccountError::Missing("AccountName"))?;
            // It becomes part of a header. Emulators take other names than the service.
            if !account.bytes().all(|b| b.is_ascii_graphic()) {
                let wrong = "may hold only letters and digits";
                return Err(AccountError::Part { part: "AccountName", wrong });
            }
            Credentials::shared_key(account, Secret::new(key.to_owned()))?
        }
        (None, Some(sas)) => Credentials::Sas(Sas::parse(sas)?),
        (None, None) => return Err(AccountError::NoCredentials),
    };
    let endpoint = match (parts.queue_endpoint, parts.account_name) {
        (Some(endpoint), _) => endpoint::parse(endpoint, "QueueEndpoint")?,
        (None, Some(account)) => by_name(&parts, account)?,
        (None, None) => return Err(AccountError::NoEndpoint),
    };
    endpoint::require_tls(&endpoint)?;
    Ok((endpoint, credentials))
}

fn split(text: &str) -> Result<Parts<'_>, AccountError> {
    let mut parts = Parts::default();
    for (index, part) in text.split(';').enumerate() {
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        let Some((name, value)) = part.split_once('=') else {
            return Err(AccountError::NoEquals { position: index + 1 });
        };
        let (name, slot) = match name.trim().to_ascii_lowercase().as_str() {
            "defaultendpointsprotocol" => ("DefaultEndpointsProtocol", &mut parts.protocol),
            "accountname" => ("AccountName", &mut parts.account_name),
            "accountkey" => ("AccountKey", &mut parts.account_key),
            "endpointsuffix" => ("EndpointSuffix", &mut parts.endpoint_suffix),
            "queueendpoint" => ("QueueEndpoint", &mut parts.queue_endpoint),
            "sharedaccesssignature" => ("SharedAccessSignature", &mut parts.sas),
            "usedevelopmentstorage" => ("UseDevelopmentStorage", &mut parts.development),
            "developmentstorageproxyuri" => {
                ("DevelopmentStorageProxyUri", &mut parts.development_proxy)
            }
            _ => continue,
        };
        let value = value.trim();
        if value.is_empty() {
            return Err(AccountError::Part { part: name, wrong: "is empty" });
        }
        if slot.replace(value).is_some() {
            return Err(AccountError::Duplicate(name));
        }
    }
    Ok(parts)
}

fn by_name(parts: &Parts<'_>, account: &str) -> Result<Url, AccountError> {
    if !account.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        let wrong = "may hold only lowercase letters and digits";
        return Err(AccountError::Part { part: "AccountName", wrong });
    }
    let protocol = parts.protocol.unwrap_or("https").to_ascii_lowercase();
    if protocol != "http" && protocol != "https" {
        let wrong = "is neither `https` nor `http`";
        return Err(AccountError::Part { part: "DefaultEndpointsProtocol", wrong });
    }
    let suffix = parts.endpoint_suffix.unwrap_or("core.windows.net");
    if suffix.contains(['/', '?', '#', '@', '\\']) {
        let wrong = "is not a domain such as `core.windows.net`";
        return Err(AccountError::Part { part: "EndpointSuffix", wrong });
    }
    let url = format!("{protocol}://{account}.queue.{suffix}");
    endpoint::parse(&url, "EndpointSuffix")
}

/// The emulator's account at its usual port, or where the proxy is.
fn development_storage(proxy: Option<&str>) -> Result<(Url, Credentials), AccountError> {
    let base = proxy.unwrap_or("http://127.0.0.1");
    let mut url = endpoint::parse(base, "DevelopmentStorageProxyUri")?;
    if url.port().is_none() {
        // Only URLs without a host have no port to set.
        let _ = url.set_port(Some(DEVELOPMENT_PORT));
    }
    url.set_path(DEVELOPMENT_ACCOUNT);
    endpoint::require_tls(&url)?;
    let key = Secret::new(DEVELOPMENT_KEY);
    Ok((url, Credentials::shared_key(DEVELOPMENT_ACCOUNT, key)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "Y2FuYXJ5LWtleQ==";

    fn endpoint_of(text: &str) -> String {
        parse(text).map(|(url, _)| url.to_string()).unwrap_or_else(|e| e.to_string())
    }

    #[test]
    fn the_usual_ones() {
        let text = format!(
            "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey={KEY};EndpointSuffix=core.windows.net"
        );
        assert_eq!(endpoint_of(&text), "https://shop.queue.core.windows.net/");
        assert!(matches!(parse(&text).unwrap().1, Credentials::SharedKey(_)));

        let text =
            format!("accountkey={KEY} ; ACCOUNTNAME=shop;;endpointsuffix=core.chinacloudapi.cn;");
        assert_eq!(endpoint_of(&text), "https://shop.queue.core.chinacloudapi.cn/");

        let text = format!(
            "QueueEndpoint=https://q.example.com/;AccountName=shop;AccountKey={KEY};BlobEndpoint=https://b/"
        );
        assert_eq!(endpoint_of(&text), "https://q.example.com/");

        let text = "QueueEndpoint=https://shop.queue.core.windows.net;SharedAccessSignature=?sv=2022-11-02&sig=a%2Bb";
        assert_eq!(endpoint_of(text), "https://shop.queue.core.windows.net/");
        assert!(matches!(parse(text).unwrap().1, Credentials::Sas(_)));
    }

    #[test]
    fn development_storage_is_azurite() {
        for text in ["UseDevelopmentStorage=true", "usedevelopmentstorage = TRUE;"] {
            assert_eq!(endpoint_of(text), "http://127.0.0.1:10001/devstoreaccount1");
        }
        let text = "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://localhost:12345";
        assert_eq!(endpoint_of(text), "http://localhost:12345/devstoreaccount1");
    }

    #[test]
    fn what_is_wrong_is_named_and_never_repeated() {
        let cases = [
            ("", "empty"),
            ("canary", "part 1 has no `=`"),
            ("AccountName=shop;canary", "part 2 has no `=`"),
            ("AccountName=canary", "neither `AccountKey` nor `SharedAccessSignature`"),
            ("AccountKey=Y2FuYXJ5", "`AccountName` is missing"),
            (
                "AccountName=canary;AccountName=canary2;AccountKey=Y2FuYXJ5",
                "`AccountName` is there twice",
            ),
            ("AccountName=shop;AccountKey=canary!", "`AccountKey` is not base64"),
            ("AccountName=shop;AccountKey=", "`AccountKey` is empty"),
            ("AccountName=Canary;AccountKey=Y2FuYXJ5", "`AccountName` may hold only lowercase"),
            ("AccountName=shop;AccountKey=Y2FuYXJ5;SharedAccessSignature=sig=canary", "both"),
            ("SharedAccessSignature=sig=canary", "`QueueEndpoint` or `AccountName`"),
            ("AccountName=shop;SharedAccessSignature=sv=canary", "no `sig`"),
            (
                "AccountName=shop;AccountKey=Y2FuYXJ5;DefaultEndpointsProtocol=canary",
                "neither `https` nor `http`",
            ),
            ("AccountName=shop;AccountKey=Y2FuYXJ5;DefaultEndpointsProtocol=http", "https"),
            (
                "AccountName=shop;AccountKey=Y2FuYXJ5;QueueEndpoint=canary",
                "`QueueEndpoint` is not a URL",
            ),
            (
                "AccountName=shop;AccountKey=Y2FuYXJ5;EndpointSuffix=canary canary",
                "`EndpointSuffix` is not a URL",
            ),
            ("AccountName=shop;AccountKey=Y2FuYXJ5;EndpointSuffix=a.net/canary", "is not a domain"),
            ("AccountName=shop;AccountKey=Y2FuYXJ5;EndpointSuffix=a.net?canary", "is not a domain"),
            ("AccountName=shop;AccountKey=Y2FuYXJ5;EndpointSuffix=a@canary.net", "is not a domain"),
            (
                "AccountName=a\ncanary;AccountKey=Y2FuYXJ5;QueueEndpoint=https://q.example.com",
                "`AccountName` may hold only",
            ),
            ("\"AccountName=shop;AccountKey=Y2FuYXJ5;EndpointSuffix=canary.net\"", "in quotes"),
            ("'AccountName=shop;AccountKey=Y2FuYXJ5'", "in quotes"),
            ("https://shop.queue.core.windows.net/?sv=1&sig=canary", "is a URL"),
            ("UseDevelopmentStorage=canary", "`UseDevelopmentStorage` is not `true`"),
            ("UseDevelopmentStorage=true;AccountKey=Y2FuYXJ5", "stands alone"),
            ("UseDevelopmentStorage=true;QueueEndpoint=https://canary", "stands alone"),
            ("SharedAccessSignature=sig=canary;UseDevelopmentStorage=true", "stands alone"),
            (
                "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://canary.example.com",
                "https",
            ),
        ];
        for (text, expected) in cases {
            let error = parse(text).err().unwrap_or_else(|| panic!("{text} was taken"));
            let shown = format!("{error} {error:?}");
            assert!(error.to_string().contains(expected), "{text}: {error}");
            let leaks = shown.to_lowercase().contains("canary") || shown.contains("Y2FuYXJ5");
            assert!(!leaks, "{text}: {shown}");
        }
    }
}
