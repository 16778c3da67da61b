//! The contract on Azurite.

use std::time::Duration;

use job_azure::{Account, AzureBackend, Encoding};
use job_azurite::Azurite;
use job_conformance::Harness;

/// How many cases wait for their leases side by side.
const AT_ONCE: usize = 16;

async fn keeps_the_contract(place: &str, encoding: Encoding) {
    let account = Account::from_connection_string(&Azurite::shared().connection_string()).unwrap();
    let backend = AzureBackend::builder(account).encoding(encoding).build().unwrap();
    // Its clock tells whole seconds, and ends leases by finer ones.
    let harness = Harness::new(backend);
    let harness = harness.unit(Duration::from_secs(2)).tolerance(Duration::from_secs(1));
    let report = job_conformance::run_side_by_side(place, AT_ONCE, &harness).await;
    assert!(report.is_success(), "{report}");
    assert!(report.passed.len() > 100, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_base64() {
    keeps_the_contract("azurite, base64", Encoding::Base64).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_text() {
    keeps_the_contract("azurite, text", Encoding::Text).await;
}
