#![allow(unused)]
use job_core::prelude::*;

#[job]
struct SendWelcome {
    user_id: u64,
}

#[handler]
async fn by_mail(job: SendWelcome) -> Result<(), JobError> {
    Ok(())
}

mod fax {
    use job_core::prelude::*;

    #[handler]
    async fn by_fax(job: crate::SendWelcome) -> Result<(), JobError> {
        Ok(())
    }
}

fn main() {}
