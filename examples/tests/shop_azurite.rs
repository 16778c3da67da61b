//! A test of the shop on Azurite, the emulator of the service that production uses. All that
//! differs from the one in `shop.rs` is the line that makes the backend.

mod shop_fakes;

use job_azure::AzureBackend;
use job_azurite::Azurite;
use job_memory::testing::TestJobs;

#[tokio::test]
async fn an_order_outlasts_a_flaky_bank() {
    let jobs = TestJobs::builder().backend(azurite());
    shop_fakes::an_order_outlasts_a_flaky_bank(jobs).await;
}

fn azurite() -> AzureBackend {
    AzureBackend::from_connection_string(&Azurite::shared().connection_string()).unwrap()
}
