//! Where a queue service is.

use azure_core::http::Url;

use crate::account::AccountError;

/// An http or https URL with a host. `part` names it in errors.
pub(crate) fn parse(text: &str, part: &'static str) -> Result<Url, AccountError> {
    let url = Url::parse(text.trim()).map_err(|_| AccountError::NotAUrl { part })?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(AccountError::NotAUrl { part });
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AccountError::Part { part, wrong: "holds a user name or password" });
    }
    Ok(url)
}

/// Refuses to send keys, tokens and jobs over an open wire.
pub(crate) fn require_tls(url: &Url) -> Result<(), AccountError> {
    if url.scheme() == "https" || is_loopback(url) { Ok(()) } else { Err(AccountError::Insecure) }
}

/// Whether the host is this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<std::net::IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Whether the account is the first segment of the path rather than of the host's name, as it is
/// with emulators.
pub(crate) fn is_path_style(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address.parse::<std::net::IpAddr>().is_ok() || !host.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_wires_are_for_this_machine_only() {
        let ok = |url: &str| require_tls(&Url::parse(url).unwrap()).is_ok();
        for url in [
            "https://shop.queue.core.windows.net",
            "http://127.0.0.1:10001/a",
            "http://127.8.0.1",
            "http://[::1]:10001/a",
            "http://localhost:1/a",
            "http://a.localhost",
        ] {
            assert!(ok(url), "{url}");
        }
        for url in [
            "http://shop.queue.core.windows.net",
            "http://10.0.0.1",
            "http://azurite:10001",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://[::2]",
        ] {
            assert!(!ok(url), "{url}");
        }
    }
}
