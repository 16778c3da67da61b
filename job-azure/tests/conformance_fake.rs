//! The contract on the fake service, on a paused clock.

use std::sync::Arc;

use job_azure::{Account, AzureBackend, Encoding};
use job_azure_fake::FakeService;
use job_conformance::Harness;

fn harness(encoding: Encoding, change: impl FnOnce(&FakeService)) -> Harness {
    let service = FakeService::new();
    change(&service);
    let account = Account::from_connection_string("UseDevelopmentStorage=true").unwrap();
    let backend = AzureBackend::builder(account)
        .encoding(encoding)
        .http_client(Arc::new(service))
        .build()
        .unwrap();
    Harness::new(backend).tolerance(std::time::Duration::from_secs(1))
}

mod base64 {
    use job_azure::Encoding;

    job_conformance::suite!(paused: super::harness(Encoding::Base64, |_| {}));
}

mod text {
    use job_azure::Encoding;

    job_conformance::suite!(paused: super::harness(Encoding::Text, |_| {}));
}

/// As the service answers in truth, where the documents say otherwise.
mod stale_is_not_found {
    use job_azure::Encoding;

    job_conformance::suite!(paused: super::harness(Encoding::Base64, |service| {
        service.stale_receipts_are_not_found(true);
    }));
}
