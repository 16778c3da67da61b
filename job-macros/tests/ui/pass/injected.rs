//! All that can be injected, and what only looks like it.
use job_core::{Data, JobContext, JobError, job};

trait Store: Send + Sync {}

type Pool = Data<String>;

#[job]
async fn all(
    mut id: u64,
    store: Data<dyn Store>,
    name: job_core::Data<&'static str>,
    #[inject] pool: Pool,
    #[allow(unused)] cx: JobContext,
    _: job_core::JobContext,
) -> Result<(), JobError> {
    id += 1;
    let _ = (id, store, name, pool);
    Ok(())
}

mod own {
    use job_core::{Job, JobError, job};

    #[derive(serde_of_test::Serialize, serde_of_test::Deserialize)]
    #[serde(crate = "serde_of_test")]
    pub struct Data {
        pub bytes: Vec<u8>,
    }

    use job_core::__private::serde as serde_of_test;

    #[job]
    pub(crate) async fn upload(data: Data) -> Result<(), JobError> {
        let _ = data.bytes;
        Ok(())
    }

    pub const NAME: &str = Upload::NAME;
}

fn main() {
    let _ = All { id: 1 };
    let _ = own::Upload { data: own::Data { bytes: vec![] } };
    assert_eq!(own::NAME, "upload");
}
